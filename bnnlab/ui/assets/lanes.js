// One card a lane: its colour, how well it does now, and whether it still goes on. Lanes are
// filtered by a regular expression; pinned ones stay, and come first.

function lanesPart(send) {
  const filter = h("input.filter", { type: "search", id: "lanes-filter", placeholder: "Filter lanes, e.g. lab|bnn", autocomplete: "off", spellcheck: "false", "aria-label": "Filter lanes by a regular expression", "aria-describedby": "lanes-message", oninput: () => soon() })
  const count = h("span.lanes-count", { id: "lanes-message", role: "status" })
  const moment = h("span.moment.number")
  const difference = h("button.difference", { type: "button", hidden: true, onclick: () => send({ do: "baseline", lane: "" }) })
  const list = h("ul.lanes", { "aria-label": "Lanes" })
  const none = h("p.none", { hidden: true }, "No lane is called like this. The figures show all of them.")
  const element = h("section.lanes-part", { "aria-label": "Lanes" }, h("div.lanes-bar", {}, filter, count, moment, difference), list, none)
  const cards = new Map()
  let drawn = ""
  let lanes = []
  let pinned = []
  let baseline = ""
  let sent = ""
  let ticks = []
  let past = null

  function tool(name, label, pressed, act) {
    return h("button.tool", { type: "button", "aria-label": label, title: label, "aria-pressed": String(pressed), onclick: act }, icon(name))
  }

  function card(lane) {
    const accuracy = h("span.number.accuracy", {}, "–")
    const loss = h("span.number.loss", {}, "")
    const mark = h("span.mark", { hidden: true })
    const button = h("button.lane", { type: "button", "data-lane": lane.name, onclick: () => send({ do: "card", lane: lane.name }), title: `${lane.title}: validation accuracy, training loss. Click for its formulas.` },
      h("span.name", {}, chip(lane), h("span", {}, lane.title)),
      h("span.figures", {}, accuracy, loss), mark)
    cards.set(lane.name, { accuracy, loss, mark, button })
    const isPinned = pinned.includes(lane.name)
    const isBaseline = baseline === lane.name
    return h("li", {}, button, h("span.tools", {},
      tool("pin", `Pin ${lane.title}`, isPinned, () => pin(lane.name)),
      tool("difference", `Difference to ${lane.title}`, isBaseline, () => setBaseline(lane.name))))
  }

  function pin(name) {
    pinned = pinned.includes(name) ? pinned.filter((one) => one !== name) : [...pinned, name]
    choose(name)
  }
  const setBaseline = (name) => send({ do: "baseline", lane: baseline === name ? "" : name })

  let waiting = null
  function soon() {
    clearTimeout(waiting)
    waiting = setTimeout(choose, 150)
  }

  function matching() {
    let wanted
    try {
      wanted = new RegExp(filter.value, "i")
      filter.removeAttribute("aria-invalid")
    } catch {
      filter.setAttribute("aria-invalid", "true")
      write(count, "This is no regular expression.")
      return null
    }
    const kept = (lane) => pinned.includes(lane.name)
    const shown = lanes.filter((lane) => kept(lane) || wanted.test(lane.name) || wanted.test(lane.title))
    return [...shown.filter(kept), ...shown.filter((lane) => !kept(lane))]
  }

  // What the filter leaves is drawn here; the server draws the figures of the same lanes.
  function choose(focus) {
    const shown = matching()
    if (!shown) return
    write(count, filter.value ? `${shown.length} of ${lanes.length}` : "")
    show(none, lanes.length > 0 && !shown.length)
    cards.clear()
    list.replaceChildren(...shown.map(card))
    if (focus) cards.get(focus)?.button.nextSibling.firstChild.focus()
    update(ticks)
    const message = { do: "lanes", filter: filter.value, pin: pinned.join(","), shown: shown.map((lane) => lane.name) }
    const key = JSON.stringify(message)
    if (lanes.length && key !== sent && (sent || filter.value || pinned.length)) send(message)
    if (lanes.length) sent = key
  }

  function draw(found) {
    const structure = JSON.stringify(found)
    if (structure === drawn) return
    drawn = structure
    lanes = found
    show(element, lanes.length > 0)
    choose()
  }

  function go(place) {
    const wanted = place.pin ? place.pin.split(",") : []
    const same = (place.filter || "") === filter.value && wanted.join() === pinned.join() && (place.baseline || "") === baseline
    if (same) return
    if (!filter.matches(":focus")) filter.value = place.filter || ""
    pinned = wanted
    baseline = place.baseline || ""
    const name = lanes.find((lane) => lane.name === baseline)?.title || baseline
    show(difference, Boolean(baseline))
    difference.setAttribute("aria-label", `Curves without the difference to ${name}`)
    difference.replaceChildren(`Difference to ${name}`, icon("close"))
    choose()
  }

  function update(now) {
    ticks = now
    for (const tick of now) {
      const parts = cards.get(tick.name)
      if (!parts) continue
      const then = past?.values[tick.name]
      write(parts.accuracy, past ? then?.accuracy ?? "–" : tick.accuracy)
      write(parts.loss, past ? then?.loss ?? "" : tick.loss)
      show(parts.mark, Boolean(tick.mark))
      write(parts.mark, tick.mark)
      parts.button.classList.toggle("diverged", tick.ended && !past)
    }
  }

  /** Show the numbers of a step that is pointed at in a figure; null for those of now. */
  function look(at) {
    past = at
    write(moment, at ? `at step ${at.step.toLocaleString("en")}` : "")
    list.classList.toggle("past", Boolean(at))
    update(ticks)
  }
  return { element, draw, update, go, look, filter, pin, baseline: setBaseline, isPinned: (name) => pinned.includes(name), isBaseline: (name) => baseline === name }
}

/** A scheme's card: its equations, where it comes from and what to watch. */
function cardPart(send, lanes) {
  const element = h("aside.card", { hidden: true, "aria-label": "About the scheme" })
  let opener = null
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return
    event.stopPropagation()
    send({ do: "card", lane: null })
  })
  function update(card) {
    show(element, Boolean(card.title))
    if (!card.title) {
      element.replaceChildren()
      if (opener?.isConnected) opener.focus()
      opener = null
      return
    }
    const equations = card.equations.map((equation) => {
      const figure = h("div.equation", { tabindex: "0", role: "group", "aria-label": "Formula" })
      if (equation.svg) figure.innerHTML = equation.svg + equation.mathml
      else figure.append(h("code", {}, equation.text))
      figure.querySelector("svg")?.setAttribute("aria-hidden", "true")
      return figure
    })
    const close = iconButton("close", "Close", () => send({ do: "card", lane: null }))
    const choice = (text, pressed, act) => h("button", { type: "button", "aria-pressed": String(pressed), onclick: (event) => {
      act()
      event.target.setAttribute("aria-pressed", String(event.target.getAttribute("aria-pressed") !== "true"))
    } }, text)
    const source = card.link ? h("a", { href: card.link, target: "_blank", rel: "noopener noreferrer" }, card.reference) : card.reference
    element.replaceChildren(
      h("header", {}, chip(card), h("h2", {}, card.title), close),
      h("p.source", {}, `${card.authors}, ${card.year} · `, source),
      h("p.lead", {}, card.lead), ...equations,
      h("dl", {}, ...card.facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      card.watch ? h("p.watch", {}, h("b", {}, "What to watch. "), card.watch) : null,
      h("div.buttons", {},
        choice("Pin", lanes.isPinned(card.lane), () => lanes.pin(card.lane)),
        choice("Take as baseline", lanes.isBaseline(card.lane), () => lanes.baseline(card.lane))))
    opener = element.getRootNode().activeElement
    close.focus({ preventScroll: true })
  }
  return { element, update }
}
