"""Numbers worked out by hand or with a plain reference, independent of this code."""

import pytest
import torch

from bnnlab import schemes
from bnnlab.nn import BinarizedLinear
from bnnlab.schemes.few_multiplications import round_to_power

W = torch.tensor([0.8, -0.3, 0.05, -1.2, 0.6, 0.0])
D = torch.tensor([4, 1, 2, 0.5, 1, 1])
SIGNS = [1, -1, 1, -1, 1, 1]


def close(given, expected):
    return torch.allclose(given, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def objective(values, w=W, d=D):
    return 0.5 * (d * (values - w) ** 2).sum().item()


def test_bwn_of_a_layer():
    q = schemes.get("bwn", granularity="layer").quantize(W)
    assert q.signs.tolist() == SIGNS
    assert close(q.scale, [0.4916667])
    assert close(q.values, [0.4916667 * s for s in SIGNS])


def test_lab():
    q = schemes.get("lab").quantize(W, second_moment=D**2)
    assert q.signs.tolist() == SIGNS
    assert close(q.scale, [0.5052632])
    assert objective(q.values) == pytest.approx(0.6548684, abs=1e-6)
    bwn = schemes.get("bwn").quantize(W)
    assert objective(bwn.values) == pytest.approx(0.6557465, abs=1e-6)


@pytest.mark.parametrize("factor", [0.01, 1000.0])
def test_lab_does_not_feel_a_factor_on_the_curvature(factor):
    q = schemes.get("lab").quantize(W, second_moment=(factor * D) ** 2)
    assert close(q.scale, [0.5052632])


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (1, [0.4916667 * s for s in SIGNS]),
        (2, [1, -1 / 3, 1 / 3, -1, 1 / 3, 1 / 3]),
        (3, [0.714286, -0.428571, 0.142857, -1, 0.714286, 0.142857]),
    ],
)
def test_dorefa_weights(bits, expected):
    assert close(schemes.get("dorefa", weight_bits=bits).quantize(W).values, expected)


@pytest.mark.parametrize(
    ("bits", "expected"), [(1, [0, 0, 0, 0, 1, 1]), (2, [0, 0, 1 / 3, 2 / 3, 2 / 3, 1])]
)
def test_dorefa_activations(bits, expected):
    x = torch.tensor([-0.3, 0.1, 0.4, 0.5, 0.8, 1.7])
    scheme = schemes.get("dorefa", activation_bits=bits)
    assert close(scheme.activation(x), [float(e) for e in expected])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("ste", [1, 2, -1, 0.5]),
        ("paper", [1.025, 2.05, -1.025, 0.125]),
        ("exact", [0.15, 2.175, -1.4, 0.625]),
    ],
)
@pytest.mark.parametrize("name", ["bwn", "xnor_net"])
def test_xnor_gradients(name, rule, expected):
    layer = BinarizedLinear(4, 1, False, schemes.get(name, grad_rule=rule))
    layer.weight.data[:] = torch.tensor([[0.5, -0.2, 0.9, -1.5]])
    layer.scheme.weight(layer).backward(torch.tensor([[1, 2, -1, 0.5]]))
    assert close(layer.weight.grad, [[float(e) for e in expected]])


@pytest.mark.parametrize("solver", ["exact", "approximate"])
def test_lat(solver):
    q = schemes.get("lat", solver=solver).quantize(W, second_moment=D**2)
    assert (q.signs * q.mask).tolist() == [1, 0, 0, -1, 1, 0]
    assert close(q.scale, [0.8])
    assert close(q.cut, [0.4])
    assert objective(q.values) == pytest.approx(0.1075, abs=1e-6)


def test_laq():
    q = schemes.get("laq").quantize(W, second_moment=D**2)
    assert q.codes.tolist() == [3, -1, 0, -3, 2, 0]
    assert close(3 * q.scale, [0.7818182])


def test_laq_by_least_squares():
    scheme = schemes.get("laq", alpha_rule="least_squares")
    q = scheme.solve(W, D**2, torch.tensor(0.7818182 / 3))
    assert q.codes.tolist() == [3, -1, 0, -3, 2, 0]
    assert close(3 * q.scale, [0.8505495])


def test_twn():
    """Sizes of mean 0.4916667: the threshold is 0.3441667, and 0.8, 1.2 and 0.6 are above."""
    q = schemes.get("twn").quantize(W)
    assert (q.signs * q.mask).tolist() == [1, 0, 0, -1, 1, 0]
    assert close(q.cut, [0.3441667])
    assert close(q.scale, [0.8666667])


def test_bop():
    """m = 0.25 g: the first is too weak, the second wants the flip, the third has it already."""
    from bnnlab.optim.bop import Bop

    w = torch.nn.Parameter(torch.tensor([1.0, 1.0, -1.0, -1.0]))
    optimizer = Bop([{"params": [w], "binarized": True}], gamma=0.25, tau=0.125)
    w.grad = torch.tensor([0.4, 0.6, 0.6, -0.6])
    optimizer.step()
    assert w.tolist() == [1, -1, -1, 1]


def test_approx_sign():
    x = torch.tensor([-1.5, -0.5, 0.0, 0.25, 1.0])
    gradient = schemes.get("bi_real").activation_estimator.pseudo_gradient(x)
    assert close(gradient, [0.0, 1.0, 2.0, 1.5, 0.0])


def test_swish_sign():
    gradient = schemes.get("bnn_plus").activation_estimator.pseudo_gradient(
        torch.tensor([0.0, 0.2])
    )
    assert close(gradient, [5.0, 3.0236606])


def test_ir_net():
    """Mean -0.0083333, deviation 0.7116332: mean size 0.6948065, nearest power of two 1/2."""
    scheme = schemes.get("ir_net")
    q = scheme.quantize(W)
    assert q.signs.tolist() == SIGNS
    assert q.scale.tolist() == [0.5]
    assert close(scheme.decay(0.5).pseudo_gradient(torch.tensor([0.5])), [0.7864477])


def test_bitnet():
    q = schemes.get("bitnet").quantize(W)
    assert q.signs.tolist() == SIGNS  # 0 lies above the mean, which is negative
    assert close(q.scale, [0.4916667])
    x = torch.tensor([[127.0, 1.4, 0.6, -3.0], [12.7, 0.26, 0.04, 6.35]])
    expected = torch.tensor([[127.0, 1.0, 1.0, 0.0], [12.7, 0.3, 0.0, 6.4]])
    assert torch.allclose(schemes.get("bitnet").activation(x), expected, atol=1e-5)


def test_bitnet_of_three_values():
    q = schemes.get("bitnet_158").quantize(W)
    assert (q.signs * q.mask).tolist() == [1, -1, 0, -1, 1, 0]
    assert close(q.scale, [0.4916667])


def test_prox_quant():
    w = torch.tensor([0.8, -0.3, 1.25, -1.05, 0.0])
    found = schemes.get("prox_quant").proximal(w, 0.1)
    assert close(found, [0.9, -0.4, 1.15, -1.0, 0.1])


def test_bitwise_boundary():
    w = torch.tensor([0.9, -0.1, 0.4, -0.6, 0.05, 0.2, -0.8, 0.3])
    q = schemes.get("bitwise", sparsity=0.25).quantize(w)
    assert close(q.cut, [0.175])
    assert q.values.tolist() == [1, 0, 1, -1, 0, 1, -1, 1]


@pytest.mark.parametrize(
    ("x", "low", "high", "share"), [(0.3, 0.25, 0.5, 0.2), (5.0, 4.0, 8.0, 0.25)]
)
def test_stochastic_powers_of_two(x, low, high, share):
    for draw, expected in ((share - 1e-3, high), (share + 1e-3, low)):
        assert round_to_power(torch.tensor([x]), torch.tensor([draw])).item() == expected
