"""What a network holds and computes, layer by layer, in bits, bytes and multiply-accumulates."""

from dataclasses import asdict, dataclass, fields
from html import escape
from typing import TYPE_CHECKING

from torch import nn

from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.networks import binarized_layers

if TYPE_CHECKING:
    import pandas

WORD = 32
ELSEWHERE = "(elsewhere)"


@dataclass(frozen=True)
class Row:
    """One layer with what belongs to it: its scaling factors, bias and batch norm.

    Attributes:
        layer: name.
        inputs: features in.
        outputs: features out.
        weight_bits: bits of a weight, as deployed.
        input_bits: bits of an input.
        weights_1bit: number of 1-bit weights.
        weights_kbit: number of weights of 2 to 8 bits.
        weights_32bit: number of real weights.
        other_32bit: biases, scaling factors, batch norm's four numbers a neuron.
        bytes: what all of these take: each row of quantized weights padded to 32-bit words, every
            other number 4 bytes.
        macs_xnor: multiply-accumulates a sample of 1-bit weights with quantized inputs.
        macs_sign_float: of 1-bit weights with real inputs, which are additions and subtractions.
        macs_float: all others.
    """

    layer: str
    inputs: int = 0
    outputs: int = 0
    weight_bits: int = 0
    input_bits: int = 0
    weights_1bit: int = 0
    weights_kbit: int = 0
    weights_32bit: int = 0
    other_32bit: int = 0
    bytes: int = 0
    macs_xnor: int = 0
    macs_sign_float: int = 0
    macs_float: int = 0


_SUMMED = [field.name for field in fields(Row)][5:]


class Summary:
    """The rows of a network's layers and their total; prints as a table.

    Attributes:
        rows: one for each layer, and one called "(elsewhere)" for numbers that belong to none.
        total: their sum.
        bytes_float32: what the same network takes with 32-bit weights and no scaling factors.
    """

    def __init__(self, rows: list[Row], bytes_float32: int):
        self.rows = rows
        self.total = Row("total", **{k: sum(getattr(row, k) for row in rows) for k in _SUMMED})
        self.bytes_float32 = bytes_float32

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a pandas DataFrame, the layer names as its index; without the total."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows]).set_index("layer")

    def _cells(self) -> list[list[str]]:
        """Header, rows, total; the column of k-bit weights only where there are some."""
        names = [field.name for field in fields(Row)]
        if self.total.weights_kbit == 0:
            names.remove("weights_kbit")
        cells = [[name.replace("_", " ") for name in names]]
        for row in self.rows:
            blank = row.inputs == 0
            cells.append(
                ["" if blank and n in names[1:5] else _text(getattr(row, n)) for n in names]
            )
        cells.append(["" if n in names[1:5] else _text(getattr(self.total, n)) for n in names])
        return cells

    def _footer(self) -> str:
        ratio = self.bytes_float32 / self.total.bytes if self.total.bytes else 1.0
        return f"{self.bytes_float32:,} bytes with 32-bit weights, {ratio:.1f} times as many"

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self._footer()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        rows = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
        rows += [
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
        ]
        return f"<table>{''.join(rows)}</table><p>{escape(self._footer())}</p>"


def _text(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def summary(model: nn.Module) -> Summary:
    """Count a network's parameters by kind, their bytes, and its multiply-accumulates a sample.

    It is the network as deployed: batch norm's running statistics count, Adam's moments do not,
    and BinaryConnect's stochastic variant counts as real, for it is evaluated with real weights.
    The bytes are those of the numbers; the file of a packed network differs from them, because it
    folds batch norm into thresholds and names its tensors in a header.
    """
    layers = binarized_layers(model)
    others = dict.fromkeys([*layers, ELSEWHERE], 0)
    own = {id(layer.weight) for layer in layers.values()}
    moments = {id(layer.second_moment) for layer in layers.values()}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and id(tensor) not in own | moments:
            inside = [layer for layer in layers if f"{name}.".startswith(f"{layer}.")]
            others[max(inside, key=len, default=ELSEWHERE)] += tensor.numel()
    rows = [_row(name, layer, others[name]) for name, layer in layers.items()]
    weights = sum(layer.weight.numel() for layer in layers.values())
    if others[ELSEWHERE]:
        count = others[ELSEWHERE]
        rows.append(Row(ELSEWHERE, other_32bit=count, bytes=4 * count))
    return Summary(rows, 4 * (weights + sum(others.values())))


def _row(name: str, layer: BinarizedLayer, other: int) -> Row:
    count = layer.weight.numel()
    _, signs, scale, *_ = layer.scheme.quantized(layer)
    # Where one bit is trained but the test takes the real weights, 32 bits are deployed.
    bits = 32 if signs is None and layer.scheme.weight_bits == 1 else layer.scheme.weight_bits
    if scale is not None and bool((scale != 1).any()):
        other += scale.numel()
    row_words = layer.in_features if bits == 32 else -(-layer.in_features * bits // WORD)
    if bits == 1:
        kind = "macs_sign_float" if layer.input_step is None else "macs_xnor"
    else:
        kind = "macs_float"
    return Row(
        name,
        layer.in_features,
        layer.out_features,
        bits,
        layer.input_bits,
        weights_1bit=count if bits == 1 else 0,
        weights_kbit=count if 1 < bits < 32 else 0,
        weights_32bit=count if bits == 32 else 0,
        other_32bit=other,
        bytes=4 * (row_words * layer.out_features + other),
        **{kind: count},
    )
