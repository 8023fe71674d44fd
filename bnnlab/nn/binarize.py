"""Binarizing a network that somebody else built."""

from collections.abc import Iterator

import torch
from torch import nn

from bnnlab import schemes
from bnnlab.nn.linear import Activation, BinarizedLinear
from bnnlab.nn.networks import ends_binarized
from bnnlab.schemes.full_precision import FullPrecision

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
_TRANSPARENT = (nn.Dropout, nn.Identity, nn.Flatten)


def binarize(
    module: nn.Module,
    scheme: str | schemes.Scheme,
    *,
    first_and_last: str = "paper",
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Swap the `nn.Linear` layers of a network for binarized ones, in place.

    The parameters stay the same objects and become the latent weights. Where the scheme binarizes
    activations too, the activation module that feeds a binarized layer (in the same
    `nn.Sequential`) is swapped for the scheme's. After every optimizer step call
    `bnnlab.nn.after_step(module, optimizer)`: it clips the latent weights, and gives loss-aware
    schemes the optimizer's second moment.

    Args:
        module: the network; its first and last `nn.Linear` are taken in the order of registration.
        scheme: a scheme or its name.
        first_and_last: "paper" (as the scheme's paper has it), "binarized" or "float".
        generator: where stochastic schemes draw from; a new one with seed 0 by default.

    Returns:
        The module, or the new layer if the module was a single `nn.Linear`.

    Raises:
        ValueError: there is no `nn.Linear`; there are convolutional, recurrent or attention layers,
            which are not supported yet; or binary activations have no place to go. Nothing has been
            changed then.
    """
    if isinstance(scheme, str):
        scheme = schemes.get(scheme)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    for name, child in module.named_modules():
        if isinstance(child, _UNSUPPORTED):
            raise ValueError(
                f"{name or 'the module'} is a {type(child).__name__}; only nn.Linear layers can be "
                "binarized yet"
            )
    names = [name for name, child in module.named_modules() if type(child) is nn.Linear]
    if not names:
        raise ValueError(f"{type(module).__name__} holds no nn.Linear layer to binarize")
    ends = ends_binarized(scheme, first_and_last)
    inner = {name for name in names if ends or name not in (names[0], names[-1])}

    fed = {}
    if scheme.activation_estimator is not None:
        fed = {name: _feeding(module, name, scheme) for name in names[1:] if name in inner}
    replaced: dict[int, BinarizedLinear] = {}
    for name in names:
        linear = module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        layer = BinarizedLinear(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            scheme if name in inner else FullPrecision(),
            input_step=scheme.activation_step if name in fed else None,
            generator=generator,
        )
        assert isinstance(linear.weight, nn.Parameter)
        layer.weight, layer.bias = linear.weight, linear.bias
        layer.scheme.attach(layer)
        replaced[id(linear)] = layer.train(linear.training)
    for parent, slot in fed.values():
        setattr(parent, slot, Activation(scheme).train(parent.training))
    for parent, slot, child in list(_slots(module)):
        if id(child) in replaced:
            setattr(parent, slot, replaced[id(child)])
    return replaced.get(id(module), module)


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
