"""BinaryConnect: binary weights in the passes, real ones in the update (NIPS 2015)."""

import hashlib
from typing import Any

import param
import torch
from torch import Tensor

from bnnlab.schemes.base import Quantized, Scheme, glorot_factor, learning_rate_parameter
from bnnlab.schemes.estimators import generator_of, identity, sign, stochastic_sign


class SignWeights(Scheme):
    """Weights that are the signs of latent ones in [-1, 1]: what BinaryConnect and BNN share."""

    weight_bits = 1
    clip = 1.0
    weight_estimator = identity

    learning_rate_scale = learning_rate_parameter("none")

    def quantize(self, w, second_moment=None, generator=None):
        """sign(w), with the scale 1."""
        return signed(sign(w))

    def learning_rate_factor(self, layer):
        """1, or 1 / sqrt(1.5 / (inputs + outputs)) or its square on request."""
        power = ("none", "glorot", "glorot_squared").index(self.learning_rate_scale)
        return glorot_factor(layer) ** power


def signed(signs: Tensor) -> Quantized:
    """Binary weights with the scale 1."""
    return Quantized(signs, signs, signs.new_ones((1,) * signs.ndim))


def evaluation_parameter(default: str) -> Any:
    """The hyper-parameter that says which weights the network is tested with."""
    return param.Selector(
        default=default,
        objects=["binary", "real", "ensemble"],
        constant=True,
        doc="The three ways the paper names of testing the network: with the signs, with the real "
        "weights, or averaging the scores of sampled binary networks.",
    )


class BinaryConnect(SignWeights):
    r"""BinaryConnect with deterministic signs.

    Forward: $\hat w = \mathrm{sign}(w)$ (eq. 1).
    Backward: the gradient with respect to $\hat w$ is applied to the latent w unchanged.
    Update (algorithm 1):
    $w \leftarrow \mathrm{clip}(w - \eta\,\partial\ell/\partial\hat w, -1, 1)$, clipped after the
    step; biases and batch norm are never clipped.

    Activations are real (ReLU). First and last layers are binarized too.

    The test, `evaluation` (section 2.6), is with the signs ("binary", the default here), with the
    real weights ("real"), or with `ensemble` networks whose signs are drawn as in the stochastic
    variant ("ensemble"): their scores are averaged by `bnnlab.nn.networks.scores`. A layer that is
    asked outside of that, as when a network is packed, answers with the mean of what it would draw,
    the real weights. Signs drawn of weights that are still small are almost coin flips, and batch
    norm's statistics are those of the training's signs: after a short deterministic training
    neither the real weights nor an ensemble need be better than chance, unless larger steps bring
    the weights to the walls (`learning_rate_scale="glorot"`).

    Faithfulness: the authors' code starts from weights uniform in [-1, 1] and scales the step size
    by the Glorot coefficient of the layer; here all schemes start from the same Glorot-uniform
    weights with the same step size, so that lanes can be compared, and
    `learning_rate_scale="glorot"` brings the authors' scaling back. Scaling the step size equals
    their scaling of the finished step for Adam, whose step is proportional to it. The paper scales
    by the square of the coefficient for plain gradient descent, which "glorot_squared" does. The
    paper only mentions the ensemble, without a number of networks; the members here are the same
    whenever the same weights are evaluated, and draw from no generator of the training.
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

    evaluation = evaluation_parameter("binary")
    ensemble = param.Integer(
        default=8,
        bounds=(2, 64),
        constant=True,
        doc='How many sampled networks evaluation="ensemble" averages.',
    )

    @property
    def members(self):
        """Sampled networks at evaluation, 1 where nothing is sampled."""
        return self.ensemble if self.evaluation == "ensemble" else 1

    def drawn(self, w: Tensor, generator: torch.Generator | None) -> Tensor:
        """The signs of a training pass."""
        return sign(w)

    def quantize(self, w, second_moment=None, generator=None):
        """The signs of training with a generator, what `evaluation` says without."""
        if generator is not None:
            return signed(self.drawn(w, generator))
        return signed(sign(w)) if self.evaluation == "binary" else Quantized(w)

    def quantized(self, layer):
        """The weights of the test; of the ensemble, those of the layer's `member`."""
        w = layer.weight.detach()
        if self.evaluation == "ensemble" and layer.member is not None:
            return signed(stochastic_sign(w, _member_generator(layer.member, w)))
        return self.quantize(w)

    def weight(self, layer):
        """The signs of the training pass, whatever the test takes."""
        w = layer.weight
        return self.weight_estimator.through(w, self.drawn(w.detach(), layer.generator))


def _member_generator(member: int, w: Tensor) -> torch.Generator:
    """What a member of the ensemble draws a layer's signs from.

    Its seed is made of the weights, so that layers of the same shape do not draw alike.
    """
    digest = hashlib.blake2b(w.cpu().numpy().tobytes(), digest_size=7, salt=b"member")
    digest.update(member.to_bytes(8, "little"))
    return torch.Generator(w.device).manual_seed(int.from_bytes(digest.digest(), "little"))


class BinaryConnectStochastic(BinaryConnect):
    r"""BinaryConnect with random signs.

    Forward, in training: $\hat w = +1$ with probability
    $\sigma(w) = \mathrm{clip}((w + 1)/2, 0, 1)$, else -1 (eqs. 2, 3), so that
    $\mathrm{E}[\hat w] = w$ for $|w| \leq 1$. Backward and update as in BinaryConnect.

    By default the test is with the real w (the second of the three ways the paper names), so the
    trained network is *not* binary and packs no smaller; with `evaluation="binary"` it does.

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
    evaluation = evaluation_parameter("real")

    def drawn(self, w, generator):
        """+1 with probability clip((w + 1) / 2, 0, 1), else -1."""
        return stochastic_sign(w, generator)

    def weight(self, layer):
        """Random signs of the layer's own generator.

        Raises:
            ValueError: the layer has no generator.
        """
        generator_of(layer, self.key)
        return super().weight(layer)
