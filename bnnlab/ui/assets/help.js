// What the keys do, in a dialog; they can be switched off, as speech input needs.

const KEYS = [
  [["Space"], "Train or pause"],
  [["→"], "One step"],
  [["R"], "Back to step 0"],
  [["Shift", "←"], "The view before"],
  [["Shift", "→"], "The next view"],
  [["/"], "Filter the lanes"],
  [["T"], "Light or dark"],
  [["?"], "These keys"],
  [["Esc"], "Close what is open"],
]

function helpPart() {
  const off = () => localStorage.getItem("bnnlab-keys") === "off"
  const toggle = h("input.switch", { type: "checkbox", role: "switch", checked: !off(), onchange: (event) => localStorage.setItem("bnnlab-keys", event.target.checked ? "on" : "off") })
  const element = h("dialog.help", { "aria-labelledby": "help-title" },
    h("header", {}, h("h2", { id: "help-title" }, "Keys and how to read this"), iconButton("close", "Close", () => element.close())),
    h("dl.keys", {}, KEYS.flatMap(([keys, what]) => [h("dt", {}, keys.map((key) => h("kbd", {}, key))), h("dd", {}, what)])),
    h("label.inline", {}, toggle, "Keys act"),
    h("p", {}, "All lanes train from the same initial weights on the same batches. Point at a figure to see the same place in every lane, and the numbers of that step on the cards. Click a card for its formulas, or take it as the baseline of the curves. The address of this page holds every setting: send it, and it opens as it stands."))
  element.addEventListener("click", (event) => { if (event.target === element) element.close() })
  return { element, off, open: () => (element.open ? element.close() : element.showModal()) }
}
