"""What each lane costs: bits, bytes, operations, measured times and memory."""

import numpy as np
import param

from bnnlab.figures.marks import Line, Panel, Points, Text
from bnnlab.figures.view import View, seed_parameter


class Cost(View):
    """For each lane: parameters, bytes in the file, multiply-accumulates, memory, traffic and time.

    Times and memory are measured on this machine: the packed network on the C kernel (filled)
    beside PyTorch in float32, as one meets it and through oneDNN, in bfloat16 and in dynamic int8
    (open markers). Traffic is what a pass moves, each operand once. The limit is what the
    instruction set that ran does with everything in registers, or reading the packed weights.
    Axes are logarithmic; the words give the numbers, the packed one first, and how many times less.
    """

    key = "cost"
    title = "Cost"
    question = "What binarizing costs and buys on this machine."
    order = 70
    columns = 2

    seed = seed_parameter()
    batch = param.Integer(
        default=None, allow_None=True, bounds=(1, None), constant=True,
        doc="Batch size of the times shown; the largest that was measured when not given.",
    )  # fmt: skip

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return any(run.cost for run in log.runs)

    def panels(self, log):
        """Return a panel for each kind of cost, a row for each lane."""
        runs = [log.run(lane, self.seed) for lane in self.chosen_lanes(log)]
        batch = self._batch(runs)
        costs = [_flat(run.cost or {}, batch) for run in runs]
        size = batch or "…"
        return [
            _panel("parameters", runs, costs, "", [
                ("1-bit", "weights_1bit", "square", True),
                ("ternary", "weights_ternary", "triangle", True),
                ("2- to 8-bit", "weights_kbit", "diamond", True),
                ("32-bit", "float", "circle", False)]),
            _panel("file · times smaller", runs, costs, "B", [
                ("packed", "bytes_packed", "square", True),
                ("float32", "bytes_float32", "circle", False)], ratios=True),
            _panel("memory · times smaller", runs, costs, "B", [
                ("packed", "memory_packed_bytes", "square", True),
                ("float32", "memory_float32_bytes", "circle", False)], ratios=True),
            _panel("multiply-accumulates", runs, costs, "", [
                ("xnor", "macs_xnor", "square", True),
                ("sign×float", "macs_sign_float", "diamond", True),
                ("float", "macs_float", "circle", False)]),
            _panel("multiplications of a training step · times fewer", runs, costs, "", [
                ("left", "multiplications", "square", True),
                ("plain", "multiplications_plain", "circle", False)], ratios=True),
            _panel(f"traffic, batch of {size} · times less", runs, costs, "B", [
                ("packed", "traffic_packed", "square", True),
                ("float32", "traffic_float32", "circle", False)], ratios=True),
            _panel(f"time, batch of {size} · speed-up", runs, costs, "s", [
                ("packed", "packed_s", "square", True),
                ("torch", "torch_s", "circle", False),
                ("oneDNN", "onednn_s", "triangle", False),
                ("bf16", "bfloat16_s", "diamond", False),
                ("int8", "int8_s", "inverted_triangle", False)], ratios=True),
            _panel("of it packing the inputs of layers", runs, costs, "s", [
                ("packing", "packing_s", "square", True)]),
            _panel(f"share of the limit{_where(runs)}", runs, costs, "%", [
                ("packed", "limit_percent", "square", True)], note=_checked(costs)),
        ]  # fmt: skip

    def _batch(self, runs):
        measured = sorted({b["batch"] for run in runs for b in (run.cost or {}).get("batches", [])})
        if self.batch is not None and measured and self.batch not in measured:
            raise ValueError(
                f"no times for batches of {self.batch}; there are some for "
                f"{', '.join(map(str, measured))}"
            )
        return self.batch or max(measured, default=None)


def _flat(cost, batch):
    """Return the quantities of a cost record by name, where they were measured."""
    flat = {key: value for key, value in cost.items() if isinstance(value, int | float)}
    if flat:
        flat["float"] = cost.get("weights_32bit", 0) + cost.get("other_32bit", 0)
    flat |= {f"macs_{kind}": count for kind, count in cost.get("macs", {}).items()}
    for measured in cost.get("batches", []):
        if measured["batch"] == batch:
            for key, times in measured.items():
                if key.endswith("_s") and times:
                    flat[key] = times["median"]
            for kind, moved in measured.get("traffic", {}).items():
                flat[f"traffic_{kind}"] = moved
            if measured.get("limit"):
                flat["limit_percent"] = 100 * measured["limit"]["share"]["median"]
    return {key: value for key, value in flat.items() if value > 0}


def _panel(heading, runs, costs, unit, quantities, ratios=False, note=""):
    rows = np.arange(len(runs), 0, -1, dtype=float)
    every = [np.log10(cost[key]) for cost in costs for _, key, _, _ in quantities if key in cost]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    # Room for the words at the right of the last marker.
    low, high = low - 0.18, high + 0.85 * (high - low) + 0.6
    marks: list = []
    for row, run, cost in zip(rows, runs, costs, strict=True):
        values = sorted(np.log10(cost[key]) for _, key, _, _ in quantities if key in cost)
        ends = values[:1] + values[-1:]
        marks.append(Line(ends, [row] * len(ends), "faint", width=1.0))
        for _, key, marker, own in quantities:
            known = [np.log10(cost[key])] if key in cost else []
            color = run.description["color"] if own else "muted"
            marks.append(Points(known, [row] * len(known), color, marker, 7, own))
        said = [_said(cost, quantities, unit, ratios)] if values else []
        beside = [value + 0.035 * (high - low) for value in values[-1:]]
        marks.append(Text(beside, [row] * len(said), said))
    legend = "   ".join(f"{_SIGNS[marker, own]} {label}" for label, _, marker, own in quantities)
    marks.append(Text([low], [0.0], [legend + note] if every else [""]))
    return Panel(
        "", heading, heading, marks, (float(low), float(high)),
        (-0.5, len(runs) + 0.6),
        x_axis=False, y_axis=True,
        ticks=[(row, run.title) for row, run in zip(rows, runs, strict=True)],
        empty="" if every else "not measured yet", height=34 + 19 * (len(runs) + 1),
    )  # fmt: skip


_SIGNS = {
    ("square", True): "■", ("diamond", True): "◆", ("circle", False): "○",
    ("triangle", False): "△", ("triangle", True): "▲", ("diamond", False): "◇",
    ("inverted_triangle", False): "▽",
}  # fmt: skip


def _where(runs):
    """Say which instruction sets ran, in how many threads."""
    ran = {(run.cost["isa"], run.cost["threads"]) for run in runs if "isa" in (run.cost or {})}
    said = [f"{isa}, {'one thread' if threads == 1 else f'{threads} threads'}"
            for isa, threads in sorted(ran)]  # fmt: skip
    return "".join(f" · {words}" for words in said)


def _checked(costs):
    """Say how many predictions of the packed networks are those of PyTorch."""
    made, equal = (
        int(sum(cost.get(key, 0) for cost in costs)) for key in ("predictions", "predictions_equal")
    )
    if not made:
        return ""
    return f"   all {made} predictions equal" if equal == made else f"   {equal} of {made} equal"


def _said(cost, quantities, unit, ratios):
    known = [(label, cost[key]) for label, key, _, _ in quantities if key in cost]
    if not ratios or len(known) < 2:
        return " / ".join(engineering(value, unit) for _, value in known)
    first = known[0][1]
    times = " / ".join(f"{value / first:.2g}×" for _, value in known[1:])
    return f"{engineering(first, unit)} · {times}"


def engineering(value: float, unit: str) -> str:
    """Return a quantity in three digits with a prefix: 12.3 kB, 45 µs."""
    prefixes = (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9))
    letter, size = next((p for p in prefixes if value >= p[1]), prefixes[-1])
    shown = value / size
    digits = max(0, 2 - int(np.floor(np.log10(shown)))) if size != 1 or unit else 0
    return f"{shown:.{digits}f} {letter}{unit}".strip()
