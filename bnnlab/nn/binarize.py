"""Binarizing a network that somebody else built."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from bnnlab import schemes
from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.lstm import BinarizedLSTM
from bnnlab.nn.networks import ends_binarized
from bnnlab.schemes.full_precision import FullPrecision

_SUPPORTED = (nn.Linear, nn.Conv2d, nn.LSTM)
_UNSUPPORTED = (
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Bilinear,
)
_ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Sigmoid,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Tanh,
    nn.Hardtanh,
    nn.Softsign,
)
# What may stand between an activation and the layer it feeds without changing its few values.
_TRANSPARENT = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten, nn.MaxPool2d)


def binarize(
    module: nn.Module,
    scheme: str | schemes.Scheme,
    *,
    first_and_last: str = "paper",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Swap the `nn.Linear`, `nn.Conv2d` and `nn.LSTM` of a network for binarized ones, in place.

    The weights stay the same objects and become the latent weights; so do biases, but for an LSTM,
    whose two are added to one. Where the scheme binarizes activations too, the activation module
    that feeds a binarized layer (in the same `nn.Sequential`) is swapped for the scheme's; an LSTM
    takes it for its cells. After every optimizer step call `bnnlab.nn.after_step(module,
    optimizer)`: it clips the latent weights, and gives loss-aware schemes the optimizer's second
    moment. Schemes that change with training also need `bnnlab.nn.anneal(module, progress)` before
    every step.

    Args:
        module: the network; its first and last layer are taken in the order of registration.
        scheme: a scheme or its name.
        first_and_last: "paper" (as the scheme's paper has it), "binarized" or "float".
        generator: where stochastic schemes draw from; a new one with seed 0 by default.

    Returns:
        The module, or the new layer if the module was a single layer.

    Raises:
        ValueError: there is nothing to binarize; there is a layer that cannot be (grouped, dilated
            or transposed convolutions, LSTMs of several layers or directions, other recurrent
            layers, attention); or binary activations have no place to go. Nothing has been changed
            then.
    """
    if isinstance(scheme, str):
        scheme = schemes.get(scheme)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    names = []
    for name, child in module.named_modules():
        if type(child) in _SUPPORTED:
            _refuse_unsupported_options(name, child)
            names.append(name)
        elif isinstance(child, _UNSUPPORTED):
            raise ValueError(
                f"{name or 'the module'} is a {type(child).__name__}; only nn.Linear, nn.Conv2d "
                "and nn.LSTM can be binarized"
            )
    if not names:
        raise ValueError(
            f"{type(module).__name__} holds no nn.Linear, nn.Conv2d or nn.LSTM to binarize"
        )
    ends = ends_binarized(scheme, first_and_last)
    inner = {name for name in names if ends or name not in (names[0], names[-1])}

    fed = {}
    if scheme.activation_estimator is not None:
        fed = {
            name: _feeding(module, name, scheme)
            for name in names[1:]
            if name in inner and not isinstance(module.get_submodule(name), nn.LSTM)
        }
    replaced: dict[int, nn.Module] = {}
    for i, name in enumerate(names):
        old: Any = module.get_submodule(name)
        chosen = scheme if name in inner else FullPrecision()
        source = "activation" if name in fed else "input" if i == 0 else None
        replaced[id(old)] = _replacement(old, chosen, source, generator).train(old.training)
    for name, (parent, slot) in fed.items():
        layer: Any = module.get_submodule(name)
        channels = _channels(parent, slot) or layer.weight.shape[1]
        activation = Activation(scheme, channels, generator).train(parent.training)
        setattr(parent, slot, activation)
    for parent, slot, child in list(_slots(module)):
        if id(child) in replaced:
            setattr(parent, slot, replaced[id(child)])
    return replaced.get(id(module), module)


def _refuse_unsupported_options(name: str, layer: Any) -> None:
    why = None
    if isinstance(layer, nn.Conv2d):
        if layer.groups != 1 or set(layer.dilation) != {1}:
            why = "grouped and dilated convolutions cannot be binarized yet"
        elif layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            why = "convolutions are padded with a given number of zeros"
    if isinstance(layer, nn.LSTM) and (
        layer.num_layers != 1 or layer.bidirectional or layer.proj_size or not layer.bias
    ):
        why = "an LSTM can be binarized if it has one layer, one direction, biases, no projection"
    if why is not None:
        raise ValueError(f"{name or 'the module'} is {layer}; {why}")


def _replacement(
    old: Any, scheme: schemes.Scheme, fed: str | None, generator: torch.Generator
) -> nn.Module:
    """The binarized layer in the place of one of torch's, with its parameters."""
    layer: BinarizedLayer
    kind = type(old)  # looked at apart: what torch says of its parameters' types is too vague
    if kind is nn.LSTM:
        lstm = BinarizedLSTM(
            old.input_size,
            old.hidden_size,
            scheme,
            batch_first=old.batch_first,
            generator=generator,
        )
        _take(lstm.input, old.weight_ih_l0)
        _take(lstm.recurrent, old.weight_hh_l0)
        lstm.bias = nn.Parameter((old.bias_ih_l0 + old.bias_hh_l0).detach())
        return lstm
    bias = old.bias is not None
    if kind is nn.Conv2d:
        layer = BinarizedConv2d(
            old.in_channels,
            old.out_channels,
            old.kernel_size,
            bias,
            scheme,
            stride=old.stride,
            padding=old.padding,
            fed=fed,
            generator=generator,
        )
    else:
        layer = BinarizedLinear(
            old.in_features, old.out_features, bias, scheme, fed=fed, generator=generator
        )
    layer.bias = old.bias
    _take(layer, old.weight)
    return layer


def _take(layer: BinarizedLayer, weight: nn.Parameter) -> None:
    """Make these a layer's latent weights, and its buffers fit them."""
    layer.weight = weight
    layer.scheme.attach(layer)


def _channels(parent: nn.Module, slot: str) -> int | None:
    """How many channels reach an activation: what the layer or norm before it gives."""
    before = list(parent.named_children())
    before = before[: [key for key, _ in before].index(slot)]
    for _, child in reversed(before):
        for name in ("num_features", "out_features", "out_channels"):
            if isinstance(getattr(child, name, None), int):
                return getattr(child, name)
    return None


def _slots(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every place a child hangs at: a layer used twice hangs at two."""
    for parent in module.modules():
        for slot, child in parent._modules.items():
            if child is not None:
                yield parent, slot, child


def _feeding(module: nn.Module, name: str, scheme: schemes.Scheme) -> tuple[nn.Module, str]:
    """The place of the activation that feeds a layer."""
    path, _, slot = name.rpartition(".")
    parent = module.get_submodule(path)
    if isinstance(parent, nn.Sequential):
        before = list(parent.named_children())
        before = before[: [key for key, _ in before].index(slot)]
        for key, child in reversed(before):
            if isinstance(child, _ACTIVATIONS):
                return parent, key
            if not isinstance(child, _TRANSPARENT):
                break
    weights_only = [
        key for key, kind in schemes.kinds().items() if kind().activation_estimator is None
    ]
    raise ValueError(
        f"{scheme.key} binarizes what feeds layer {name!r}, but no activation module stands before "
        f"it in the same nn.Sequential; put one there, or take a scheme with real activations "
        f"({', '.join(weights_only)})"
    )
