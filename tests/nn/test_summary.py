"""What the summary counts, against counting by hand."""

import pytest
import torch
from torch import nn

import bnnlab
from bnnlab import schemes
from bnnlab.nn import LSTM, MLP, LeNet
from bnnlab.schemes.estimators import identity, sign


def test_a_binary_network():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("lab2")))
    first, second, last = table.rows
    assert [row.layer for row in table.rows] == ["hidden1", "hidden2", "output"]
    assert (first.inputs, first.outputs) == (64, 128)
    assert (first.weight_bits, first.input_bits, second.input_bits) == (1, 32, 1)
    assert (first.weights_1bit, first.weights_32bit) == (64 * 128, 0)
    assert first.other_32bit == 128 + 4  # a threshold a neuron, and 128 bits that turn it
    assert last.other_32bit == 2 * 10  # a scale and a shift
    assert first.bytes == 128 * 64 // 8 + 4 * 132
    assert first.binarized == table.total.binarized == 1
    assert (first.macs_sign_float, first.macs_xnor, first.macs_float) == (64 * 128, 0, 0)
    assert (second.macs_sign_float, second.macs_xnor) == (0, 128 * 128)
    assert last.weights_1bit == 1280
    assert table.total.weights_1bit == 64 * 128 + 128 * 128 + 1280
    assert table.total.bytes == sum(row.bytes for row in table.rows)
    assert table.bytes_float32 == 4 * (64 * 128 + 128 * 128 + 1280 + 4 * (128 + 128 + 10))


def test_rows_are_padded_to_words():
    (row, _) = bnnlab.summary(MLP(33, 2, 5, 1, scheme=schemes.get("binary_connect"))).rows
    assert row.bytes == 5 * 8 + 4 * (2 * 5)  # a scale and a shift a neuron


def test_real_first_and_last_layers():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("bwn")))
    first, second, _ = table.rows
    assert (first.binarized, second.binarized) == (0, 1)
    assert 0 < table.total.binarized < 1
    assert (first.weights_32bit, first.macs_float) == (64 * 128, 64 * 128)
    assert second.other_32bit == 2 * 128  # alpha and batch norm together
    assert second.macs_sign_float == 128 * 128


def test_weights_of_several_bits():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("dorefa", weight_bits=3)))
    row = table.rows[1]
    assert (row.weight_bits, row.weights_kbit, row.weights_1bit) == (3, 128 * 128, 0)
    assert row.bytes == 128 * 128 * 3 // 8 + 4 * 2 * 128
    assert row.macs_xnor == 128 * 128
    assert "weights kbit" in str(table) and "weights ternary" not in str(table)
    assert "weights kbit" not in str(bnnlab.summary(MLP(4, 2)))


class Ternary(schemes.Scheme):
    """Zero where the weight is small."""

    weight_bits = 2
    weight_estimator = identity

    def quantize(self, w, second_moment=None, generator=None):
        mask = w.abs() > 0.1
        one = w.new_ones((1,) * w.ndim)
        return schemes.Quantized(sign(w) * mask, sign(w), one, mask)


def test_ternary_weights_are_a_sign_and_a_mask():
    table = bnnlab.summary(MLP(40, 10, 24, 1, scheme=Ternary(), batch_norm="off"))
    row = table.rows[0]
    assert (row.weight_bits, row.weights_ternary, row.weights_kbit) == (2, 40 * 24, 0)
    assert row.other_32bit == 1 + 24  # the scale of the layer, a bias a neuron
    assert row.bytes == 24 * 2 * 8 + 4 * 25
    assert row.macs_sign_float == 40 * 24
    assert "weights ternary" in str(table)


def test_sizes_depend_on_no_value():
    """Not on whether all numbers are equal, not on which levels occur."""
    for name, batch_norm in [("lab", "off"), ("bnn", "on"), ("bwn", "off"), ("dorefa", "on")]:
        model = MLP(20, 4, 12, 2, scheme=schemes.get(name), batch_norm=batch_norm)
        before = bnnlab.summary(model).total.bytes
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.25)
        assert bnnlab.summary(model).total.bytes == before, name


def test_a_network_evaluated_with_real_weights_is_not_small():
    scheme = schemes.get("binary_connect_stochastic")
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=scheme))
    assert table.total.weights_1bit == 0 and table.rows[0].weight_bits == 32
    assert table.total.bytes == table.bytes_float32 - 4 * 2 * (128 + 128 + 10)  # batch norm folded


def test_biases_count_without_batch_norm():
    (row, _) = bnnlab.summary(MLP(4, 2, 8, 1, batch_norm="off")).rows
    assert row.other_32bit == 8 + 2 and row.bytes == 4 * (32 + 10)  # biases, a scale and a shift


def test_what_only_training_needs_does_not_count():
    lab = bnnlab.summary(MLP(64, 10, 8, 2, scheme=schemes.get("lab"))).total
    scheme = schemes.get("bwn", granularity="layer")
    bwn = MLP(64, 10, 8, 2, first_and_last="binarized", scheme=scheme)
    assert lab == bnnlab.summary(bwn).total


def test_bits_of_the_network_s_input():
    first, second, *_ = bnnlab.summary(MLP(20, 4, 12, 2, scheme=schemes.get("bitwise"))).rows
    assert first.input_bits == 1
    assert second.input_bits == 32  # tanh, until the switch
    assert first.other_32bit == 1 + 12 + 12 + 1  # inputs; scales, shifts, and which stage it is


def test_convolutions_are_counted_once_a_place():
    model = LeNet((3, 12, 10), 10, channels=8, width=20, scheme=schemes.get("bnn"))
    first, second, dense, _ = bnnlab.summary(model).rows
    assert (first.inputs, first.outputs) == (3 * 25, 8)
    assert first.macs_sign_float == 12 * 10 * 3 * 25 * 8
    assert second.macs_xnor == 6 * 5 * 8 * 25 * 16
    assert (dense.inputs, dense.macs_xnor) == (16 * 3 * 2, 16 * 3 * 2 * 20)
    assert first.bytes == 8 * 3 * 4 + 4 * (8 + 1)
    assert model.training  # looking at a sample's way has changed nothing


def test_another_module_with_convolutions_says_what_its_images_are():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 3 * 3, 2)
    )
    model = bnnlab.binarize(model, "binary_connect")
    with pytest.raises(ValueError, match="depends on the size of the images; say shape="):
        bnnlab.summary(model)
    table = bnnlab.summary(model, shape=(1, 7, 7))
    assert table.rows[0].macs_sign_float == 9 * 2 * 3 * 3
    assert table.rows[0].bytes == 2 * 4 + 4 * (2 + 1)  # biases and a scale


def test_an_lstm_is_counted_symbol_by_symbol():
    model = LSTM(50, 50, hidden=16, scheme=schemes.get("lab2"))
    given, recurrent, output = bnnlab.summary(model).rows
    assert [row.layer for row in (given, recurrent, output)] == [
        "lstm.input", "lstm.recurrent", "output",
    ]  # fmt: skip
    assert given.macs_sign_float == 64  # a column is added
    assert recurrent.macs_sign_float == 64 * 16
    assert (given.bytes, given.other_32bit) == (64 * 2 * 4 + 4 * 65, 64 + 1)  # biases, alpha
    assert recurrent.other_32bit == 1 + 16 + 1  # alpha, thresholds of the cells, what turns them
    assert (output.weights_32bit, output.macs_float) == (800, 800)


def test_numbers_that_belong_to_no_layer():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    table = bnnlab.summary(bnnlab.binarize(model, "bnn"))
    assert [row.layer for row in table.rows] == ["0", "3", "(elsewhere)"]
    assert table.rows[0].other_32bit == 4 and table.rows[-1].other_32bit == 12
    assert "(elsewhere)" in str(table)


def test_the_published_network_has_the_published_number_of_weights():
    """LAB's MNIST network, 784-2048-2048-2048-10."""
    model = MLP(784, 10, 2048, 3, scheme=schemes.get("lab"))
    assert bnnlab.summary(model).total.weights_1bit == 10_014_720


def test_prints_as_a_table_and_becomes_a_frame():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("bnn")))
    lines = str(table).splitlines()
    assert lines[0].startswith("layer") and "8,192" in lines[2]
    assert len({len(line) for line in lines[:-1]}) == 1
    assert "times as many" in lines[-1]
    frame = table.to_frame()
    assert frame.loc["hidden2", "macs_xnor"] == 128 * 128
    assert frame["bytes"].sum() == table.total.bytes
    assert "<table>" in table._repr_html_()


def test_a_network_without_layers():
    table = bnnlab.summary(nn.ReLU())
    assert table.rows == [] and table.total.bytes == 0
    assert str(table)


@pytest.mark.parametrize("name", schemes.names())
def test_every_weight_is_multiplied_once(name):
    total = bnnlab.summary(MLP(20, 4, 12, 3, scheme=schemes.get(name))).total
    few = total.weights_1bit + total.weights_ternary + total.weights_kbit
    weights = few + total.weights_32bit
    assert weights == 20 * 12 + 12 * 12 * 2 + 12 * 4
    assert weights == total.macs_xnor + total.macs_sign_float + total.macs_float


def test_numbers_belong_to_the_innermost_layer():
    inner = nn.ModuleDict({"layer": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2)})
    outer = nn.ModuleDict({"layer": nn.Linear(4, 3), "inner": inner})
    table = bnnlab.summary(bnnlab.binarize(nn.ModuleDict({"outer": outer}), "binary_connect"))
    assert {row.layer: row.other_32bit for row in table.rows} == {"outer": 4, "outer.inner": 11}
