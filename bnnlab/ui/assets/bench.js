// Puts the parts together and keeps them in step with the server.

/** Spare the browser styles that nobody sees.
 *
 * Bokeh (3.9) lays an empty element over every mark and moves it in each frame, and writes the style
 * sheets of axes and titles anew, mostly with the text that they had. The browser works styles out
 * again after each: half of the time that a frame takes.
 */
function spareStyles() {
  const found = (name) => { try { return Bokeh.require(name) } catch { return {} } } // another version: only slower
  const sheet = found("core/dom").InlineStyleSheet?.prototype
  const mark = found("models/renderers/glyph_renderer").GlyphRendererView?.prototype
  if (mark?.update_position) mark.update_position = () => {}
  if (sheet?._update) sheet._update = function (css) {
    if (this.el.textContent !== css) this.el.textContent = css
  }
}

export function render({ model, el }) {
  spareStyles()
  const send = (message) => model.send_msg(message)
  const bar = transport(send)
  const form = formPart(send)
  const restart = restartBar(send)
  const lanes = lanesPart(send)
  const card = cardPart(send, lanes)
  const shelf = shelfPart(send)
  const story = storyPart(send, find)
  const help = helpPart()
  const library = libraryPart(send, model.embedded)
  const exports = exportPart(send)
  const views = viewsPart(send, h("div.figures", {}, model.get_child("figures")))

  const notice = h("div.notice", { role: "alert", hidden: true })
  const busy = h("span.busy", { role: "status", hidden: true })
  const rail = h("aside.rail", { "aria-label": "Settings" },
    h("header.rail-head", {}, h("h2", {}, "Settings"), iconButton("close", "Close settings", () => drawer(false), ".narrow")),
    form.element, restart.element)
  const shade = h("div.shade", { onclick: () => drawer(false) })
  const root = h(`div.app${model.embedded ? ".embedded" : ""}`, { tabindex: "-1" },
    h("header.top", {}, h("span.brand", {}, "bnnlab"), library.element, busy, bar.element,
      h("div.right", {}, shelf.menu, exports.element,
        iconButton("help", "Keys and help (?)", help.open),
        iconButton("moon", "Light or dark", () => theme(!dark, true)),
        iconButton("settings", "Settings", () => drawer(!root.classList.contains("drawn")), ".narrow"))),
    rail, shade,
    h("main", {}, shelf.element, notice, story.element, lanes.element, card.element, views.element), help.element)

  /** What a story points at; on a phone, what opens the drawer that a field is in. */
  function find(look) {
    const [what, ...rest] = look.split(" ")
    const name = CSS.escape(rest.join(" "))
    const places = { view: ".view", lanes: ".lanes", play: ".transport", step: ".transport [aria-label^='One step']",
      tab: `[data-view="${name}"]`, lane: `.lane[data-lane="${name}"]`, field: `.field[data-key="${name}"]` }
    const closed = what === "field" && !root.classList.contains("drawn") && root.querySelector(".top .narrow")
    return closed?.offsetParent ? closed : root.querySelector(places[what])
  }

  function drawer(open) {
    root.classList.toggle("drawn", open)
    story.point()
    if (open) rail.querySelector("input, select, button").focus()
  }

  // The server recolours the figures, which are drawn on canvases.
  let dark // not known until first followed
  let chose = false
  function theme(wanted, chosen) {
    dark = wanted
    chose ||= chosen
    root.classList.toggle("dark", dark)
    if (!model.embedded) document.documentElement.classList.toggle("bnnlab-dark", dark)
    if (chosen) localStorage.setItem("bnnlab-theme", dark ? "dark" : "light")
    send({ do: "theme", dark, chosen })
  }

  /** What was chosen on this page stays; or else what the address says, was chosen before, or the system has. */
  function follow() {
    if (chose) return
    const wanted = model.place.theme || localStorage.getItem("bnnlab-theme")
    const next = wanted ? wanted === "dark" : system.matches
    if (next !== dark) theme(next, false)
  }
  const system = matchMedia("(prefers-color-scheme: dark)")
  system.addEventListener("change", follow)

  function showNotice(message) {
    show(notice, Boolean(message.text))
    notice.dataset.kind = message.kind || ""
    const buttons = (message.actions || []).map(([label, action]) =>
      h("button", { type: "button", onclick: () => send({ do: action }) }, label))
    notice.replaceChildren(h("p", {}, message.text || ""), h("div.buttons", {}, buttons))
  }

  const parts = {}
  const watch = (name, update) => {
    parts[name] = update
    model.on(name, () => update(model[name]))
    update(model[name])
  }
  watch("form", (value) => { form.update(value); restart.update(value); story.point() })
  watch("lanes", (value) => { lanes.draw(value); exports.update(value); story.point() })
  watch("views", (value) => { views.update(value); story.point() })
  watch("card", card.update)
  watch("stories", shelf.update)
  watch("story", (value) => { story.update(value); shelf.told(Boolean(value.name)) })
  watch("place", (value) => { lanes.go(value); bar.go(value); story.point(); follow() })
  let addressed = false // until the server has spoken, the address is what was asked for
  watch("address", (query) => {
    addressed ||= Boolean(query)
    if (addressed && !model.embedded) history.replaceState(null, "", query || location.pathname)
  })
  watch("library", library.update)
  watch("notice", showNotice)
  watch("busy", (text) => { write(busy, text); show(busy, Boolean(text)) })

  // The next frame is sent when this one was drawn.
  model.on("msg:custom", (data) => {
    if (data.type === "file") return deliver(data)
    if (data.type === "moment") return step !== null && lanes.look({ step: data.step, values: data.lanes })
    if (data.type === "all") return Object.entries(parts).forEach(([name, update]) => update(data[name]))
    bar.update(data)
    lanes.update(data.lanes)
    story.measure(data.claims)
    requestAnimationFrame(() => {
      root.dataset.frame = data.frame
      send({ do: "drawn", frame: data.frame })
    })
  })

  root.addEventListener("keydown", (event) => keys(event))
  const typing = (target) => target.matches("input, select, textarea")
  function keys(event) {
    const target = event.composedPath()[0]
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === "Escape") return drawer(false)
    if (typing(target) || help.element.open || (event.key === " " && target.matches("button, summary, a"))) return
    const action = {
      " ": bar.toggle, ArrowRight: () => (event.shiftKey ? views.turn(1) : send({ do: "step" })), ArrowLeft: () => event.shiftKey && views.turn(-1),
      r: () => send({ do: "reset" }), t: () => theme(!dark, true), "/": () => lanes.filter.focus(), "?": help.open,
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key]
    if (!action || help.off()) return
    event.preventDefault()
    action()
  }
  const onPage = (event) => { if (event.target === document.body) keys(event) }
  document.addEventListener("keydown", onPage)

  // A figure that is pointed at says where; the cards show the numbers of that step.
  let step = null
  let asked = false
  const pointed = (event) => {
    if (event.detail.bench !== model.token) return
    step = event.detail.step >= 0 ? Math.floor(event.detail.step) : null
    if (step === null) return lanes.look(null)
    if (!asked) setTimeout(() => {
      asked = false
      if (step !== null) send({ do: "moment", step })
    }, 60)
    asked = true
  }
  document.addEventListener("bnnlab-pointed", pointed)

  model.on("remove", () => {
    system.removeEventListener("change", follow)
    document.removeEventListener("keydown", onPage)
    document.removeEventListener("bnnlab-pointed", pointed)
  })
  send({ do: "ready" })
  return root
}
