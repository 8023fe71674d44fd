"""BinaryConnect: binary weights in the passes, real ones in the update (NIPS 2015)."""

import torch

from bnnlab.schemes.base import Quantized, Scheme, glorot_factor, learning_rate_parameter
from bnnlab.schemes.estimators import identity, sign


class BinaryConnect(Scheme):
    r"""BinaryConnect with deterministic signs.

    Forward: $\hat w = \mathrm{sign}(w)$ (eq. 1).
    Backward: the gradient with respect to $\hat w$ is applied to the latent w unchanged.
    Update (algorithm 1):
    $w \leftarrow \mathrm{clip}(w - \eta\,\partial\ell/\partial\hat w, -1, 1)$, clipped after the
    step; biases and batch norm are never clipped.

    Activations are real (ReLU). First and last layers are binarized too.

    Faithfulness: the authors' code starts from weights uniform in [-1, 1] and scales the step size
    by the Glorot coefficient of the layer; here all schemes start from the same Glorot-uniform
    weights with the same step size, so that lanes can be compared, and
    `learning_rate_scale="glorot"` brings the authors' scaling back. Scaling the step size equals
    their scaling of the finished step for Adam, whose step is proportional to it.
    """

    key = "binary_connect"
    title = "BinaryConnect"
    authors = "Courbariaux, Bengio, David"
    year = 2015
    reference = "arXiv:1511.00363"
    equations = (
        r"\hat{w} = \mathrm{sign}(w)",
        r"w \leftarrow \mathrm{clip}\left("
        r"w - \eta\,\frac{\partial \ell}{\partial \hat{w}}, -1, 1\right)",
    )
    color = "#E69F00"
    dash = "dashed"
    marker = "square"
    weight_bits = 1
    clip = 1.0
    weight_estimator = identity

    learning_rate_scale = learning_rate_parameter("none")

    def quantize(self, w, second_moment=None, generator=None):
        """sign(w), with the scale 1."""
        signs = sign(w)
        return Quantized(signs, signs, w.new_ones((1,) * w.ndim))

    def learning_rate_factor(self, layer):
        """1, or 1 / sqrt(1.5 / (inputs + outputs)) on request."""
        return glorot_factor(layer) if self.learning_rate_scale == "glorot" else 1.0


class BinaryConnectStochastic(BinaryConnect):
    r"""BinaryConnect with random signs.

    Forward, in training: $\hat w = +1$ with probability
    $\sigma(w) = \mathrm{clip}((w + 1)/2, 0, 1)$, else -1 (eqs. 2, 3), so that
    $\mathrm{E}[\hat w] = w$ for $|w| \leq 1$. Backward and update as in BinaryConnect.

    At test time the real w are used (the second of the three ways the paper names), so the trained
    network is *not* binary and cannot be packed.

    Faithfulness: as BinaryConnect, and the authors' code also evaluates with the real weights. The
    Glorot scaling of the step size is on by default here, as in their code: weights that stay small
    are drawn almost as coin flips, so nothing is learnt and the batch norm statistics of the random
    weights do not fit the real ones of the test. It takes until the weights have moved to the walls
    for the two to agree. Signs are drawn anew in every training pass, from the layer's generator.
    """

    key = "binary_connect_stochastic"
    title = "BinaryConnect (stochastic)"
    order = 1
    equations = (
        r"P(\hat{w} = +1) = \mathrm{clip}\left(\frac{w + 1}{2}, 0, 1\right)",
        r"w \leftarrow \mathrm{clip}\left("
        r"w - \eta\,\frac{\partial \ell}{\partial \hat{w}}, -1, 1\right)",
    )
    color = "#7F4A00"
    dash = "dotted"
    marker = "x"

    learning_rate_scale = learning_rate_parameter("glorot")

    def quantize(self, w, second_moment=None, generator=None):
        """+1 with probability clip((w + 1) / 2, 0, 1), else -1; w itself without a generator."""
        if generator is None:
            return Quantized(w)
        draws = torch.rand(w.shape, generator=generator, dtype=w.dtype, device=w.device)
        # u in [0, 1) is below p with probability p; u < (w + 1) / 2 needs no clip.
        signs = -sign(2 * draws - 1 - w)
        return Quantized(signs, signs, w.new_ones((1,) * w.ndim))

    def weight(self, layer):
        """Random signs of the layer's own generator.

        Raises:
            ValueError: the layer has no generator.
        """
        if layer.generator is None:
            raise ValueError(
                f"{self.key} draws its signs from layer.generator, which is None; "
                "set it to a torch.Generator"
            )
        return super().weight(layer)
