// The bar at the top: what is running, and the buttons that play, pause, step, reset and stop it.

const STATES = {
  starting: "Starting", playing: "Training", pausing: "Pausing", paused: "Paused",
  finished: "Finished", stopped: "Stopped", crashed: "Trainer died",
}

function transport(send) {
  const play = h("button.play", { type: "button", "aria-label": "Play (space)", disabled: true, onclick: () => send({ do: playing() ? "pause" : "play" }) }, icon("play"))
  let state = "starting"
  const playing = () => state === "playing"
  const step = h("span.number", { id: "step" }, "0")
  const steps = h("span.number")
  const rate = h("span.number.rate")
  const word = h("span.state", { role: "status" }, "Starting")
  const track = h("div.track", {}, h("i"))
  const speed = h("select", { "aria-label": "Speed in steps a second", title: "Speed", onchange: (e) => send({ do: "speed", value: e.target.value }) },
    ...[["", "Full speed"], [50, "50 steps/s"], [20, "20 steps/s"], [10, "10 steps/s"], [5, "5 steps/s"], [2, "2 steps/s"], [1, "1 step/s"]]
      .map(([value, text]) => h("option", { value: String(value) }, text)))
  const element = h("div.transport", { role: "group", "aria-label": "Training" },
    iconButton("reset", "Reset to step 0 (R)", () => send({ do: "reset" })),
    play,
    iconButton("step", "One step (→)", () => send({ do: "step" })),
    iconButton("stop", "Stop the trainers", () => send({ do: "stop" })),
    h("div.counter", {},
      h("div.count", {}, word, h("span.steps", {}, step, h("span.faint", {}, " / "), steps)),
      track),
    rate,
    h("label.speed", {}, speed))

  function update(tick) {
    if (tick.state !== state || !play.dataset.state) {
      state = tick.state
      play.dataset.state = state
      const label = playing() ? "Pause (space)" : "Play (space)"
      play.setAttribute("aria-label", label)
      play.title = label
      play.replaceChildren(icon(playing() ? "pause" : "play"))
      play.disabled = state === "starting" || state === "finished"
      word.dataset.state = state
      write(word, STATES[state] || state)
    }
    write(step, tick.step.toLocaleString("en"))
    write(steps, tick.steps.toLocaleString("en"))
    write(rate, playing() && tick.rate ? `${tick.rate} steps/s` : "")
    track.firstChild.style.transform = `scaleX(${tick.steps ? tick.step / tick.steps : 0})`
  }
  const go = (place) => { speed.value = place.speed || "" }
  return { element, update, go, toggle: () => play.click() }
}
