"""Bitwise neural networks: compressed weights first, then bits with noisy back-propagation."""

from functools import cache
from typing import Any

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, sign


def boundary(w: Tensor, sparsity: float) -> Tensor:
    """The size that a share `sparsity` of all |w| lies below: numpy's linear quantile; 0 for 0.

    Returns:
        One number, shaped to broadcast over w.
    """
    size = w.abs().flatten()
    if sparsity == 0:
        return size.new_zeros((1,) * w.ndim)
    place = sparsity * (len(size) - 1)
    below = int(place)
    low = size.kthvalue(below + 1).values
    high = size.kthvalue(min(below + 2, len(size))).values
    return torch.lerp(low, high, place - below).reshape((1,) * w.ndim)


def ternary(w: Tensor, sparsity: float) -> Quantized:
    """+1 above the boundary, -1 below its negative, 0 between them, both included; scale 1."""
    cut = boundary(w, sparsity)
    signs, mask = sign(w), w.abs() > cut
    return Quantized(signs * mask, signs, torch.ones_like(cut), mask, cut=cut)


class TernaryIdentity(Estimator):
    """The ternary weights forward, 1 backward."""

    name = "identity"
    title = "identity"
    equation = r"\mathrm{sign}(w)\,1_{|w| > \beta},\qquad \frac{\partial}{\partial w} \approx 1"

    def __init__(self, sparsity: float):
        self.sparsity = sparsity

    def forward(self, x: Tensor) -> Tensor:
        """-1, 0 or +1, by the boundary of all of x."""
        return ternary(x, self.sparsity).values

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1."""
        return torch.ones_like(x)

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient as it is."""
        return gradient


class TernaryTanh(TernaryIdentity):
    """The ternary weights forward, the derivative of tanh backward."""

    name = "tanh"
    title = "tanh"
    equation = (
        r"\mathrm{sign}(w)\,1_{|w| > \beta},\qquad"
        r" \frac{\partial}{\partial w} \approx 1 - \tanh^2 w"
    )

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1 - tanh(x)^2."""
        return 1 - x.tanh().square()

    def chain(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient times 1 - tanh(x)^2."""
        return gradient * self.pseudo_gradient(x)


class SignTanh(Estimator):
    """Sign forward, the derivative of tanh backward."""

    name = "tanh"
    title = "tanh"
    equation = (
        r"\mathrm{sign}(x),\qquad"
        r" \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx 1 - \tanh^2 x"
    )

    def forward(self, x: Tensor) -> Tensor:
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x: Tensor) -> Tensor:
        """1 - tanh(x)^2."""
        return 1 - x.tanh().square()


_WEIGHTS: dict[str, Any] = {"identity": cache(TernaryIdentity), "tanh": cache(TernaryTanh)}
_activation = SignTanh()


class Bitwise(Scheme):
    r"""Bitwise neural network: weights, biases, activations and inputs are bits in the end.

    Stage 1, up to the share `switch` of the planned steps, is a real network whose weights are
    compressed: $\hat w = \tanh w$, $\hat b = \tanh b$, activations $\tanh a$, all with their exact
    derivatives.

    Stage 2 is *noisy back-propagation*: $\hat w = +1$ where $w > \beta$, -1 where $w < -\beta$, 0
    between them, the biases likewise, and $\hat x = \mathrm{sign}(a)$. The boundary $\beta$ is the
    $\lambda$-quantile of a layer's |w| (of its |b| for the biases), so that a share $\lambda$
    (`sparsity`) of the weights is inactive; it is found anew in every pass as weights move.
    Backward, the activation's derivative is $1 - \tanh^2 a$; the gradient with respect to $\hat w$
    reaches w unchanged (`weight_gradient="identity"`) or times $1 - \tanh^2 w$ ("tanh").

    At the switch the latent weights of stage 1 become those of stage 2: either tanh w, what stage 1
    multiplied by (`latent="compressed"`), or w itself ("raw"). Order and signs are the same, so
    the bits are too; what differs is how far a step moves the larger weights.

    Inputs are bits as well: the sign of the standardized pixel ("bipolar"), unless `inputs` is
    "real". Nothing is scaled, nothing is clipped; all layers take part. In stage 1 the network is
    evaluated with its compressed, real weights. A zero costs a bit of its own: weights take 2 bits.

    Faithfulness: the paper has no batch norm; it is the comparison's choice here, and with it there
    are no biases. Its summary of noisy back-propagation leaves the activation's derivative open;
    $1 - \tanh^2 a$ is that of stage 1 and of a third party's code, which also has "tanh" for the
    weights and takes the compressed weights over; the paper's own rule is the unchanged gradient,
    the default. The paper trains stage 1 to its end before stage 2, with dropout, by plain gradient
    descent on the number of wrong output bits; here a lane's loss and optimizer stay the same, and
    so do Adam's moments at the switch. With $\lambda = 0$ the boundary is 0. A weight that equals
    the boundary is inactive: the paper's inequalities are strict.
    """

    key = "bitwise"
    title = "Bitwise NN"
    authors = "Kim, Smaragdis"
    year = 2015
    order = 2
    reference = "arXiv:1601.06071"
    equations = (
        r"\hat{w} = \tanh(w),\quad \hat{x} = \tanh(a)",
        r"\hat{w} = \mathrm{sign}(w)\,1_{|w| > \beta},\quad \hat{x} = \mathrm{sign}(a)",
        r"\frac{1}{n}\left|\{i : |w_i| \leq \beta\}\right| = \lambda",
    )
    color = "#c3b469"
    dash = "dotted"
    marker = "square"
    weight_bits = 2
    activation_bits = 1
    activation_estimator = _activation
    activation_step = 1.0
    activation_codes = (-1, 1)
    anneals = True

    sparsity = param.Number(
        default=0.1,
        bounds=(0, 0.95),
        constant=True,
        doc="Share of the weights that are zero in the second stage.",
    )
    switch = param.Number(
        default=0.5,
        bounds=(0, 1),
        constant=True,
        doc="Share of the planned steps after which the second stage begins.",
    )
    latent = param.Selector(
        default="compressed",
        objects=["compressed", "raw"],
        constant=True,
        doc="What the second stage starts from: the compressed weights tanh(w), or w.",
    )
    weight_gradient = param.Selector(
        default="identity",
        objects=list(_WEIGHTS),
        constant=True,
        doc="What stands in for the derivative of the ternary weights: 1, or that of tanh.",
    )
    inputs = param.Selector(
        default="bipolar",
        objects=["bipolar", "real"],
        constant=True,
        doc="What the first layer is given: the signs of the inputs, or the inputs.",
    )
    live = ("sparsity",)

    @property
    def weight_estimator(self):
        """That of the second stage: the ternary weights with the chosen `weight_gradient`."""
        return _WEIGHTS[self.weight_gradient](self.sparsity)

    @property
    def input_step(self):
        """1 where inputs are -1 and +1, None where they are real."""
        return 1.0 if self.inputs == "bipolar" else None

    @property
    def input_codes(self):
        """The integers the inputs are, where they are."""
        return (-1, 1) if self.inputs == "bipolar" else None

    def attach(self, layer):
        """Keep beside the weights which stage it is."""
        layer.register_buffer("noisy", torch.zeros((), dtype=torch.bool))

    def attach_activation(self, module, channels):
        """Keep in the activation which stage it is."""
        self.attach(module)

    @torch.no_grad()
    def anneal(self, module, progress):
        """Go over to the second stage when it is time, once and for all."""
        if progress < self.switch or module.noisy:
            return
        module.noisy.fill_(True)
        if self.latent == "compressed":
            for latent in module.parameters(recurse=False):
                latent.tanh_()

    def events(self):
        """The switch-over."""
        return [{"at": self.switch, "label": "noisy back-propagation"}]

    def input(self, x):
        """The signs of the inputs, or the inputs."""
        return sign(x) if self.inputs == "bipolar" else x

    def quantize(self, w, second_moment=None, generator=None):
        """The ternary weights of the second stage."""
        return ternary(w, self.sparsity)

    def quantized(self, layer):
        """The compressed weights in the first stage, the ternary ones in the second."""
        w = layer.weight.detach()
        return self.quantize(w) if layer.noisy else Quantized(w.tanh())

    def weight(self, layer):
        """The effective weight of the layer's stage, differentiable."""
        return self._effective(layer.weight, layer)

    def bias(self, layer):
        """The effective bias of the layer's stage, differentiable."""
        return None if layer.bias is None else self._effective(layer.bias, layer)

    def _effective(self, latent: Tensor, layer: Any) -> Tensor:
        if not layer.noisy:
            return latent.tanh()
        return self.weight_estimator.through(latent, self.quantize(latent.detach()).values)

    def activation(self, x, module=None):
        """tanh(x) in the first stage, sign(x) in the second."""
        if module is not None and not module.noisy:
            return x.tanh()
        return self.activation_estimator(x)
