"""How many multiplications a training step makes, and how many of them a scheme takes away."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks import binarized_layers
from bnnlab.nn.norm import ShiftBatchNorm
from bnnlab.nn.summary import ELSEWHERE
from bnnlab.nn.table import Table

if TYPE_CHECKING:
    import pandas

# Batch norm, of each number it normalizes: forward its square and two factors, backward two
# products with the normalized number and one factor. What there is once a channel is left out.
NORM = 6
# Products, quotients and square roots of each parameter in one update; and in that of the optimizer
# whose products were turned into shifts (AdaMax: two for m, one for v, two for the step).
OPTIMIZERS = {"adam": (9, 9), "sgd": (1, 1), "shift_adamax": (0, 5), "shift_adamax_code": (4, 5)}

# What a product with some numbers is, the cheapest first: an addition, a shift, a multiplication.
_BITS, _POWERS, _REAL = range(3)


@dataclass(frozen=True)
class Row:
    """The multiplications of one layer in one training step.

    Attributes:
        layer: name.
        forward: of weights with inputs.
        backward: of weights with the gradient of the outputs, for that of the inputs; none in the
            first layer.
        weight_gradient: of inputs with the gradient of the outputs.
        scale: by the scaling factor, of the sums and of their gradient on its way to the inputs.
        norm: in batch norm, forward and backward.
        optimizer: in the update of the parameters.
        remaining: all of these.
        shifts: products that became shifts, because one factor is a power of two.
        additions: products that became additions, because one factor is -1, 0 or 1.
        plain: multiplications of the same layer with real weights, inputs and gradients and no
            scaling factor, ordinary batch norm and an ordinary optimizer.
    """

    layer: str
    forward: int = 0
    backward: int = 0
    weight_gradient: int = 0
    scale: int = 0
    norm: int = 0
    optimizer: int = 0
    remaining: int = 0
    shifts: int = 0
    additions: int = 0
    plain: int = 0


_COUNTS = [field.name for field in fields(Row)][1:]


class Multiplications(Table):
    """The rows of a network's layers and their total; prints as a table.

    Attributes:
        rows: one for each layer, and one called "(elsewhere)" for what belongs to none.
        total: their sum.
        batch_size: samples in the step that is counted.
    """

    def __init__(self, rows: list[Row], batch_size: int):
        self.rows, self.batch_size = rows, batch_size
        self.total = Row("total", **{k: sum(getattr(row, k) for row in rows) for k in _COUNTS})

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a pandas DataFrame, the layer names as its index; without the total."""
        import pandas as pd

        rows = [asdict(row) for row in self.rows]
        return pd.DataFrame(rows, columns=["layer", *_COUNTS]).set_index("layer")

    def cells(self) -> list[list[str]]:
        """Header, rows, total."""
        head = ["layer", *(name.replace("_", " ") for name in _COUNTS)]
        rows = [
            [row.layer, *(f"{getattr(row, name):,}" for name in _COUNTS)]
            for row in [*self.rows, self.total]
        ]
        return [head, *rows]

    def footer(self) -> str:
        """How many remain of how many."""
        share = self.total.remaining / self.total.plain if self.total.plain else 1.0
        return (
            f"{share:.2%} of the multiplications of plain training remain in a step of "
            f"{self.batch_size:,} samples"
        )


def multiplications(
    model: nn.Module,
    batch_size: int = 100,
    optimizer: str = "adam",
    shape: tuple[int, ...] | None = None,
) -> Multiplications:
    """Count the multiplications of a training step, layer by layer, beside those of plain training.

    The scheme is asked what its training pass multiplies by: a product with -1, 0 or 1 is an
    addition, one with a power of two a shift, and every other remains, those of integers of several
    bits too. A scheme of several stages is counted in its last, and inputs that each sample scales
    for itself count as real. A symbol picks a column, without a product. Left out are the loss, the
    activations' derivatives and what makes weights of latent ones: none of them grows with weights
    times samples.

    Args:
        model: a network, or any module that holds binarized layers.
        batch_size: samples (of a text: symbols) in a step.
        optimizer: an optimizer of `bnnlab.optim`; quotients and square roots count too.
        shape: what a sample is, without the batch, where the module does not say it itself: by
            default as many numbers as its first layer takes.

    Raises:
        ValueError: there is no such optimizer, or the first layer is a convolution and nothing says
            how large the images are.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"no optimizer is called {optimizer!r}; there are {', '.join(OPTIMIZERS)}")
    own, ordinary = OPTIMIZERS[optimizer]
    layers = binarized_layers(model)
    used, normed = _way_of_a_sample(model, layers, shape)
    rows = {name: dict.fromkeys(_COUNTS, 0) for name in [*layers, ELSEWHERE]}
    for i, (name, layer) in enumerate(layers.items()):
        _count_products(rows[name], layer, used[name], batch_size, first=i == 0)
    for name, numbers in normed.items():
        row, count = rows[_owner(name, layers)], NORM * numbers * batch_size
        row["norm"] += 0 if isinstance(model.get_submodule(name), ShiftBatchNorm) else count
        row["plain"] += count
    for name, parameter in model.named_parameters():
        row = rows[_owner(name, layers)]
        row["optimizer"] += own * parameter.numel()
        row["plain"] += ordinary * parameter.numel()
    for row in rows.values():
        row["remaining"] = sum(row[name] for name in _COUNTS[: _COUNTS.index("remaining")])
    if not any(rows[ELSEWHERE].values()):
        del rows[ELSEWHERE]
    return Multiplications([Row(name, **row) for name, row in rows.items()], batch_size)


def _count_products(
    row: dict[str, int], layer: BinarizedLayer, use: "_Use", batch_size: int, first: bool
) -> None:
    """Count a layer's products into its row."""
    scheme = layer.scheme
    w = layer.weight.detach()
    quantized = scheme.quantize(w, layer.second_moment, torch.Generator().manual_seed(0))
    weights = inputs = _REAL
    if quantized.integers is not None:
        weights = _kind(quantized.integers)
    if layer.input_step is not None:
        codes = scheme.activation_codes if layer.fed == "activation" else scheme.input_codes
        inputs = _kind(torch.tensor(codes))
    kinds = {
        "forward": min(weights, inputs),
        "weight_gradient": min(inputs, _POWERS if scheme.quantizes_inputs else _REAL),
    }
    if not first:
        kinds["backward"] = weights
    products = 0 if use.symbols else w.numel() * use.places * batch_size
    for name, kind in kinds.items():
        row[{_BITS: "additions", _POWERS: "shifts", _REAL: name}[kind]] += products
    row["plain"] += len(kinds) * products
    if quantized.scale is not None and _kind(quantized.scale) == _REAL:
        times = 1 if first else 2
        row["scale"] += times * layer.out_features * use.places * batch_size


def _kind(numbers: Tensor) -> int:
    """What products with these numbers are."""
    sizes = numbers.double().abs().unique()
    if bool(((sizes == 0) | (sizes == 1)).all()):
        return _BITS
    mantissas = torch.frexp(sizes).mantissa
    return _POWERS if bool(((mantissas == 0) | (mantissas == 0.5)).all()) else _REAL


def _owner(name: str, layers: dict[str, Any]) -> str:
    """The innermost layer that a parameter or a module belongs to."""
    inside = [layer for layer in layers if f"{name}.".startswith(f"{layer}.")]
    return max(inside, key=len, default=ELSEWHERE)


@dataclass
class _Use:
    """How one sample uses a layer: at how many places, and whether as a symbol."""

    places: int = 0
    symbols: bool = False


@torch.no_grad()
def _way_of_a_sample(
    model: nn.Module, layers: dict[str, BinarizedLayer], shape: tuple[int, ...] | None
) -> tuple[dict[str, _Use], dict[str, int]]:
    """How a sample uses each layer, and how many numbers of it each batch norm normalizes."""
    used = {name: _Use() for name in layers}
    normed: dict[str, int] = {}
    if not layers:
        return used, normed
    if "text" in getattr(model, "takes", ()):
        sample = torch.zeros(1, 1, dtype=torch.int64)
    else:
        sample = torch.zeros(1, *_shape(model, next(iter(layers.values())), shape))
    hooks = [
        module.register_forward_hook(_norm_counter(normed, name))
        for name, module in model.named_modules()
        if isinstance(module, (nn.modules.batchnorm._BatchNorm, ShiftBatchNorm))
    ]
    with _evaluating(model):
        try:
            for name, layer in layers.items():
                layer.product = _product_counter(layer, used[name])
            model(sample)
        finally:
            for hook in hooks:
                hook.remove()
            for layer in layers.values():
                vars(layer).pop("product", None)
    return used, normed


def _shape(
    model: nn.Module, first: BinarizedLayer, shape: tuple[int, ...] | None
) -> tuple[int, ...]:
    shape = getattr(model, "shape", None) if shape is None else shape
    if shape is None and first.weight.ndim == 2:
        shape = (first.in_features,)
    if shape is None:
        raise ValueError(
            "how much a convolution computes depends on the size of the images; say shape="
            "(channels, height, width)"
        )
    return shape


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _norm_counter(normed: dict[str, int], name: str):
    def count(module, given, out):
        normed[name] = normed.get(name, 0) + out.numel()

    return count


def _product_counter(layer: BinarizedLayer, use: _Use):
    product = layer.product

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        y = product(x, weight, bias)
        if weight.shape == layer.weight.shape:  # some schemes also average their inputs by it
            use.places += y.numel() // layer.out_features
            use.symbols = not x.is_floating_point()
        return y

    return counted
