"""ProxQuant: real weights that are drawn to few values by proximal steps (ICLR 2019)."""

from typing import Any

import param
import torch

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import sign
from bnnlab.schemes.twn import twn


class ProxQuant(Scheme):
    r"""ProxQuant: no straight-through estimator, but a regularizer that grows.

    While training goes on, both passes use the real weights. After each step a proximal step with
    strength $\lambda$ draws them to the nearest quantized weights, `levels`:

    * "binary": $w \leftarrow \mathrm{sign}(w)\,(1 + \mathrm{soft}(|w| - 1, \lambda))$, soft the
      soft threshold: each |w| goes a distance $\lambda$ towards 1, and no further (the proximal map
      of $\lambda \||w| - 1\|_1$);
    * "ternary": $w \leftarrow (w + \lambda q(w)) / (1 + \lambda)$ with q(w) the ternary weights of
      TWN (the proximal map of $\frac{\lambda}{2} \|w - q(w)\|^2$).

    $\lambda$ = `rate` times the share of training that is done. At the share `harden` the weights
    become $\mathrm{sign}(w)$, or q(w), and stay; biases and batch norm go on. Activations are real
    (ReLU), all layers are quantized, nothing is clipped.

    At evaluation the weights are those of the stage: real ones before, quantized ones after
    (`evaluation` "stage"); or the quantized ones at any time ("quantized"), as the network would be
    deployed, which says little before batch norm has met them.

    Faithfulness: the authors' code raises $\lambda$ by 0.0001 an epoch, to 0.03 at the end of 300,
    and hardens at 200: the defaults. It starts from a trained real network; here from the initial
    weights of all lanes. q(w) is not given here as in their code, which could not be checked.
    """

    key = "prox_quant"
    title = "ProxQuant"
    authors = "Bai, Wang, Liberty"
    year = 2019
    order = 0
    reference = "arXiv:1810.00861"
    equations = (
        r"w \leftarrow \mathrm{sign}(w)\,\left(1 + \mathrm{soft}(|w| - 1, \lambda)\right)",
        r"\lambda \propto \mathrm{progress}",
    )
    color = "#0000b4"
    dash = "dashdot"
    marker = "plus"
    anneals = True
    live = ("rate",)

    levels = param.Selector(
        default="binary",
        objects=["binary", "ternary"],
        constant=True,
        doc="Whether weights are drawn to -1 and +1, or to three values.",
    )
    rate = param.Number(
        default=0.03,
        bounds=(0, 10.0),
        constant=True,
        doc="The proximal strength lambda that the last step would have; it grows from 0.",
    )
    harden = param.Number(
        default=2 / 3,
        bounds=(0, 1),
        inclusive_bounds=(True, False),
        constant=True,
        doc="The share of training after which weights are quantized for good.",
    )
    evaluation = param.Selector(
        default="stage",
        objects=["stage", "quantized"],
        constant=True,
        doc="Whether to evaluate with the weights of the stage, real before they harden, or always "
        "with quantized ones.",
    )

    @property
    def weight_bits(self):
        """Bits of a weight."""
        return 1 if self.levels == "binary" else 2

    def attach(self, layer):
        """Keep how far training is."""
        layer.register_buffer("progress", torch.zeros(()))

    def anneal(self, module, progress):
        """Take down how far training is."""
        if hasattr(module, "progress"):  # layers have it, activations do not
            module.progress.fill_(progress)

    def hard(self, layer: Any) -> bool:
        """Whether the weights are quantized for good."""
        return bool(layer.progress >= self.harden)

    def quantize(self, w, second_moment=None, generator=None):
        """The signs with the scale 1, or TWN's ternary weights."""
        if self.levels == "ternary":
            return twn(w, tuple(range(w.ndim)))
        signs = sign(w)
        return Quantized(signs, signs, w.new_ones((1,) * w.ndim))

    def quantized(self, layer):
        """The quantized weights; before they harden the real ones, unless `evaluation` differs."""
        w = layer.weight.detach()
        soft = self.evaluation == "stage" and not self.hard(layer)
        return Quantized(w) if soft else self.quantize(w)

    def weight(self, layer):
        """The real weights; once they are hard, the quantized ones, which no gradient reaches."""
        return self.quantize(layer.weight.detach()).values if self.hard(layer) else layer.weight

    def after_step(self, layer, optimizer):
        """Make the proximal step."""
        if not self.hard(layer):
            w = layer.weight.detach()
            w.copy_(self.proximal(w, self.rate * float(layer.progress)))

    def proximal(self, w: torch.Tensor, strength: float) -> torch.Tensor:
        """The weights drawn towards quantized ones."""
        if self.levels == "ternary":
            return (w + strength * self.quantize(w).values) / (1 + strength)
        return w - sign(w) * (w.abs() - 1).clamp(-strength, strength)

    def events(self):
        """When the weights harden."""
        return [{"at": self.harden, "label": "weights harden"}]
