"""What the summary counts, against counting by hand."""

import pytest
from torch import nn

import bnnlab
from bnnlab import schemes
from bnnlab.nn import MLP


def test_a_binary_network():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("lab2")))
    first, second, last = table.rows
    assert [row.layer for row in table.rows] == ["hidden1", "hidden2", "output"]
    assert (first.inputs, first.outputs) == (64, 128)
    assert (first.weight_bits, first.input_bits, second.input_bits) == (1, 32, 1)
    assert (first.weights_1bit, first.weights_32bit) == (64 * 128, 0)
    assert first.other_32bit == 4 * 128 + 1  # batch norm and alpha
    assert first.bytes == 128 * 64 // 8 + 4 * 513
    assert (first.macs_sign_float, first.macs_xnor, first.macs_float) == (64 * 128, 0, 0)
    assert (second.macs_sign_float, second.macs_xnor) == (0, 128 * 128)
    assert last.weights_1bit == 1280
    assert table.total.weights_1bit == 64 * 128 + 128 * 128 + 1280
    assert table.total.bytes == sum(row.bytes for row in table.rows)
    assert table.bytes_float32 == 4 * (64 * 128 + 128 * 128 + 1280 + 4 * (128 + 128 + 10))


def test_rows_are_padded_to_words():
    (row, _) = bnnlab.summary(MLP(33, 2, 5, 1, scheme=schemes.get("binary_connect"))).rows
    assert row.bytes == 5 * 8 + 4 * (4 * 5)  # no scaling factor: it is 1


def test_real_first_and_last_layers():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("bwn")))
    first, second, _ = table.rows
    assert (first.weights_32bit, first.macs_float) == (64 * 128, 64 * 128)
    assert second.other_32bit == 4 * 128 + 128  # an alpha for each channel
    assert second.macs_sign_float == 128 * 128


def test_weights_of_several_bits():
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=schemes.get("dorefa", weight_bits=3)))
    row = table.rows[1]
    assert (row.weight_bits, row.weights_kbit, row.weights_1bit) == (3, 128 * 128, 0)
    assert row.bytes == 128 * 128 * 3 // 8 + 4 * 4 * 128
    assert row.macs_float == 128 * 128
    assert "weights kbit" in str(table)
    assert "weights kbit" not in str(bnnlab.summary(MLP(4, 2)))


def test_a_network_evaluated_with_real_weights_is_not_small():
    scheme = schemes.get("binary_connect_stochastic")
    table = bnnlab.summary(MLP(64, 10, 128, 2, scheme=scheme))
    assert table.total.weights_1bit == 0 and table.rows[0].weight_bits == 32
    assert table.total.bytes == table.bytes_float32


def test_biases_count_without_batch_norm():
    (row, _) = bnnlab.summary(MLP(4, 2, 8, 1, batch_norm="off")).rows
    assert row.other_32bit == 8 and row.bytes == 4 * (32 + 8)


def test_adams_moments_do_not_count():
    lab = bnnlab.summary(MLP(64, 10, 8, 2, scheme=schemes.get("lab"))).total
    bwn = bnnlab.summary(
        MLP(
            64, 10, 8, 2, first_and_last="binarized", scheme=schemes.get("bwn", granularity="layer")
        )
    ).total
    assert lab == bwn


def test_numbers_that_belong_to_no_layer():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    table = bnnlab.summary(bnnlab.binarize(model, "bnn"))
    assert [row.layer for row in table.rows] == ["0", "3", "(elsewhere)"]
    assert table.rows[0].other_32bit == 3 and table.rows[-1].other_32bit == 12
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
    weights = total.weights_1bit + total.weights_kbit + total.weights_32bit
    assert weights == 20 * 12 + 12 * 12 * 2 + 12 * 4
    assert weights == total.macs_xnor + total.macs_sign_float + total.macs_float


def test_numbers_belong_to_the_innermost_layer():
    inner = nn.ModuleDict({"linear": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2)})
    outer = nn.ModuleDict({"linear": nn.Linear(4, 3), "inner": inner})
    table = bnnlab.summary(bnnlab.binarize(nn.ModuleDict({"outer": outer}), "binary_connect"))
    assert {row.layer: row.other_32bit for row in table.rows} == {"outer": 3, "outer.inner": 2 + 8}
