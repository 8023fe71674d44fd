"""How many multiplications a training step makes, against counting by hand."""

import pytest
import torch
from torch import nn

import bnnlab
from bnnlab import optim, schemes
from bnnlab.nn import LSTM, MLP, BinarizedLinear, LeNet, multiplications
from bnnlab.nn.multiplications import OPTIMIZERS


def table(name="full_precision", batch_size=1, optimizer="sgd", batch_norm="off", **options):
    model = MLP(20, 4, 14, 2, batch_norm=batch_norm, scheme=schemes.get(name, **options))
    return multiplications(model, batch_size, optimizer)


FIRST, SECOND, LAST = 20 * 14, 14 * 14, 14 * 4
PARAMETERS = FIRST + SECOND + LAST + 14 + 14 + 4


def test_plain_training():
    """Three products a weight and sample, but for the first layer: nobody asks for its inputs'."""
    counted = table(batch_size=7)
    assert [row.layer for row in counted.rows] == ["hidden1", "hidden2", "output"]
    first, second, _ = counted.rows
    assert (first.forward, first.backward, first.weight_gradient) == (7 * FIRST, 0, 7 * FIRST)
    assert second.forward == second.backward == second.weight_gradient == 7 * SECOND
    total = counted.total
    assert total.optimizer == PARAMETERS  # the step size, once a step
    assert total.remaining == total.plain == 7 * (2 * FIRST + 3 * (SECOND + LAST)) + PARAMETERS
    assert (total.scale, total.norm, total.shifts, total.additions) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", ["few_multiplications_binary", "few_multiplications_ternary"])
def test_few_multiplications(name):
    counted = table(name, batch_size=7)
    total = counted.total
    assert (total.forward, total.backward, total.weight_gradient) == (0, 0, 0)
    assert total.shifts == 7 * (FIRST + SECOND + LAST)
    assert total.additions == 7 * (FIRST + 2 * SECOND + 2 * LAST)
    assert total.scale == 7 * (14 + 2 * 14 + 2 * 4)  # W0 of the sums and of their gradient
    assert total.remaining == total.scale + PARAMETERS
    assert total.plain == table(batch_size=7).total.plain
    exact = table(name, batch_size=7, quantized_backprop=False).total
    assert (exact.weight_gradient, exact.shifts) == (7 * (FIRST + SECOND + LAST), 0)


def test_the_network_of_the_paper():
    """784-1024-1024-1024-10 in batches of 200: the paper's three products a weight are 1.746e9."""
    scheme = schemes.get("few_multiplications_binary")
    model = MLP(784, 10, 1024, 3, batch_norm="off", scheme=scheme)
    counted = multiplications(model, batch_size=200, optimizer="sgd")
    weights = 784 * 1024 + 2 * 1024**2 + 10 * 1024
    products = counted.total.plain - weights - 3 * 1024 - 10
    assert products == 200 * (3 * weights - 784 * 1024)
    assert counted.total.remaining / counted.total.plain < 0.005


def test_binary_inputs_leave_no_product_of_the_weight_gradient():
    first, second, _ = table("bnn").rows
    assert (first.forward, first.weight_gradient, first.additions) == (0, FIRST, FIRST)
    assert second.remaining == SECOND + 14  # the update alone
    assert second.additions == 3 * SECOND


def test_binary_neurons_with_real_weights():
    _, second, _ = table("stochastic_neurons").rows
    assert (second.forward, second.backward, second.weight_gradient) == (0, SECOND, 0)


def test_binary_inputs_of_the_network():
    first = table("bitwise").rows[0]
    assert (first.forward, first.weight_gradient) == (0, 0)
    assert table("bitwise", inputs="real").rows[0].weight_gradient == FIRST


def test_powers_of_two_are_shifts_and_other_integers_are_not():
    _, logarithmic, _ = table("qnn", spacing="log").rows
    assert logarithmic.shifts == 3 * SECOND and logarithmic.scale == 0
    _, linear, _ = table("qnn").rows
    assert linear.forward == linear.backward == linear.weight_gradient == SECOND
    assert linear.scale == 0  # its step is a power of two


def test_a_learned_scale_is_multiplied_by():
    first, second, _ = table("lab", batch_size=5).rows
    assert (first.scale, second.scale) == (5 * 14, 2 * 5 * 14)


def test_layers_that_stay_real_are_counted_as_plain():
    first, second, last = table("bwn").rows
    assert first.remaining == first.plain and last.remaining == last.plain
    assert second.additions == 2 * SECOND and second.weight_gradient == SECOND


@pytest.mark.parametrize(("batch_norm", "times"), [("on", 6), ("shift", 0)])
def test_batch_norm(batch_norm, times):
    counted = table(batch_norm=batch_norm, batch_size=7)
    # The last is never shift-based.
    assert [row.norm for row in counted.rows] == [7 * 14 * times, 7 * 14 * times, 7 * 4 * 6]
    assert counted.rows[0].plain == 7 * (2 * FIRST + 6 * 14) + FIRST + 2 * 14


def test_optimizers():
    assert list(OPTIMIZERS) == optim.names()
    assert table(optimizer="adam").total.optimizer == 9 * PARAMETERS
    shifted = table(optimizer="shift_adamax").total
    assert shifted.optimizer == 0
    assert shifted.plain == shifted.remaining + 5 * PARAMETERS
    with pytest.raises(ValueError, match="no optimizer is called 'rmsprop'; there are adam, sgd"):
        table(optimizer="rmsprop")


def test_a_convolution_is_counted_at_every_place_before_pooling():
    model = LeNet((2, 8, 8), 3, 4, 10, batch_norm="on")
    conv1, conv2, dense, _ = multiplications(model, batch_size=1).rows
    assert conv1.forward == conv1.weight_gradient == 4 * 2 * 25 * 64 and conv1.backward == 0
    assert conv2.forward == conv2.backward == 8 * 4 * 25 * 16
    assert (conv1.norm, conv2.norm) == (6 * 4 * 16, 6 * 8 * 4)  # of what pooling leaves
    assert dense.forward == 8 * 4 * 10


@pytest.mark.parametrize("scheme", ["xnor_net", "few_multiplications_binary"])
def test_the_model_is_left_as_it_was(scheme):
    options = {"input_scale": True} if scheme == "xnor_net" else {}
    model = LeNet((2, 8, 8), 3, 4, 10, scheme=schemes.get(scheme, **options))
    model.conv2.eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = model.conv1.layer.generator.get_state()
    multiplications(model)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(model.conv1.layer.generator.get_state(), drawn)
    assert model.conv1.training and not model.conv2.layer.training
    assert "product" not in vars(model.conv1.layer) and not model.conv1.norm._forward_hooks


def test_symbols_are_looked_up():
    counted = multiplications(LSTM(9, 9, 5), batch_size=3, optimizer="sgd")
    first, recurrent, last, elsewhere = counted.rows
    assert first.forward == first.weight_gradient == 0
    assert recurrent.forward == recurrent.backward == recurrent.weight_gradient == 3 * 4 * 5 * 5
    assert last.forward == 3 * 45
    assert elsewhere.layer == "(elsewhere)" and elsewhere.optimizer == 4 * 5


def test_a_users_own_network():
    model = nn.Sequential(nn.Linear(20, 14), nn.BatchNorm1d(14), nn.ReLU(), nn.Linear(14, 4))
    counted = multiplications(bnnlab.binarize(model, "bnn"), batch_size=2, optimizer="sgd")
    assert [row.layer for row in counted.rows] == ["0", "3", "(elsewhere)"]
    assert counted.rows[0].weight_gradient == 2 * FIRST
    assert counted.rows[1].remaining == LAST + 4
    assert counted.rows[-1].norm == 2 * 14 * 6


def test_a_convolution_that_does_not_say_its_size():
    model = bnnlab.binarize(nn.Sequential(nn.Conv2d(1, 4, 3)), "binary_connect")
    with pytest.raises(ValueError, match="depends on the size of the images; say shape="):
        multiplications(model)
    counted = multiplications(model, batch_size=1, shape=(1, 5, 6))
    assert counted.total.additions == counted.total.weight_gradient == 4 * 9 * 3 * 4


@pytest.mark.parametrize("name", schemes.names())
def test_every_product_of_every_scheme_is_somewhere(name):
    total = table(name).total
    products = total.forward + total.backward + total.weight_gradient
    products += total.shifts + total.additions
    assert products == 2 * FIRST + 3 * (SECOND + LAST) == total.plain - total.optimizer


def test_prints_as_a_table_and_becomes_a_frame():
    counted = table("few_multiplications_binary", batch_size=100)
    lines = str(counted).splitlines()
    assert lines[0].startswith("layer") and lines[-2].startswith("total")
    assert len({len(line) for line in lines[:-1]}) == 1
    assert "of the multiplications of plain training remain in a step of 100 samples" in lines[-1]
    assert counted.to_frame().loc["hidden2", "shifts"] == 100 * SECOND
    assert "<table>" in counted._repr_html_()


def test_a_module_without_layers():
    counted = multiplications(nn.ReLU())
    assert counted.rows == [] and counted.total.plain == 0
    assert "100.00%" in str(counted)


def test_one_layer():
    layer = BinarizedLinear(20, 14, False, schemes.get("binary_connect"))
    assert multiplications(layer, batch_size=3).total.additions == 3 * FIRST
