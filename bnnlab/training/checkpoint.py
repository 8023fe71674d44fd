"""Checkpoints: two slots written in turn, so that there is always a whole one.

A slot is `N.safetensors` (every tensor of the run's state) and `N.json` (its step, its digest, the
length of the run's scalars, and the devices it was on), the second written after the first. A slot
whose digest does not match was being written when the trainer died: the other one holds.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load, save

from bnnlab.training import files


class Checkpoint(NamedTuple):
    """A run's state after `step` updates, and in words the devices that made them."""

    step: int
    tensors: dict[str, torch.Tensor]
    scalars_bytes: int
    devices: list[str]


def write(run: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into the slot that does not hold the newest one."""
    folder = run / "checkpoint"
    folder.mkdir(exist_ok=True)
    newest = max(_slots(folder), key=lambda slot: slot[1]["step"], default=None)
    slot = 0 if newest is None else 1 - newest[0]
    data = save({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()})
    files.write_atomically(folder / f"{slot}.safetensors", data, durable=True)
    about = {
        "step": checkpoint.step,
        "sha256": hashlib.sha256(data).hexdigest(),
        "scalars_bytes": checkpoint.scalars_bytes,
        "devices": checkpoint.devices,
    }
    files.write_json(folder / f"{slot}.json", about)


def read(run: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint of a run, None when there is none."""
    folder = run / "checkpoint"
    for slot, about in sorted(_slots(folder), key=lambda slot: -slot[1]["step"]):
        data = (folder / f"{slot}.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() == about["sha256"]:
            devices = about.get("devices", ["cpu"])  # older ones do not say it
            return Checkpoint(about["step"], load(data), about["scalars_bytes"], devices)
    return None


def newest_step(run: Path) -> int:
    """Return the step of a run's newest checkpoint, -1 when there is none."""
    return max((about["step"] for _, about in _slots(run / "checkpoint")), default=-1)


def _slots(folder: Path) -> list[tuple[int, dict]]:
    present = [slot for slot in (0, 1) if (folder / f"{slot}.json").exists()]
    return [(slot, files.read_json(folder / f"{slot}.json")) for slot in present]
