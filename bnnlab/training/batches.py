"""The order of the data: which samples make up the batch of a step."""

import torch

from bnnlab.training import seeds
from bnnlab.training.devices import CPU


class Batches:
    """Shuffled epochs, computed from the seed and the step alone.

    Every lane of a seed gets the same batches; a resumed run needs no state to go on.

    Args:
        count: number of training samples.
        size: samples a batch; the last, smaller batch of an epoch is left out.
        seed: the run's seed.
        device: where indices are wanted; the order is drawn on the processor, the same for all.

    Raises ValueError when a batch is larger than the training set.
    """

    def __init__(self, count: int, size: int, seed: int, device: torch.device = CPU):
        if size > count:
            raise ValueError(f"batch_size is {size}, but the task has {count} training samples")
        self.size = size
        self.seed = seed
        self.count = count
        self.device = device
        self.per_epoch = count // size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def epoch(self, step: int) -> float:
        """Return how many epochs have passed after `step` updates."""
        return step / self.per_epoch

    def __getitem__(self, step: int) -> torch.Tensor:
        """Return the indices of the samples that update number `step` (from 0) is made on."""
        epoch, batch = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            stream = seeds.generator("batches", self.seed, epoch)
            self._order = torch.randperm(self.count, generator=stream).to(self.device)
            self._epoch = epoch
        return self._order[batch * self.size : (batch + 1) * self.size]
