"""How fast each lane's packed network is against batch size, and what the machine could do."""

from bnnlab.figures.throughput import LIMIT, panel, point, reach
from bnnlab.figures.view import View, percent, seed_parameter

_TIMES = ("packed", "torch", "onednn", "bfloat16", "int8")


class Roofline(View):
    """For each lane: samples a second against batch size, packed and by PyTorch.

    Measured on this machine, packing the inputs counted. The limit is the time of the network's
    multiply-adds with everything in registers, on the instruction set that ran, or that of reading
    its packed weights, whichever is longer.
    """

    key = "roofline"
    title = "Speed"
    question = "How near the packed networks come to what this machine can do."
    order = 71
    columns = 3

    seed = seed_parameter()

    def applies(self, log):
        """Return whether a log has what this view shows."""
        return any("batches" in (run.cost or {}) for run in log.runs)

    def panels(self, log):
        """Return a panel for each lane."""
        runs = [log.run(lane, self.seed) for lane in self.chosen_lanes(log)]
        every = [_curves(run.cost or {}) for run in runs]
        limits = reach(every)
        return [
            panel(run.lane, _heading(run), "samples at once", curves, limits,
                  y_label="10⁶ samples a second", color=run.description["color"])
            for run, curves in zip(runs, every, strict=True)
        ]  # fmt: skip


def _curves(cost):
    """Return the curves of a cost record; records from before there were limits have none."""
    curves: dict[str, list] = {}
    for batch in cost.get("batches", []):
        times = {name: batch.get(f"{name}_s") for name in _TIMES}
        times[LIMIT] = (batch.get("limit") or {}).get("seconds")
        for name, timing in times.items():
            if timing:
                curves.setdefault(name, []).append(
                    point(batch["batch"], batch["batch"] / 1e6, timing)
                )
    return curves


def _heading(run):
    cost = run.cost or {}
    last = max(cost.get("batches", []), key=lambda batch: batch["batch"], default={})
    said = [run.title]
    if last.get("limit"):
        said.append(f"{percent(last['limit']['share']['median'])} of the limit")
    if "isa" in cost:
        said.append(cost["isa"])
    return " · ".join(said)
