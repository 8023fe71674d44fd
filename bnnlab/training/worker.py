"""A trainer in a process of its own: `python -m bnnlab.training.worker FOLDER --runs ID,ID`.

It reads commands, one JSON object a line, from standard input, and writes only to the store:

    {"do": "advance", "until": 120}   train until that step (and no further)
    {"do": "changed"}                 read changes.jsonl again
    {"do": "save"}                    write checkpoints

When its input ends, because it was told to stop or because whoever started it died, it writes
checkpoints and leaves.
"""

import argparse
import json
import os
import queue
import sys
import threading
from pathlib import Path

from bnnlab.training import process
from bnnlab.training.trainer import Trainer


class Worker:
    """Follows commands; trains between them."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.until = 0

    def obey(self, command: dict) -> None:
        """Follow one command.

        Raises ValueError for a command that does not exist.
        """
        match command:
            case {"do": "advance", "until": int(until)}:
                self.until = until
            case {"do": "changed"}:
                self.trainer.read_changes()
            case {"do": "save"}:
                self.trainer.save()
            case _:
                raise ValueError(f"not a command: {command!r}")

    @property
    def busy(self) -> bool:
        """Whether there is a step to make now, or a run to finish."""
        step = self.trainer.step
        return bool(self.trainer.going) and (step < self.until or step >= self.trainer.steps)


def _read(commands: "queue.SimpleQueue[dict | None]") -> None:
    for line in sys.stdin:
        commands.put(json.loads(line))
    commands.put(None)


def main(arguments: list[str] | None = None) -> None:
    """Train as told until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m bnnlab.training.worker", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", required=True, help="run ids, separated by commas")
    parser.add_argument("--device", default="cpu", help="where, see bnnlab.training.devices")
    options = parser.parse_args(arguments)
    process.prepare()
    with Trainer(options.folder, options.runs.split(","), options.device) as trainer:
        follow(trainer)


def follow(trainer: Trainer) -> None:
    """Train as the commands on standard input say, until it ends."""
    worker = Worker(trainer)
    commands: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(commands,), daemon=True).start()
    while True:
        try:
            command = commands.get(block=not worker.busy)
        except queue.Empty:
            next(trainer)
            continue
        if command is None:
            trainer.save()
            return
        worker.obey(command)


if __name__ == "__main__":
    main()
    os._exit(0)  # all is written; to take PyTorch apart would take half a second
