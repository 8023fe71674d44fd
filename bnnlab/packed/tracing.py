"""From a network to its parts: layers, each with what stands between it and the next.

The networks of bnnlab.nn say it themselves. Of any other module, `torch.fx` finds the order of what
its `forward` does, which must be one thing after another:

    layer, then in this order any of: pooling, batch norm, activation, pooling; and again

with dropout anywhere and a flattening between images and features. A layer is a `BinarizedLinear`
or `BinarizedConv2d` (what `bnnlab.binarize` puts in the place of PyTorch's), batch norm is
`nn.BatchNorm1d`, `nn.BatchNorm2d` or bnnlab's, pooling is `nn.MaxPool2d` without overlap, an
activation is the scheme's, ReLU or hard tanh. Functions (`F.relu`, `F.max_pool2d`, `torch.flatten`,
`x.view`) count as well.

What is not packable, and why: branches and sums of several values (residual connections), because
between packed layers runs one image of bits; batch norm after an activation, because its bits then
would not be those of a sign; average pooling and other activations, because the kernels have none;
LSTMs that take real inputs, because theirs take symbols; a softmax at the end, because scores are
compared and it keeps their order.
"""

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import fx, nn

from bnnlab.nn.activation import Activation
from bnnlab.nn.conv import BinarizedConv2d
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.linear import BinarizedLinear
from bnnlab.nn.lstm import BinarizedLSTM
from bnnlab.nn.networks.feedforward import Feedforward
from bnnlab.nn.norm import ShiftBatchNorm
from bnnlab.packed.errors import NotPackable
from bnnlab.packed.window import Pair
from bnnlab.schemes.base import Scheme
from bnnlab.schemes.full_precision import FullPrecision

MAX_NAME = 64  # characters of a layer's name in a file

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, ShiftBatchNorm)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)
_POINTWISE = (nn.ReLU, nn.Hardtanh)
_RELU = (torch.relu, F.relu, "relu", "relu_")
_RANGE = {"min_val": -1.0, "max_val": 1.0}  # of hard tanh
_DROPOUT = (F.dropout, F.dropout1d, F.dropout2d)
_SIZES = ("size", "shape", getattr, operator.getitem)


class Part(NamedTuple):
    """A layer, and what stands between it and the next.

    Attributes:
        name: of the layer, as a file has it.
        layer: the layer.
        norm: the batch norm, or an identity.
        activation: an `Activation`, or an identity after the last layer.
        pool: of how many pixels, down and across, the largest is kept; None for no pooling.
        pool_last: whether pooling comes after the activation.
        swapped: whether pooling stands between batch norm and activation; then `pool_last` is True,
            which is the same where the activation is monotone.
    """

    name: str
    layer: BinarizedLayer
    norm: nn.Module
    activation: nn.Module
    pool: Pair | None
    pool_last: bool
    swapped: bool = False


def parts_of(model: nn.Module, shape: tuple[int, ...] | None) -> tuple[list[Part], tuple[int, ...]]:
    """The parts of a network in evaluation mode, and the shape of its samples.

    Args:
        model: the network.
        shape: what a sample is, where the network does not say it.

    Raises:
        NotPackable: it is no such sequence of parts; names what is not.
        ValueError: a convolution stands first and `shape` is None, or it does not fit.
    """
    if isinstance(model, Feedforward):
        blocks: Any = model.named_children()
        return [
            Part(name, block.layer, block.norm, block.activation,
                 pooled(name, block.pool), block.pool_last)
            for name, block in blocks
        ], tuple(model.shape)  # fmt: skip
    found = list(_things(model))
    layers = [i for i, thing in enumerate(found) if thing.kind == "layer"]
    if not layers:
        raise NotPackable(
            f"{type(model).__name__} has no layer that carries a scheme; bnnlab.binarize swaps its "
            "layers for such"
        )
    early = [thing for thing in found[: layers[0]] if thing.kind != "flatten"]
    if early:
        raise NotPackable(f"{early[0]} stands before the first layer")
    shape = _shape(found[layers[0]].it, shape)
    place = shape if len(shape) == 3 else (shape[0], 1, 1)
    if found[0].kind == "flatten":
        place = (place[0] * place[1] * place[2], 1, 1)
    parts, names = [], set()
    for begin, end in zip(layers, [*layers[1:], len(found)], strict=True):
        last = end == len(found)
        part, place = _part(found[begin:end], place, last, parts[-1] if parts else None)
        name = part.name[-MAX_NAME:]
        while name in names:
            name = f"{name[-MAX_NAME + 1 :]}_"
        names.add(name)
        parts.append(part._replace(name=name))
    return parts, shape


def pooled(name: str, pool: Any) -> Pair | None:
    """The size of pooling without overlap; None for an identity.

    Raises:
        NotPackable: it is another kind of pooling.
    """
    if isinstance(pool, nn.Identity):
        return None
    size, stride, padding, dilation = (
        _pair(getattr(pool, key)) for key in ("kernel_size", "stride", "padding", "dilation")
    )
    plain = (padding, dilation) == ((0, 0), (1, 1)) and not pool.return_indices
    if not plain or stride != size or pool.ceil_mode:
        raise NotPackable(f"{name}: only pixels that do not overlap can be pooled, not {pool}")
    return size


def _pair(given: Any) -> Pair:
    return (given, given) if isinstance(given, int) else (given[0], given[1])


class _Thing(NamedTuple):
    """A step of `forward`: its kind ("layer", "norm", "activation", "pool", "flatten"), where it
    stands, and the module.
    """

    kind: str
    name: str
    it: Any

    def __str__(self) -> str:
        return f"{self.name} ({type(self.it).__name__})" if self.it is not None else self.name


class _Tracer(fx.Tracer):
    """Looks into modules as far as they are not bnnlab's own, or PyTorch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        own = (BinarizedLayer, BinarizedLSTM, Activation, ShiftBatchNorm)
        return isinstance(m, own) or super().is_leaf_module(m, module_qualified_name)


def _things(model: nn.Module) -> Iterator[_Thing]:
    """The steps of a network's `forward`, in order."""
    root = nn.Sequential(model)
    try:
        graph = _Tracer().trace(root)
    except Exception as error:  # whatever a forward does with what it does not expect
        raise NotPackable(
            f"{type(model).__name__}: the order of its layers cannot be followed ({error})"
        ) from error
    value: Any = None
    for node in graph.nodes:
        if node.op == "placeholder":
            if value is not None:
                raise NotPackable(f"{type(model).__name__} takes several inputs; it must take one")
            value = node
        elif node.op == "output":
            if node.args[0] is not value:
                raise NotPackable(f"{type(model).__name__} gives more than its scores")
        elif node.op != "get_attr" and node.target in _SIZES and not _is_value(node):
            continue
        else:
            name = _name(node)
            inputs = [given for given in node.all_input_nodes if _is_value(given)]
            if inputs != [value]:
                raise NotPackable(
                    f"{name} takes {len(inputs)} values; what is packed goes from layer to layer, "
                    "without branches"
                )
            value = node
            thing = _thing(node, name, root)
            if thing is not None:
                yield thing


def _is_value(node: fx.Node) -> bool:
    """Whether a step gives what runs between layers; sizes do not."""
    if node.op in ("call_function", "call_method") and node.target in _SIZES:
        return node.target is operator.getitem and _is_value(node.all_input_nodes[0])
    return True


def _name(node: fx.Node) -> str:
    target = node.target if isinstance(node.target, str) else node.name
    return target.removeprefix("0.") if node.op == "call_module" else target


def _thing(node: fx.Node, name: str, root: nn.Module) -> _Thing | None:
    """A step as what it is; None where it does nothing in evaluation."""
    arguments, options = node.args[1:], dict(node.kwargs)
    if node.op == "call_module":
        return _module(name, root.get_submodule(str(node.target)))
    if node.target in _RELU:
        return _Thing("activation", name, nn.ReLU())
    if node.target is F.hardtanh and not arguments and set(options) <= {"inplace", *_RANGE}:
        if all(options.get(key, end) == end for key, end in _RANGE.items()):
            return _Thing("activation", name, nn.Hardtanh())
    if node.target in (F.max_pool2d, torch.max_pool2d):
        return _Thing("pool", name, nn.MaxPool2d(*arguments, **options))  # pyright: ignore
    if node.target in (torch.flatten, "flatten"):
        begin = options.get("start_dim", arguments[0] if arguments else 0)
        if begin == 1 and options.get("end_dim", [*arguments, -1, -1][1]) == -1:
            return _Thing("flatten", name, None)
    if node.target in ("view", "reshape") and len(arguments) == 2 and arguments[1] == -1:
        return _Thing("flatten", name, None)
    if node.target in _DROPOUT and options.get("training") is False:
        return None
    raise NotPackable(f"{name} is a {node.target}, which is not packed (see bnnlab.packed.tracing)")


def _module(name: str, module: nn.Module) -> _Thing | None:
    kind = None
    if isinstance(module, BinarizedLinear | BinarizedConv2d):
        kind = "layer"
    elif isinstance(module, _NORMS):
        kind = "norm"
        if getattr(module, "running_mean", ...) is None:
            raise NotPackable(f"{name}: batch norm without running statistics depends on the batch")
    elif isinstance(module, Activation | nn.ReLU) or _is_hard_tanh(module):
        kind = "activation"
    elif isinstance(module, nn.MaxPool2d):
        kind = "pool"
    elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        kind = "flatten"
    elif isinstance(module, _NOTHING):
        return None
    if kind is not None:
        return _Thing(kind, name, module)
    why = "the kernels have no such step"
    if isinstance(module, nn.Linear | nn.Conv2d):
        why = "it carries no scheme (bnnlab.binarize puts one there)"
    elif isinstance(module, BinarizedLSTM):
        why = "what the kernels run is the LSTM of bnnlab.nn, which takes symbols"
    elif isinstance(module, nn.Softmax | nn.LogSoftmax):
        why = "leave it out: predictions are the same without"
    raise NotPackable(f"{name} is a {type(module).__name__}; {why}")


def _is_hard_tanh(module: nn.Module) -> bool:
    """Whether it is the one between -1 and 1; `nn.ReLU6` is a subclass."""
    return type(module) is nn.Hardtanh and (module.min_val, module.max_val) == (-1, 1)


def _shape(layer: BinarizedLayer, shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """What a sample is, checked against the first layer."""
    conv = isinstance(layer, BinarizedConv2d)
    if shape is None:
        if conv:
            raise ValueError(
                "a convolution stands first, so the shape of a sample must be said: "
                f"pack(model, shape=({layer.weight.shape[1]}, height, width))"
            )
        return (layer.in_features,)
    if len(shape) not in (1, 3) or (conv and len(shape) != 3) or min(shape) < 1:
        raise ValueError(
            f"shape is {shape}; it must be (channels, height, width)" + " or (inputs,)" * (not conv)
        )
    return tuple(shape)


def _part(
    things: list[_Thing], place: tuple[int, ...], last: bool, before: Part | None
) -> tuple[Part, tuple[int, ...]]:
    """A layer with what follows it, and what it gives: (channels, height, width)."""
    name, layer = things[0].name, things[0].it
    _check_input(name, layer, place, before)
    if isinstance(layer, BinarizedConv2d):
        sizes = zip(place[1:], layer.kernel_size, layer.stride, layer.padding, strict=True)
        high, wide = ((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)
    else:
        high = wide = 1
    channels = layer.out_features
    seen: list[str] = []
    found: dict[str, _Thing] = {}
    for thing in things[1:]:
        kind = thing.kind
        if kind == "flatten":
            seen.append(kind)
            continue
        if kind in found:
            raise NotPackable(f"{thing} follows {found[kind]} without a layer between them")
        if kind == "norm" and "activation" in seen:
            raise NotPackable(f"{thing} stands after the activation {found['activation']}")
        flat = "flatten" in seen and (high, wide) != (1, 1)
        if flat and not (kind == "activation" and isinstance(thing.it, _POINTWISE)):
            raise NotPackable(f"{thing} stands behind a flattened image; put it before")
        found[kind] = thing
        seen.append(kind)
    size = pooled(str(found["pool"]), found["pool"].it) if "pool" in found else None
    if size is not None:
        high, wide = high // size[0], wide // size[1]
    if high < 1 or wide < 1:
        raise NotPackable(f"{name}: the image is too small for it, or for the pooling after it")
    activation = found["activation"].it if "activation" in found else nn.Identity()
    if isinstance(activation, nn.ReLU):
        activation = Activation(FullPrecision(), channels)
    if last and "activation" in found:
        raise NotPackable(f"{found['activation']} stands after the last layer, {name}")
    if last and isinstance(layer, BinarizedConv2d):
        raise NotPackable(f"{name} is the last layer and a convolution; scores come of a dense one")
    if not last and "activation" not in found:
        raise NotPackable(f"no activation follows {name}: it and the next layer would be one")
    order = [kind for kind in seen if kind != "flatten"]
    pool_last = "pool" in order and order.index("pool") > 0
    swapped = pool_last and order[-1] == "activation"
    norm = found["norm"].it if "norm" in found else nn.Identity()
    part = Part(name.replace(".", "_"), layer, norm, activation, size, pool_last, swapped)
    if "flatten" in seen:
        return part, (channels * high * wide, 1, 1)
    return part, (channels, high, wide)


def _check_input(
    name: str, layer: BinarizedLayer, place: tuple[int, ...], before: Part | None
) -> None:
    """Whether a layer fits what comes before it."""
    conv = isinstance(layer, BinarizedConv2d)
    given, wanted = place[0], layer.weight.shape[1]
    if not conv and place[1:] != (1, 1):
        raise NotPackable(f"{name} takes features, and is given an image; flatten it before")
    if given != wanted:
        raise NotPackable(
            f"{name} takes {wanted} {'channels' if conv else 'features'}, not {given}"
        )
    if before is None:
        return
    own = isinstance(before.activation, Activation) and before.activation.scheme
    if layer.fed == "activation" and (not own or own.key != layer.scheme.key):
        raise NotPackable(f"{name} is not fed by the activation of its scheme, {layer.scheme.key}")
    if layer.fed == "input" and type(layer.scheme).input is not Scheme.input:
        raise NotPackable(f"{name} takes the input of the network, but stands after {before.name}")
