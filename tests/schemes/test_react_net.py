"""ReActNet's shifted sign and PReLU, one a channel, learnt with everything else."""

import pytest
import torch
from support import generator, small_batch, small_lane

from bnnlab import schemes
from bnnlab.nn import MLP, Activation, LeNet


def module(channels=3, **options):
    activation = Activation(schemes.get("react_net", **options), channels).double()
    with torch.no_grad():
        for parameter in activation.parameters():
            parameter.uniform_(-0.5, 0.5, generator=generator(1))
        if options.get("rprelu", True):
            activation.slope.abs_()
    return activation


def wide(p, x):
    return p.detach().reshape(1, -1, *[1] * (x.ndim - 2))


@pytest.mark.parametrize("shape", [(50, 3), (10, 3, 4, 5)])
@pytest.mark.parametrize("rprelu", [True, False])
def test_the_signs_are_those_of_the_formula(shape, rprelu):
    activation = module(rprelu=rprelu)
    x = torch.randn(shape, generator=generator(), dtype=torch.float64)
    y = x
    if rprelu:
        y = x - wide(activation.before, x)
        y = torch.where(y < 0, wide(activation.slope, x) * y, y) + wide(activation.after, x)
    y = y + wide(activation.threshold, x)
    assert torch.equal(activation(x), torch.where(y >= 0, 1.0, -1.0).double())


@pytest.mark.parametrize("rprelu", [True, False])
def test_gradients_by_finite_differences(rprelu):
    """With the piecewise quadratic function in the place of the sign."""
    activation = module(rprelu=rprelu)
    x = torch.randn(20, 3, generator=generator(), dtype=torch.float64)
    g = torch.randn(20, 3, generator=generator(2), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    activation(leaf).backward(g)

    def surrogate(x):
        with torch.no_grad():
            y = x
            if rprelu:
                y = x - activation.before
                y = torch.where(y < 0, activation.slope * y, y) + activation.after
            y = y + activation.threshold
            inside = torch.where(y < 0, 2 * y + y * y, 2 * y - y * y)
            return (g * torch.where(y.abs() < 1, inside, y.sign())).sum().item()

    for parameter in activation.parameters():
        assert parameter.grad.abs().min() > 0
        for c in range(3):
            parameter.data[c] += 1e-6
            above = surrogate(x)
            parameter.data[c] -= 2e-6
            below = surrogate(x)
            parameter.data[c] += 1e-6
            assert parameter.grad[c].item() == pytest.approx((above - below) / 2e-6, abs=1e-4)
    e = torch.zeros_like(x)
    e[4, 1] = 1e-6
    assert leaf.grad[4, 1].item() == pytest.approx(
        (surrogate(x + e) - surrogate(x - e)) / 2e-6, abs=1e-4
    )


def test_it_begins_as_the_plain_sign():
    activation = Activation(schemes.get("react_net"), 4)
    x = torch.randn(30, 4, generator=generator())
    assert torch.equal(activation(x), schemes.get("bi_real").activation(x))
    assert torch.equal(schemes.get("react_net").activation(x), activation(x))


def test_a_negative_slope_counts_as_zero_so_that_it_never_falls():
    activation = module()
    with torch.no_grad():
        activation.slope.fill_(-2.0)
    x = torch.linspace(-3, 3, 301, dtype=torch.float64)[:, None].expand(-1, 3)
    assert (activation(x).diff(dim=0) >= 0).all()


def test_its_parameters_are_trained_and_kept():
    lane = small_lane({"name": "react_net"}, depth=3)
    before = {k: v.clone() for k, v in lane.network.state_dict().items() if ".activation." in k}
    assert len(before) == 8  # of two activations: what feeds the real last layer is ReLU
    lane.advance(*small_batch())
    after = lane.network.state_dict()
    assert all(not torch.equal(after[key], value) for key, value in before.items())


def test_a_convolution_has_shifts_for_each_channel():
    model = LeNet((1, 8, 8), 10, 4, 6, scheme=schemes.get("react_net"))
    assert model.conv1.activation.threshold.shape == (4,)
    assert model.conv2.activation.slope.shape == (8,)
    model(torch.rand(5, 64, generator=generator())).sum().backward()
    assert model.conv1.activation.threshold.grad is not None


def test_weights_are_bi_reals():
    w = torch.randn(4, 5, generator=generator())
    given, expected = (schemes.get(name).quantize(w) for name in ("react_net", "bi_real"))
    assert torch.equal(given.values, expected.values)
    assert MLP(6, 3, 8, 2, scheme=schemes.get("react_net")).output.layer.binarized is False
