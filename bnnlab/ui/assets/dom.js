// Small helpers: an element from a selector-like word, and the things every part needs.

/** h("button.primary", {onclick, "aria-label": "Play"}, "text", child) -> element */
function h(word, attributes = {}, ...children) {
  const [tag, ...classes] = word.split(".")
  const element = document.createElement(tag || "div")
  if (classes.length) element.className = classes.join(" ")
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value)
    else if (name === "value" || name === "checked") element[name] = value
    else element.setAttribute(name, value === true ? "" : value)
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined))
  return element
}

/** Set an element's text, touching the page only when it differs. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** Show or hide an element. */
function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible
}

const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z",
  step: "M5 5v14l9-7zM15.5 5H18v14h-2.5z",
  reset: "M12 5a7 7 0 1 1-6.6 4.7l1.9.7A5 5 0 1 0 12 7v3L7 6l5-4z",
  stop: "M6.5 6.5h11v11h-11z",
  settings: "M4 7h9v2H4zm13 0h3v2h-3zM14 5h2v6h-2zM4 15h3v2H4zm7 0h9v2h-9zM8 13h2v6H8z",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  download: "M11 4h2v8.2l3-3 1.4 1.4L12 16l-5.4-5.4L8 9.2l3 3zM5 18h14v2H5z",
  folder: "M3 6h6l2 2h10v11H3z",
  book: "M4 5.5C6 4.4 9 4.4 11.2 5.8v13C9 17.6 6 17.6 4 18.6zM20 5.5c-2-1.1-5-1.1-7.2.3v13c2.2-1.2 5.2-1.2 7.2-.2z",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm0 1.8a7.2 7.2 0 1 1 0 14.4 7.2 7.2 0 0 1 0-14.4zM11 15.4h2v2h-2zm1-8.8c2 0 3.4 1.2 3.4 3 0 2.4-2.5 2.4-2.5 4.6h-1.8c0-3 2.4-3 2.4-4.6 0-.8-.6-1.3-1.5-1.3s-1.5.6-1.6 1.5H8.6c.1-2 1.4-3.2 3.4-3.2z",
  pin: "M9 4h6v1.6l-1 .8V11l2.5 2.4V15H12.9v5h-1.8v-5H7.5v-1.6L10 11V6.400l-1-.8z",
  difference: "M12 5l8 14H4zm0 4-4.6 8h9.2z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4L12 13.4 6.4 19 5 17.6l5.6-5.6L5 6.4z",
}

/** A decorative icon, drawn in the colour of the text around it. */
function icon(name) {
  const space = "http://www.w3.org/2000/svg"
  const svg = document.createElementNS(space, "svg")
  svg.setAttribute("viewBox", "0 0 24 24")
  svg.setAttribute("aria-hidden", "true")
  svg.classList.add("icon")
  const path = document.createElementNS(space, "path")
  path.setAttribute("d", ICONS[name])
  svg.append(path)
  return svg
}

/** A button with an icon and a name that screen readers and tooltips give. */
function iconButton(name, label, onclick, extra = "") {
  return h(`button.icon-button${extra}`, { type: "button", "aria-label": label, title: label, onclick }, icon(name))
}

/** A scheme's colour, dash and marker as they are in every figure. */
function chip(look) {
  const space = "http://www.w3.org/2000/svg"
  const svg = document.createElementNS(space, "svg")
  svg.setAttribute("viewBox", "0 0 26 12")
  svg.setAttribute("aria-hidden", "true")
  svg.classList.add("chip")
  const dash = { dashed: "6 3", dotted: "2 3", dotdash: "2 3 6 3", dashdot: "6 3 2 3" }[look.dash] || ""
  const markers = {
    circle: "M13 2.5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 1 1 0-7",
    square: "M9.8 2.8h6.4v6.4H9.8z",
    triangle: "M13 1.8l4.2 7.6H8.8z",
    inverted_triangle: "M13 10.2l4.2-7.6H8.8z",
    diamond: "M13 1.4 17 6l-4 4.6L9 6z",
    hex: "M11 2.5h4l2 3.5-2 3.5h-4L9 6z",
    star: "M13 1l1.5 3.4 3.6.3-2.8 2.4.9 3.6L13 8.8l-3.2 1.9.9-3.6L7.9 4.7l3.6-.3z",
    plus: "M11.8 2h2.4v2.8H17v2.4h-2.8V10h-2.4V7.2H9V4.8h2.8z",
    cross: "M13 2h1v3h3v2h-3v3h-2V7H9V5h3V2z",
    x: "M10 2l3 2.6L16 2l1 1-2.6 3L17 9l-1 1-3-2.6L10 10 9 9l2.6-3L9 3z",
  }
  const line = document.createElementNS(space, "path")
  line.setAttribute("d", "M0 6H26")
  svg.style.setProperty("--on-light", look.color)
  svg.style.setProperty("--on-dark", look.dark)
  line.setAttribute("stroke", "currentColor")
  line.setAttribute("stroke-width", "2")
  line.setAttribute("stroke-dasharray", dash)
  const mark = document.createElementNS(space, "path")
  mark.setAttribute("d", markers[look.marker] || markers.circle)
  mark.setAttribute("fill", "currentColor")
  svg.append(line, mark)
  return svg
}

/** A button that opens a panel below itself; Escape or a click elsewhere closes it. */
function menu(button, panel) {
  panel.hidden = true
  const place = h("div.menu", {}, button, panel)
  const open = (visible) => {
    show(panel, visible)
    button.setAttribute("aria-expanded", String(visible))
  }
  open(false)
  button.addEventListener("click", () => open(panel.hidden))
  place.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || panel.hidden) return
    event.stopPropagation()
    open(false)
    button.focus()
  })
  const elsewhere = (event) => {
    if (!place.isConnected) document.removeEventListener("pointerdown", elsewhere)
    else if (!event.composedPath().includes(place)) open(false)
  }
  document.addEventListener("pointerdown", elsewhere)
  place.close = () => open(false)
  return place
}
