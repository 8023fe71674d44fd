"""The diagonal curvature of loss-aware schemes: where it comes from, and how it is measured."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Scheme

_DECAY = 0.999  # Adam's, and that of the LAB authors' own average

Loss = Callable[[Tensor, Tensor], Tensor]


class Curved(Scheme):
    r"""A scheme that weighs errors of the weights by a diagonal curvature d of the loss.

    Where d comes from, `curvature_from`, all with respect to the effective weights $\hat w$:

    * "adam": $d = \sqrt{v} + \epsilon$, v the second moment of the gradient before the step in
      progress. It is Adam's own where the optimizer keeps one ("exp_avg_sq"); for any other
      optimizer an average of the squared gradient is kept here, with 0.999, as the LAB authors'
      code does beside its optimizer. Costs nothing.
    * "hutchinson": the diagonal of the true Hessian, $\mathrm{E}[r \odot H r]$ with random signs r
      (Hutchinson 1990), $d = |m| + \epsilon$ with m a moving average of one draw for each
      refreshment. A forward, a backward and a double backward pass of the batch, and the memory of
      two such graphs: about three further steps every `refresh_every` steps.
    * "fisher": the diagonal of the empirical Fisher matrix, the mean over samples of the squared
      gradient of each sample's own loss, exact for the first `samples` of the batch (batch norm
      takes the statistics of the whole batch), $d = m + \epsilon$ with m a moving average. A
      forward pass and `samples` backward passes every `refresh_every` steps.
    * "identity": d is constant. Costs nothing.

    Hessian and Fisher matrix are measured on the batch of the step that follows, before it. Only
    the ratios within a layer matter, so their moving averages need no correction for their start.
    What stands in for a derivative is differentiated again as it stands; shift-based batch norm
    counts as linear in its second derivative, and an LSTM's clipping of gradients stays on.
    """

    curvature_from = param.Selector(
        default="adam",
        objects=["adam", "hutchinson", "fisher", "identity"],
        constant=True,
        doc="Where the curvature comes from: Adam's second moment; Hutchinson's estimate of the "
        "true Hessian's diagonal; the empirical Fisher matrix; or a constant.",
    )
    refresh_every = param.Integer(
        default=10,
        bounds=(1, 100_000),
        constant=True,
        doc="Steps between measurements of the Hessian or the Fisher matrix.",
    )
    average = param.Number(
        default=0.9,
        bounds=(0, 1),
        inclusive_bounds=(True, False),
        constant=True,
        doc="What the moving average of these measurements keeps of its old value at each.",
    )
    samples = param.Integer(
        default=16,
        bounds=(1, 1024),
        constant=True,
        doc="Samples of a batch whose gradients make the empirical Fisher matrix.",
    )
    epsilon = param.Number(
        default=1e-8,
        bounds=(1e-12, 1.0),
        constant=True,
        doc="Added to the curvature; the larger, the closer to a constant.",
    )

    def attach(self, layer):
        """Keep what the curvature is made of beside the weights, and count the steps."""
        keeps = self.curvature_from != "identity"
        moment = torch.zeros_like(layer.weight, requires_grad=False) if keeps else None
        layer.second_moment = moment
        if self.curvature_from in ("hutchinson", "fisher"):
            layer.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def curvature(self, second_moment: Tensor) -> Tensor:
        """The diagonal curvature d, up to a positive factor, of what the layer keeps."""
        if self.curvature_from != "adam":
            return second_moment.abs().add_(self.epsilon)
        # The square root of 0 is many times slower than any other; epsilon hides the difference.
        smallest = torch.finfo(second_moment.dtype).tiny
        return second_moment.clamp_min(smallest).sqrt_().add_(self.epsilon)

    def before_step(self, network, loss, x, y):
        """Measure the curvature anew, every `refresh_every` steps.

        Raises:
            ValueError: random signs are to be drawn, and a layer has no generator.
        """
        if self.curvature_from not in ("hutchinson", "fisher"):
            return
        layers = [
            module
            for module in network.modules()
            if getattr(getattr(module, "scheme", None), "key", None) == self.key
            and getattr(module, "second_moment", None) is not None
        ]
        if layers and layers[0].steps % self.refresh_every == 0:
            with torch.enable_grad(), _effective_weights(network, layers) as weights:
                scores = network(x)
                if self.curvature_from == "hutchinson":
                    measured = hessian_diagonal(loss(scores, y), weights, _signs_like)
                else:
                    measured = fisher_diagonal(loss, scores, y, weights, self.samples)
            for layer, value in measured.items():
                layer.second_moment.lerp_(value, 1 - self.average)
        for layer in layers:
            layer.steps += 1

    def after_step(self, layer, optimizer):
        """Take over Adam's second moment, or average the squared gradient, and clip."""
        super().after_step(layer, optimizer)
        gradient = layer.weight.grad
        if self.curvature_from != "adam" or gradient is None:
            return
        moment = optimizer.state.get(layer.weight, {}).get("exp_avg_sq")
        if moment is not None:
            # The optimizer's own tensor, not a copy: it changes in its next step, after its use.
            layer.second_moment = moment
        else:
            layer.second_moment.mul_(_DECAY).addcmul_(gradient, gradient, value=1 - _DECAY)


def _signs_like(layer: Any) -> Tensor:
    """Random signs of the shape of a layer's weights, from its own generator."""
    if layer.generator is None:
        raise ValueError(
            f"{layer.scheme.key} draws the signs of Hutchinson's estimate from layer.generator, "
            "which is None; set it to a torch.Generator"
        )
    w = layer.weight
    bits = torch.randint(2, w.shape, generator=layer.generator, device=w.device)
    return (2 * bits - 1).to(w.dtype)


@contextmanager
def _effective_weights(network: Any, layers: list) -> Iterator[dict[Any, Tensor]]:
    """Collect the effective weights of a training pass by layer; leave no other trace of it."""
    weights: dict[Any, Tensor] = {}
    # Running statistics are the buffers of modules that carry no scheme.
    kept = [
        (buffer, buffer.clone())
        for module in network.modules()
        if not hasattr(module, "scheme")
        for buffer in module.buffers(recurse=False)
    ]
    seen = [layer.seen for layer in layers]
    for layer in layers:
        layer.seen = lambda effective, layer=layer: weights.__setitem__(layer, effective)
    try:
        with torch.random.fork_rng(devices=[]):
            yield weights
    finally:
        for layer, before in zip(layers, seen, strict=True):
            layer.seen = before
        for buffer, before in kept:
            buffer.copy_(before)


def hessian_diagonal(
    loss: Tensor, weights: dict[Any, Tensor], signs: Callable[[Any], Tensor]
) -> dict[Any, Tensor]:
    r"""One draw of Hutchinson's estimate $r \odot H r$ of the Hessian's diagonal.

    Args:
        loss: a scalar, with its graph.
        weights: what it is differentiated by, under any keys.
        signs: from a key to random signs of the shape of its weights.
    """
    parts = list(weights.values())
    gradients = torch.autograd.grad(
        loss, parts, create_graph=True, allow_unused=True, materialize_grads=True
    )
    r = [signs(key) for key in weights]
    along = sum((g * s).sum() for g, s in zip(gradients, r, strict=True))
    if not (isinstance(along, Tensor) and along.requires_grad):  # a loss without curvature
        return {key: torch.zeros_like(part) for key, part in weights.items()}
    products = torch.autograd.grad(along, parts, allow_unused=True, materialize_grads=True)
    return {key: s * p for key, s, p in zip(weights, r, products, strict=True)}


def fisher_diagonal(
    loss: Loss, scores: Tensor, y: Tensor, weights: dict[Any, Tensor], samples: int
) -> dict[Any, Tensor]:
    """The mean over the first samples of the squared gradient of each one's own loss.

    Args:
        loss: of scores (samples, ..., classes) and labels (samples, ...).
        scores: those of the batch, with their graph.
        y: labels.
        weights: what is differentiated by, under any keys.
        samples: how many of the batch.
    """
    parts = list(weights.values())
    count = min(samples, len(y))
    total = [torch.zeros_like(part) for part in parts]
    for i in range(count):
        gradients = torch.autograd.grad(
            loss(scores[i : i + 1], y[i : i + 1]),
            parts,
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        for sum_of_squares, g in zip(total, gradients, strict=True):
            sum_of_squares.addcmul_(g, g, value=1 / count)
    return dict(zip(weights, total, strict=True))
