// One card a lane: its colour, how well it does now, and whether it still goes on.

function lanesPart(send) {
  const element = h("ul.lanes", { "aria-label": "Lanes" })
  const cards = new Map()
  let drawn = ""

  function card(lane) {
    const accuracy = h("span.number.accuracy", {}, "–")
    const loss = h("span.number.loss", {}, "")
    const mark = h("span.mark", { hidden: true })
    const button = h("button.lane", { type: "button", onclick: () => send({ do: "card", lane: lane.name }), title: `${lane.title}: validation accuracy, training loss. Click for its formulas.` },
      h("span.name", {}, chip(lane), h("span", {}, lane.title)),
      h("span.figures", {}, accuracy, loss), mark)
    cards.set(lane.name, { accuracy, loss, mark, button })
    return h("li", {}, button)
  }

  function draw(lanes) {
    const structure = JSON.stringify(lanes)
    if (structure === drawn) return
    drawn = structure
    cards.clear()
    element.replaceChildren(...lanes.map(card))
  }

  function update(ticks) {
    for (const tick of ticks) {
      const parts = cards.get(tick.name)
      if (!parts) continue
      write(parts.accuracy, tick.accuracy)
      write(parts.loss, tick.loss)
      show(parts.mark, Boolean(tick.mark))
      write(parts.mark, tick.mark)
      parts.button.classList.toggle("diverged", tick.ended)
    }
  }
  return { element, draw, update }
}

/** A scheme's card: its equations, where it comes from and what to watch. */
function cardPart(send) {
  const element = h("aside.card", { hidden: true, "aria-label": "About the scheme" })
  let opener = null
  function update(card) {
    show(element, Boolean(card.title))
    if (!card.title) {
      element.replaceChildren()
      opener?.focus()
      opener = null
      return
    }
    const equations = card.equations.map((equation) => {
      const figure = h("div.equation", { role: "img", "aria-label": equation.text })
      if (equation.svg) figure.innerHTML = equation.svg
      else figure.append(h("code", {}, equation.text))
      return figure
    })
    const close = iconButton("close", "Close", () => send({ do: "card", lane: null }))
    element.replaceChildren(
      h("header", {}, chip(card), h("h2", {}, card.title), close),
      h("p.source", {}, `${card.authors}, ${card.year} · ${card.reference}`),
      h("p.lead", {}, card.lead), ...equations,
      h("dl", {}, ...card.facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      card.watch ? h("p.watch", {}, h("b", {}, "What to watch. "), card.watch) : null)
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") send({ do: "card", lane: null })
    }, { once: true })
    opener = element.getRootNode().activeElement
    close.focus({ preventScroll: true })
  }
  return { element, update }
}
