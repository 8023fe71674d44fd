"""What is minimized: functions of scores `(batch, ..., classes)` and labels `(batch, ...)`."""

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    r"""Return the mean of $\max(0, 1 - t y)^2$ over labels and classes, with targets $t = \pm 1$.

    The L2-SVM loss of BinaryConnect, BNN and LAB.
    """
    targets = 2 * F.one_hot(labels, scores.shape[-1]).to(scores.dtype) - 1
    return torch.clamp(1 - targets * scores, min=0).square().mean()


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of the softmax of the scores, in nats."""
    return F.cross_entropy(scores.flatten(0, -2), labels.flatten())


LOSSES = {"squared_hinge": squared_hinge, "cross_entropy": cross_entropy}
