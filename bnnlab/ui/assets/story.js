// Stories: the shelf of them on the opening page, and the step that is told, with what it claims.

const MARKS = { waiting: "…", holds: "✓", fails: "✗" }
const SAID = { waiting: "not measured yet", holds: "holds in this run", fails: "does not hold in this run" }

function shelfPart(send) {
  const list = h("ul")
  const element = h("nav.shelf", { "aria-label": "Stories", hidden: true }, h("span.shelf-lead", {}, "Start with a story"), list,
    iconButton("close", "Hide the stories", () => {
      localStorage.setItem("bnnlab-shelf", "hidden")
      show(element, false)
    }))
  const rows = h("ul.story-list")
  const place = menu(h("button", { type: "button", "aria-label": "Stories", title: "Short guided comparisons" }, icon("book"), h("span.wide", {}, "Stories")),
    h("div.panel.stories", {}, rows, h("p.note", {}, "A story sets the page up and measures what it says while you read.")))
  const open = (name) => {
    place.close()
    send({ do: "story", name, at: 1 })
  }
  function update(stories) {
    list.replaceChildren(...stories.map((story) => h("li", {}, h("button", { type: "button", title: story.about, onclick: () => open(story.name) }, story.title))))
    rows.replaceChildren(...stories.map((story) => h("li", {}, h("button.row", { type: "button", onclick: () => open(story.name) }, h("b", {}, story.title), h("small", {}, story.about)))))
    show(place, stories.length > 0)
  }
  const told = (telling) => show(element, !telling && list.children.length > 0 && localStorage.getItem("bnnlab-shelf") !== "hidden")
  return { element, menu: place, update, told }
}

function storyPart(send, find) {
  const element = h("section.story", { "aria-label": "Story", hidden: true })
  let claims = []
  let told = ""
  let look = ""

  function update(story) {
    const key = JSON.stringify(story)
    if (key === told) return
    const first = !told.includes('"name"')
    told = key
    look = story.look || ""
    show(element, Boolean(story.name))
    point()
    if (!story.name) return element.replaceChildren()
    const go = (at) => send({ do: "story", name: story.name, at })
    const end = () => send({ do: "story", name: null })
    const last = story.at === story.of
    const heading = h("h2", { tabindex: "-1" }, story.title)
    const list = h("ul.claims")
    claims = []
    element.replaceChildren(
      h("header", {}, h("span.faint", {}, `${story.story} · ${story.at} of ${story.of}`), iconButton("close", "End the story", end)),
      h("div.told", {}, heading, story.text.map((text) => h("p", {}, text))),
      h("div.measured", {}, h("h3", {}, "Measured in this run"), list),
      h("div.buttons", {},
        h("button", { type: "button", disabled: story.at === 1, onclick: () => go(story.at - 1) }, "Back"),
        h("button.primary", { type: "button", onclick: () => (last ? end() : go(story.at + 1)) }, last ? "End" : "Next")))
    element.list = list
    heading.focus({ preventScroll: !first && element.getBoundingClientRect().top >= 0 })
  }

  function measure(told) {
    show(element.querySelector(".measured") || element.appendChild(h("i")), told.length > 0)
    if (claims.length !== told.length) {
      claims = told.map(() => ({ mark: h("span.claim-mark", { role: "img" }), text: h("span") }))
      element.list?.replaceChildren(...claims.map(({ mark, text }) => h("li", {}, mark, text)))
    }
    told.forEach((claim, i) => {
      const { mark, text } = claims[i]
      write(text, claim.text)
      if (mark.dataset.state !== claim.state) {
        mark.dataset.state = claim.state
        mark.setAttribute("aria-label", SAID[claim.state])
        mark.title = SAID[claim.state]
        write(mark, MARKS[claim.state])
      }
    })
  }

  // What is looked at is found anew whenever it may have been drawn again.
  let pointed = null
  function point() {
    const target = look ? find(look) : null
    if (target === pointed) return
    pointed?.classList.remove("pointed")
    pointed = target
    pointed?.classList.add("pointed")
    if (look.startsWith("field")) pointed?.scrollIntoView({ block: "nearest" })
  }
  return { element, update, measure, point }
}
