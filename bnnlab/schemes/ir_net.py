"""IR-Net: standardized weights, and an estimator that turns into the sign (CVPR 2020)."""

import math

import param
import torch

from bnnlab.powers import ap2
from bnnlab.schemes.base import Quantized, Scheme, granularity_parameter, scale_dimensions
from bnnlab.schemes.estimators import Estimator, sign, straight_through


class ErrorDecay(Estimator):
    """Sign forward, the derivative of k tanh(t x) with k = max(1/t, 1) backward.

    The error decay estimator of IR-Net (arXiv:1909.10788): nearly the identity while t is small,
    nearly the sign when it is large.
    """

    name = "error_decay"
    title = "error decay"
    equation = (
        r"\mathrm{sign}(x),\qquad \frac{\partial\,\mathrm{sign}(x)}{\partial x} \approx"
        r" k\,t\left(1 - \tanh^2(t x)\right),\quad k = \max\left(\frac{1}{t}, 1\right)"
    )

    def __init__(self, t: float):
        self.t, self.k = t, max(1 / t, 1.0)

    def forward(self, x):
        """sign(x)."""
        return sign(x)

    def pseudo_gradient(self, x):
        """Its value is k t (1 - tanh(t x)^2)."""
        bent = (self.t * x).tanh()
        return self.k * self.t * (1 - bent * bent)


class IRNet(Scheme):
    r"""IR-Net: balanced weights, power-of-two scales, and the error decay estimator.

    Weights (Libra parameter binarization): a channel at a time
    $\tilde w = (w - \mathrm{mean}\,w) / \mathrm{std}\,w$, then
    $\hat w = 2^s\,\mathrm{sign}(\tilde w)$ with
    $s = \mathrm{round}(\log_2 \mathrm{mean}|\tilde w|)$, a shift. So the signs are those of the
    centred weights. Activations $\hat x = \mathrm{sign}(x)$.

    Backward, of both signs: $k\,t\,(1 - \tanh^2(t x))$ with $k = \max(1/t, 1)$ and t growing from
    `t_min` to `t_max` in equal ratios as training goes on; the gradient of the weights
    also goes through the standardization, and $2^s$ counts as constant. Latent weights are not
    clipped. First and last layers stay real. What is drawn of the estimator is the middle of
    training.

    Faithfulness: t goes from 0.1 to 10 in most of the authors' scripts, which is the default; one
    has 0.001 to 10. The sign of 0 is +1 where their code has 0. Constant channels have no
    deviation to be divided by; they become 0.
    """

    key = "ir_net"
    title = "IR-Net"
    authors = "Qin, Gong, Liu, Shen, Wei, Yu, Song"
    year = 2020
    order = 0
    reference = "arXiv:1909.10788"
    equations = (
        r"\tilde{w} = \frac{w - \mathrm{mean}\,w}{\mathrm{std}\,w},\quad"
        r" \hat{w} = 2^s\,\mathrm{sign}(\tilde{w}),\quad \hat{x} = \mathrm{sign}(x)",
        r"s = \mathrm{round}\left(\log_2 \mathrm{mean}|\tilde{w}|\right)",
    )
    color = "#c896f0"
    dash = "solid"
    marker = "inverted_triangle"
    weight_bits = 1
    binarizes_ends = False
    activation_bits = 1
    activation_step = 1.0
    activation_codes = (-1, 1)
    anneals = True

    granularity = granularity_parameter("channel")
    t_min = param.Number(
        default=0.1,
        bounds=(1e-4, 100.0),
        constant=True,
        doc="How steep the estimator's tanh is at the beginning of training.",
    )
    t_max = param.Number(
        default=10.0,
        bounds=(1e-4, 100.0),
        constant=True,
        doc="How steep the estimator's tanh is at the end of training.",
    )

    @property
    def weight_estimator(self):
        """The estimator in the middle of training."""
        return self.decay(0.5)

    @property
    def activation_estimator(self):
        """The estimator in the middle of training."""
        return self.decay(0.5)

    def decay(self, progress: float) -> ErrorDecay:
        """The estimator at a share of the training."""
        low, high = math.log(self.t_min), math.log(self.t_max)
        return ErrorDecay(math.exp(low + (high - low) * progress))

    def attach(self, layer):
        """Keep how far training is."""
        layer.register_buffer("progress", torch.zeros(()))

    def attach_activation(self, module, channels):
        """Keep how far training is."""
        module.register_buffer("progress", torch.zeros(()))

    def anneal(self, module, progress):
        """Take down how far training is."""
        module.progress.fill_(progress)

    def standardized(self, w: torch.Tensor) -> torch.Tensor:
        """Weights with mean 0 and deviation 1 in each channel; 0 where a channel is constant."""
        over = scale_dimensions(w, self.granularity)
        mean = w.mean(over, keepdim=True)
        centred, count = w - mean, w.numel() // mean.numel()
        square = centred.square().sum(over, keepdim=True) / max(count - 1, 1)
        return centred / square.clamp_min(torch.finfo(w.dtype).tiny).sqrt()

    def quantize(self, w, second_moment=None, generator=None):
        """Signs of the standardized weights, times a power of two."""
        standard = self.standardized(w)
        signs = sign(standard)
        scale = ap2(standard.abs().mean(scale_dimensions(w, self.granularity), keepdim=True))
        return Quantized(signs * scale, signs, scale)

    def weight(self, layer):
        """The effective weight, differentiable through estimator and standardization."""
        quantized = self.quantize(layer.weight.detach())
        estimator, scale = self.decay(float(layer.progress)), quantized.scale
        assert scale is not None

        def chain(gradient, x):
            return estimator.chain(gradient, x) * scale

        return straight_through(self.standardized(layer.weight), quantized.values, chain)

    def activation(self, x, module=None):
        """sign(x), differentiable through the estimator of the time."""
        return self.decay(0.5 if module is None else float(module.progress))(x)
