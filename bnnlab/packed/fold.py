"""From a trained network to packed layers: scaling, bias, batch norm and activation folded.

What stands between the sums of one layer and the bits of the next is a chain of monotone functions
of each neuron's own sum: times the scaling factor, plus a bias, batch norm, sign or k-bit rounding.
So a neuron is its thresholds. They are found by asking the network's own evaluation code, by binary
search over all sums there can be; whatever rounding that code does, the bits agree with it.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.networks.mlp import MLP
from bnnlab.packed import kernels
from bnnlab.packed.errors import NotPackable
from bnnlab.packed.layers import Affine, FloatProduct, Input, PackedLayer, SignProduct, Thresholds
from bnnlab.packed.packing import from_keys, keys, pack_flags

EXACT = 2**24  # integers up to here are exact in float32
_REAL_LIMIT = np.array(1e30, np.float32)  # real sums are searched between -1e30 and 1e30
_NEVER, _ALWAYS = np.int32(2**31 - 1), np.int32(-(2**31))

Chain = Callable[[Tensor], Tensor]


@torch.no_grad()
def fold(model: nn.Module) -> list[PackedLayer]:
    """The packed layers of a network, which stays as it is.

    Raises:
        NotPackable: a part of it cannot be run as packed bits.
        KernelsMissing: no compiled kernels.
    """
    kernels.require()
    if not isinstance(model, MLP):
        raise NotPackable(f"only bnnlab.nn.MLP can be packed so far, not {type(model).__name__}")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            raise NotPackable(
                f"{name} is {tensor.dtype} on {tensor.device}; float32 on the CPU can"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise NotPackable(f"{name} has values that are not finite")
    layers = []
    kind: Input = "real"  # what the layer's inputs are, and their largest integer
    largest = 1
    block: Any
    for name, block in model.named_children():
        linear: BinarizedLinear = block.layer
        product, sums_to_outputs = _product(name, linear, kind)
        norms = {torch.float32: deepcopy(block.norm).eval()}
        norms[torch.float64] = deepcopy(norms[torch.float32]).double()
        bound = linear.in_features * largest if kind != "real" else None
        if bound is not None and bound > EXACT:
            raise NotPackable(f"{name}: sums reach {bound}; float32 holds integers to {EXACT}")

        def before_activation(sums, scaled=sums_to_outputs, norms=norms):
            return norms[sums.dtype](scaled(sums))

        after, kind, largest = _after(name, block.activation, before_activation, linear, bound)
        layers.append(PackedLayer(name, linear.in_features, product, after))
    return layers


def _product(
    name: str, linear: BinarizedLinear, kind: Input
) -> tuple[SignProduct | FloatProduct, Chain]:
    """The layer's product, and the function from its sums to the linear layer's outputs."""
    values, signs, scale, *_ = linear.scheme.quantized(linear)
    if signs is not None and scale is not None:
        bits = kernels.pack_signs(signs.contiguous())
        return SignProduct(bits, linear.in_features, kind), lambda s: linear.scaled(s, scale)
    if linear.binarized:
        bits = linear.scheme.weight_bits
        why = (
            "is evaluated with its real weights, as its paper does"
            if bits == 1
            else f"has weights of {bits} bits; only 1-bit weights can be packed"
        )
        raise NotPackable(f"{name}: {linear.scheme.key} {why}")
    if kind != "real":
        raise NotPackable(f"{name}: real weights after a quantized activation are not supported")
    weights = np.ascontiguousarray(values.detach().numpy()).copy()
    bias = None if linear.bias is None else linear.bias.detach().numpy().copy()
    return FloatProduct(weights, bias), lambda s: s


def _after(
    name: str, activation: nn.Module, chain: Chain, linear: BinarizedLinear, bound: int | None
) -> tuple[Thresholds | Affine, Input, int]:
    """What follows the sums, what the next layer's inputs are, and their largest integer."""
    scheme = activation.scheme if isinstance(activation, Activation) else None
    if scheme is None or scheme.activation_estimator is None:
        return _affine(chain, linear.out_features, relu=scheme is not None), "real", 1
    codes = scheme.activation_codes
    if codes is None:
        raise NotPackable(
            f"{name}: {scheme.key} scales each sample's activations by a number of its own "
            "(input_scale); packed bits have no place for it"
        )
    top, signs = len(codes) - 1, codes == (-1, 1)
    if not signs and codes != tuple(range(2 ** top.bit_length())):
        raise NotPackable(f"{name}: activations take the values {codes}; -1, 1 or 0 .. 2^k - 1 can")
    step = scheme.activation_step

    def code(sums: Tensor) -> Tensor:
        values = activation(chain(sums))
        return (values > 0).int() if signs else torch.round(values / step).int()

    levels, flip = thresholds(code, top, linear.out_features, bound)
    after = Thresholds(levels, pack_flags(flip), signs)
    return after, "signs" if signs else "codes", 1 if signs else top


def _affine(chain: Chain, outputs: int, relu: bool) -> Affine:
    """The chain as scale and shift, in float64 from its own code and rounded once."""
    shift, shifted = chain(torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, outputs))
    scale = shifted - shift
    return Affine(_shared(scale), _shared(shift), relu)


def _shared(values: Tensor) -> np.ndarray:
    """float32, only the first where all are the same."""
    rounded = values.float().numpy()
    return rounded[:1].copy() if (rounded == rounded[0]).all() else rounded


def thresholds(
    code: Chain, top: int, outputs: int, bound: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The thresholds of neurons whose codes are monotone functions of their sums.

    Args:
        code: sums, float32 (n, outputs), to codes 0 .. top.
        top: the largest code.
        outputs: neurons.
        bound: sums are integers of at most this size; None where they are real, and thresholds then
            float keys.

    Returns:
        int32 (top, outputs) and bool (outputs,): where the second is False the code of a sum is the
        number of thresholds <= sum, where it is True `top` minus that.

    Raises:
        NotPackable: a code is not monotone.
    """
    limit = bound if bound is not None else int(keys(_REAL_LIMIT))

    def codes_at(points: np.ndarray) -> np.ndarray:
        values = from_keys(points.astype(np.int32)) if bound is None else points.astype(np.float32)
        return code(torch.from_numpy(values)).numpy()

    ends = codes_at(np.array([[-limit], [limit]]).repeat(outputs, 1))
    flip = ends[1] < ends[0]
    wanted = np.arange(1, top + 1)[:, None]  # the level that each threshold is the beginning of
    wanted = np.where(flip, top + 1 - wanted, wanted)

    def reached(points: np.ndarray) -> np.ndarray:
        return (codes_at(points) >= wanted) != flip

    # Invariant: not reached at `low`, reached at `high`, the ends counting as beyond the sums.
    low = np.full((top, outputs), -limit - 1, np.int64)
    high = np.full((top, outputs), limit + 1, np.int64)
    while (open_ := high - low > 1).any():
        middle = np.where(open_, (low + high) // 2, np.clip(high, -limit, limit))
        here = reached(middle)
        high = np.where(open_ & here, middle, high)
        low = np.where(open_ & ~here, middle, low)
    levels = high.astype(np.int32)
    levels[high > limit] = _NEVER
    levels[high <= -limit] = _ALWAYS

    samples = np.linspace(-limit, limit, 65).astype(np.int64)[:, None].repeat(outputs, 1)
    count = (samples[:, None] >= levels).sum(1)
    if (codes_at(samples) != np.where(flip, top - count, count)).any():
        raise NotPackable("an activation is not a monotone function of the layer's sums")
    return levels, flip
