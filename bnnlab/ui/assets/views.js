// The views: a row of tabs, the options of the one that is open, and its figures.

function viewsPart(send, figures) {
  const tabs = h("div.tabs", { role: "tablist", "aria-label": "Views" })
  const options = h("div.options", { role: "group", "aria-label": "Options of the view" })
  const caption = h("p.caption")
  const panel = h("section.view", { role: "tabpanel", id: "view" }, caption, figures)
  const element = h("div.views", {}, h("div.view-bar", {}, tabs, options), panel)
  let drawnTabs = ""
  let drawnOptions = ""
  let stamp = 0

  function tab(view, active) {
    const selected = view.name === active
    return h("button.tab", {
      type: "button", role: "tab", "aria-selected": String(selected), "aria-controls": "view", tabindex: selected ? "0" : "-1",
      "data-view": view.name, onclick: () => send({ do: "view", name: view.name }),
    }, view.title)
  }

  tabs.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!way) return
    event.preventDefault()
    event.stopPropagation()
    const all = [...tabs.children]
    const next = all[(all.indexOf(event.target) + way + all.length) % all.length]
    next.focus()
    next.click()
  })

  // A slider on the move tells where it is every 80 ms, and where it came to rest.
  let waiting = null
  function soon(act) {
    if (!waiting) setTimeout(() => { waiting(); waiting = null }, 80)
    waiting = act
  }

  function option(field) {
    const id = `o-${field.key}`
    const change = (value) => send({ do: "option", key: field.key, value })
    if (field.kind === "switch") {
      return h("label.inline", { title: field.help }, h("input.switch", { type: "checkbox", role: "switch", checked: field.value, onchange: (e) => change(e.target.checked) }), field.label)
    }
    if (field.kind === "range") {
      const output = h("output.number", {}, String(field.value))
      return h("label.inline", { title: field.help }, field.label,
        h("input", { id, type: "range", min: field.low, max: field.high, step: field.step, value: String(field.value),
          oninput: (e) => {
            const value = Number(e.target.value)
            write(output, e.target.value)
            soon(() => change(value))
          } }), output)
    }
    if (field.kind === "button") {
      return h("button", { type: "button", disabled: field.disabled, onclick: () => send({ do: field.key }) }, field.label)
    }
    const select = h("select", { id, onchange: (e) => change(e.target.value) },
      field.choices.map(([value, text]) => h("option", { value }, text)))
    select.value = field.value
    return h("label.inline", { title: field.help }, field.label, select)
  }

  /** Scroll the row of tabs, and nothing else, to a tab that is out of sight. */
  function reach(one) {
    const [row, tab] = [tabs, one].map((element) => element.getBoundingClientRect())
    if (tab.left < row.left || tab.right > row.right) tabs.scrollLeft += tab.left - row.left - (row.width - tab.width) / 2
  }

  function update(views) {
    const wanted = JSON.stringify([views.tabs, views.active])
    if (wanted !== drawnTabs) {
      drawnTabs = wanted
      const focused = tabs.contains(tabs.getRootNode().activeElement)
      tabs.replaceChildren(...views.tabs.map((view) => tab(view, views.active)))
      const selected = tabs.querySelector("[aria-selected=true]")
      if (focused) selected?.focus()
      if (selected) requestAnimationFrame(() => reach(selected)) // it may not stand on the page yet
    }
    // A slider in the hand is not redrawn by the answer to its own movement.
    const shape = JSON.stringify(views.options.map((field) => (field.kind === "range" ? { ...field, value: 0 } : field)))
    if (shape !== drawnOptions) {
      drawnOptions = shape
      options.replaceChildren(...views.options.map(option))
    }
    for (const field of views.options) {
      const slider = field.kind === "range" && options.querySelector(`#o-${field.key}`)
      if (!slider || slider.matches(":active, :focus")) continue
      slider.value = String(field.value)
      write(slider.nextSibling, String(field.value))
    }
    caption.replaceChildren(views.caption)
    show(caption, Boolean(views.caption))
    panel.classList.toggle("paired", Boolean(views.paired))
    panel.classList.toggle("drawing", Boolean(views.drawing))
    if (views.stamp && !views.drawing && views.stamp !== stamp) {
      stamp = views.stamp
      send({ do: "shown", stamp })
    }
  }
  /** Open the view before (-1) or the next (1). */
  function turn(way) {
    const all = [...tabs.children]
    const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true")
    all[(at + way + all.length) % all.length]?.click()
  }
  return { element, update, turn }
}
