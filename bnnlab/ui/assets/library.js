// Comparisons as folders: name, open, resume, compare, send and receive them; and export figures.

const CHUNK = 384 * 1024

function libraryPart(send, embedded) {
  const name = h("input", { id: "library-name", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "digits without batch norm" })
  const refused = h("p.message", { role: "alert", hidden: true })
  const list = h("ul.saved")
  const upload = h("input", { id: "library-file", type: "file", accept: ".zip", onchange: (e) => receive(e.target) })
  const received = h("p.note", { role: "status" })
  const save = (event) => {
    event.preventDefault()
    send({ do: "save", name: name.value })
  }
  const title = h("span.title", {}, "Untitled")
  const button = h("button.name", { type: "button", title: "Name, open, compare and send comparisons" }, icon("folder"), title)
  const panel = h("div.panel.library", { "aria-label": "Comparisons" },
    h("form", { onsubmit: save }, h("label", { for: "library-name" }, "Name of this comparison"),
      h("div.together", {}, name, h("button.primary", { type: "submit" }, "Save")), refused),
    h("div.line", {}, h("button", { type: "button", onclick: () => send({ do: "download" }) }, icon("download"), "Download .bnnlab.zip")),
    h("h2", {}, "Saved"), list,
    h("div.upload", {}, h("label", { for: "library-file" }, "Open a .bnnlab.zip"), upload, received),
    embedded ? null : h("p.note", {}, h("a", { href: "reproductions", target: "_blank" }, "Published tables and studies")))
  const element = menu(button, panel)

  async function receive(control) {
    const file = control.files[0]
    if (!file) return
    send({ do: "upload", begin: file.name, size: file.size })
    for (let at = 0; at < file.size; at += CHUNK) {
      const bytes = new Uint8Array(await file.slice(at, at + CHUNK).arrayBuffer())
      let text = ""
      for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
      send({ do: "upload", data: btoa(text) })
    }
    send({ do: "upload", end: true })
    control.value = ""
  }

  function row(saved, library) {
    const other = library.compared === saved.name
    return h("li", { class: saved.open ? "open" : null },
      h("span", {}, h("b", {}, saved.name), h("small", {}, saved.about)),
      saved.open ? h("small.faint", {}, "open") : h("span.buttons", {},
        h("button", { type: "button", "aria-label": `Open ${saved.name}`, onclick: () => { element.close(); send({ do: "open", name: saved.name }) } }, "Open"),
        h("button", { type: "button", "aria-pressed": String(other), "aria-label": `Compare with ${saved.name}`,
          onclick: () => send({ do: "compare", name: other ? null : saved.name }) }, other ? "Comparing" : "Compare")))
  }

  function update(library) {
    write(title, library.title)
    if (library.name && !name.matches(":focus")) name.value = library.name
    write(refused, library.message || "")
    show(refused, Boolean(library.message))
    write(received, library.received || "")
    list.replaceChildren(...(library.saved.length ? library.saved.map((saved) => row(saved, library))
      : [h("li.empty", {}, "Nothing saved yet. A comparison without a name is deleted when its page closes.")]))
  }
  return { element, update }
}

function exportPart(send) {
  const row = (text, first, kinds, act) => h("div.export-row", { role: "group", "aria-label": text }, first,
    ...kinds.map(([kind, label]) => h("button", { type: "button", "aria-label": `${text} as ${label}`, onclick: () => act(kind) }, label)))
  const figures = [["pdf", "PDF"], ["svg", "SVG"], ["png", "PNG"], ["html", "HTML"]]
  const figure = (what, text) => row(text, h("span", {}, text), figures, (kind) => send({ do: "export", what, kind }))
  const lane = h("select", { "aria-label": "Lane to pack" })
  const packed = row("Packed network", lane, [["safetensors", "safetensors"], ["onnx", "ONNX"], ["c", "C"]],
    (kind) => send({ do: "pack", lane: lane.value, kind }))
  const button = h("button", { type: "button", "aria-label": "Export", title: "Export figures and packed networks" }, icon("download"), h("span.wide", {}, "Export"))
  const element = menu(button, h("div.panel.export", {}, figure("view", "This view"), figure("sheet", "Whole sheet"),
    h("p.note", {}, "PDF and SVG are vector graphics with text as text; HTML opens without a server."),
    h("h2", {}, "Packed network"), packed,
    h("p.note", {}, "The network as it is now, as packed bits: safetensors for bnnlab, ONNX for other runtimes, C for a compiler alone.")))

  /** Offer the lanes, first the one after the float twin. */
  function update(lanes) {
    const was = lane.value
    lane.replaceChildren(...lanes.map((one) => h("option", { value: one.name }, one.title)))
    const kept = lanes.some((one) => one.name === was) ? was : (lanes.find((one) => one.name !== "full_precision") || lanes[0])?.name
    if (kept) lane.value = kept
  }
  return { element, update }
}

/** Hand a file that came over the session's own connection to the browser. */
function deliver(file) {
  const bytes = Uint8Array.from(atob(file.data), (character) => character.charCodeAt(0))
  const address = URL.createObjectURL(new Blob([bytes], { type: file.kind }))
  const link = h("a", { href: address, download: file.name })
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10000)
}
