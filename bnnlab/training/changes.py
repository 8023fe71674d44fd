"""What was changed while a comparison ran: lines of `changes.jsonl`.

{"at": 120, "lr": 0.001}                                      the step size from a step on
{"at": 120, "lane": "dorefa", "options": {"weight_bits": 2}}  options of a lane's scheme
{"steps": 2000}                                               how many steps each run makes
"""

from typing import Any


class Changes:
    """The changes of a comparison, in the order they were made.

    Args:
        lines: what `changes.jsonl` holds.
    """

    def __init__(self, lines: list[dict]):
        self.lines = lines

    def steps(self, planned: int) -> int:
        """Return how many steps each run makes."""
        return next((line["steps"] for line in reversed(self.lines) if "steps" in line), planned)

    def lr(self, step: int, lr: float) -> float:
        """Return the step size of the update that follows `step` updates; `lr` is the spec's."""
        for line in self.lines:
            if "lr" in line and line["at"] <= step:
                lr = line["lr"]
        return lr

    def latest_lr(self, lr: float) -> float:
        """Return the step size that was asked for last."""
        return next((line["lr"] for line in reversed(self.lines) if "lr" in line), lr)

    def options(self, lane: str, step: int) -> dict[str, Any]:
        """Return the options that a lane's scheme has after `step` updates, beside the spec's."""
        options: dict[str, Any] = {}
        for line in self.lines:
            if line.get("lane") == lane and line["at"] <= step:
                options |= line["options"]
        return options
