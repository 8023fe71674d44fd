// The settings, drawn from what the server derives from the parameters of each class. A value is
// sent as it was typed; the server answers with what holds and, where it was refused, with why.

function formPart(send) {
  const element = h("form.settings", { "aria-label": "Settings", onsubmit: (event) => event.preventDefault() })
  const controls = new Map()
  let drawn = ""

  const commit = (key, value) => send({ do: "set", key, value })

  function input(field, ids) {
    const described = { id: ids.input, "aria-describedby": `${ids.message} ${ids.help}` }
    if (field.kind === "switch") {
      return h("input.switch", { ...described, type: "checkbox", role: "switch", onchange: (e) => commit(field.key, e.target.checked) })
    }
    if (field.kind === "select") {
      const options = field.choices.map(([value, text]) => h("option", { value }, text))
      return h("select", { ...described, onchange: (e) => commit(field.key, e.target.value) }, options)
    }
    return h("input", {
      ...described, type: "text", inputmode: { integer: "numeric", number: "decimal" }[field.kind] || "text",
      autocomplete: "off", spellcheck: "false",
      onchange: (e) => commit(field.key, e.target.value),
      onkeydown: (e) => nudge(e, field),
    })
  }

  // Arrow keys step a number: a tenth of its size for a real one, so a step size doubles in seven.
  function nudge(event, field) {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key]
    const value = Number(event.target.value)
    if (!way || field.kind === "words" || !Number.isFinite(value)) return
    event.preventDefault()
    const next = field.kind === "integer" ? value + way : Number((value * 1.1 ** way).toPrecision(3))
    event.target.value = String(next)
    commit(field.key, event.target.value)
  }

  function row(field) {
    const name = field.key.replace(/[^a-z0-9]/gi, "-")
    const ids = { input: `f-${name}`, message: `m-${name}`, help: `h-${name}` }
    const control = input(field, ids)
    const message = h("p.message", { id: ids.message, role: "alert", hidden: true })
    controls.set(field.key, { control, message, field })
    const live = field.live ? h("span.live", { title: "Acts at once, without a restart" }, "live") : null
    return h(`div.field.of-${field.kind}`, { title: field.help, "data-key": field.key },
      h("label", { for: ids.input }, field.label, live),
      control, message, h("span.hidden-text", { id: ids.help }, `${field.help} ${field.allowed}`))
  }

  function schemeRow(choice) {
    const id = `scheme-${choice.name}`
    const box = h("input", { id, type: "checkbox", onchange: (e) => send({ do: "scheme", name: choice.name, on: e.target.checked }) })
    controls.set(`scheme ${choice.name}`, { control: box, message: null, field: { kind: "switch" } })
    const options = choice.options.map(row)
    const toggle = options.length
      ? h("button.more", { type: "button", "aria-expanded": "false", "aria-controls": `${id}-options`, "aria-label": `Options of ${choice.title}`,
        onclick: (e) => {
          const body = e.currentTarget.parentElement.nextSibling
          show(body, body.hidden)
          e.currentTarget.setAttribute("aria-expanded", String(!body.hidden))
        } }, "options")
      : null
    return h("div.scheme", {},
      h("div.scheme-line", {}, box, h("label", { for: id }, chip(choice), h("span", {}, choice.title)), toggle),
      options.length ? h("div.scheme-options", { id: `${id}-options`, hidden: true }, options) : null)
  }

  function schemeRows(schemes) {
    const others = schemes.filter((scheme) => !scheme.listed)
    const more = others.length
      ? [h("details.more-schemes", {}, h("summary", {}, `${others.length} more schemes`), others.map(schemeRow))]
      : []
    return [...schemes.filter((scheme) => scheme.listed).map(schemeRow), ...more]
  }

  function section(part) {
    const body = part.schemes ? schemeRows(part.schemes) : part.fields.map(row)
    const note = part.key ? h("p.message", { role: "alert", hidden: true }) : null
    if (note) controls.set(part.key, { control: null, message: note })
    return h("fieldset", {}, h("legend", {}, part.title), part.note ? h("p.note", {}, part.note) : null, body, note)
  }

  function update(form) {
    const structure = JSON.stringify(form.sections)
    if (structure !== drawn) {
      drawn = structure
      controls.clear()
      element.replaceChildren(...form.sections.map(section))
    }
    for (const [key, { control, message, field }] of controls) {
      const refused = form.messages[key]
      if (message) {
        write(message, refused || "")
        show(message, Boolean(refused))
      }
      if (!control) continue
      if (refused) control.setAttribute("aria-invalid", "true")
      else control.removeAttribute("aria-invalid")
      const value = key in form.typed ? form.typed[key] : form.values[key]
      if (field.kind === "switch") control.checked = value
      else if (control.value !== String(value)) control.value = String(value)
    }
  }
  return { element, update }
}

/** What was changed but needs a restart to hold. */
function restartBar(send) {
  const what = h("p")
  const element = h("div.restart", { role: "status", hidden: true }, what,
    h("div.buttons", {},
      h("button.primary", { type: "button", onclick: () => send({ do: "restart" }) }, "Restart with these settings"),
      h("button", { type: "button", onclick: () => send({ do: "discard" }) }, "Discard")))
  function update(form) {
    show(element, form.changes.length > 0)
    write(what, `Needs a restart: ${form.changes.join(", ")}`)
  }
  return { element, update }
}
