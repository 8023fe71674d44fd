"""The curvature of loss-aware schemes against explicit Hessians and loops over samples."""

from itertools import pairwise

import pytest
import torch
from support import assert_resumes, generator, small_batch, small_lane
from torch.func import functional_call

from bnnlab import schemes
from bnnlab.nn import LSTM, MLP, LeNet, after_step, binarized_layers
from bnnlab.training.losses import cross_entropy, squared_hinge

KINDS = ["norm", "plain", "conv", "lstm"]
MEASURED = ["hutchinson", "fisher"]


def networks(scheme):
    """Tiny ones of every kind, in double precision, each with a batch."""
    g = generator(1)
    images = torch.rand(6, 1, 4, 4, generator=g, dtype=torch.float64)
    text = torch.randint(3, (5, 7), generator=g)
    numbers = torch.randn(6, 3, generator=g, dtype=torch.float64)
    labels = torch.randint(3, (6,), generator=g)
    common = {"scheme": scheme, "generator": generator(2)}
    mlp = MLP(3, 3, 4, 1, first_and_last="binarized", **common)
    plain = MLP(3, 3, 4, 2, batch_norm="off", first_and_last="binarized", **common)
    lenet = LeNet((1, 4, 4), 3, 1, 2, first_and_last="binarized", **common)
    lstm = LSTM(3, 3, 2, first_and_last="binarized", **common)
    batches = [(numbers, labels), (numbers, labels), (images, labels), (text, text.roll(1, 1))]
    models = [model.double() for model in (mlp, plain, lenet, lstm)]
    return dict(zip(KINDS, zip(models, batches, strict=True), strict=True))


def twin(kind, scheme):
    """The same network with real weights equal to the effective ones, and their names."""
    model, _ = networks(scheme)[kind]
    real, _ = networks(schemes.get("full_precision"))[kind]
    named = binarized_layers(real)
    for name, layer in binarized_layers(model).items():
        named[name].weight.data[:] = scheme.quantized(layer).values
    return real, [name for name, _ in real.named_parameters() if is_weight(name, real)]


def is_weight(name, model):
    weights = {id(layer.weight) for layer in binarized_layers(model).values()}
    return id(model.get_parameter(name)) in weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", [squared_hinge, cross_entropy])
def test_hutchinsons_draw_is_that_of_the_explicit_hessian(kind, loss):
    scheme = schemes.get("lab", curvature_from="hutchinson", average=0.0)
    (model, (x, y)), (real, names) = networks(scheme)[kind], twin(kind, scheme)
    shapes = [real.get_parameter(name).shape for name in names]
    sizes = [shape.numel() for shape in shapes]

    def of_weights(flat):
        parts = [p.reshape(s) for p, s in zip(flat.split(sizes), shapes, strict=True)]
        return loss(functional_call(real, dict(zip(names, parts, strict=True)), (x,)), y)

    flat = torch.cat([real.get_parameter(name).detach().flatten() for name in names])
    hessian = torch.autograd.functional.hessian(of_weights, flat)
    layers = list(binarized_layers(model).values())
    g = torch.Generator()
    g.set_state(layers[0].generator.get_state())
    signs = [2.0 * torch.randint(2, layer.weight.shape, generator=g) - 1 for layer in layers]
    r = torch.cat([sign.flatten() for sign in signs]).double()
    scheme.before_step(model, loss, x, y)
    drawn = torch.cat([layer.second_moment.flatten() for layer in layers])
    assert hessian.abs().max() > 1e-3
    torch.testing.assert_close(drawn, r * (hessian @ r), rtol=1e-8, atol=1e-10)
    assert torch.equal(layers[0].generator.get_state(), g.get_state())


def test_hutchinsons_mean_is_the_diagonal():
    """Over all signs the cross terms cancel exactly."""
    a = torch.randn(4, 4, generator=generator(), dtype=torch.float64)
    hessian = a + a.T
    weights = {"w": torch.randn(4, generator=generator(1), dtype=torch.float64).requires_grad_()}
    total = torch.zeros(4, dtype=torch.float64)
    for signs in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 4):
        loss = 0.5 * weights["w"] @ hessian @ weights["w"]
        total += schemes.curvature.hessian_diagonal(loss, weights, lambda key, s=signs: s)["w"]
    torch.testing.assert_close(total / 16, hessian.diagonal())


def test_a_loss_without_curvature_has_none():
    weights = {"w": torch.ones(3, requires_grad=True), "unused": torch.ones(2, requires_grad=True)}
    found = schemes.curvature.hessian_diagonal(
        weights["w"].sum(), weights, lambda key: torch.ones_like(weights[key])
    )
    assert found["w"].tolist() == [0, 0, 0] and found["unused"].tolist() == [0, 0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [3, 50])
def test_fisher_is_the_mean_of_squared_gradients_of_single_samples(kind, samples):
    scheme = schemes.get("lab", curvature_from="fisher", samples=samples, average=0.0)
    (model, (x, y)), (real, names) = networks(scheme)[kind], twin(kind, scheme)
    count = min(samples, len(y))
    squares = [torch.zeros_like(real.get_parameter(name)) for name in names]
    for i in range(count):
        real.zero_grad()
        cross_entropy(real(x)[i : i + 1], y[i : i + 1]).backward()
        for square, name in zip(squares, names, strict=True):
            square += real.get_parameter(name).grad ** 2 / count
    scheme.before_step(model, cross_entropy, x, y)
    for layer, square in zip(binarized_layers(model).values(), squares, strict=True):
        torch.testing.assert_close(layer.second_moment, square.detach(), rtol=1e-6, atol=1e-20)
        assert square.max() > 0


@pytest.mark.parametrize("name", ["lab", "lab2"])
@pytest.mark.parametrize("source", MEASURED)
@pytest.mark.parametrize("kind", ["norm", "conv", "lstm"])
def test_measuring_leaves_no_trace(kind, source, name):
    scheme = schemes.get(name, curvature_from=source)
    model, (x, y) = networks(scheme)[kind]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    layers = binarized_layers(model)
    kept = {
        key: value.clone()
        for key, value in model.state_dict().items()
        if not key.endswith(("second_moment", ".steps"))
    }
    before = torch.get_rng_state()
    scheme.before_step(model, cross_entropy, x, y)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in kept.items())
    assert all((parameter.grad == 3.0).all() for parameter in model.parameters())
    assert all(layer.seen is None for layer in layers.values())
    assert all((layer.second_moment != 0).any() for layer in layers.values())


@pytest.mark.parametrize("source", MEASURED)
def test_it_is_measured_every_so_many_steps_and_averaged(source):
    model, (x, y) = networks(schemes.get("lab", curvature_from=source, refresh_every=3))["norm"]
    layer = model.output.layer
    moments = []
    for _ in range(7):
        layer.scheme.before_step(model, cross_entropy, x, y)
        moments.append(layer.second_moment.clone())
    changed = [not torch.equal(a, b) for a, b in pairwise(moments)]
    assert changed == [False, False, True, False, False, True]
    assert layer.steps == 7


@pytest.mark.parametrize("source", MEASURED)
def test_measurements_are_averaged(source):
    found = {}
    for average in (0.0, 0.75):
        scheme = schemes.get("lab", curvature_from=source, average=average)
        model, (x, y) = networks(scheme)["norm"]
        layer = model.output.layer
        layer.second_moment += 0.5
        scheme.before_step(model, cross_entropy, x, y)
        found[average] = layer.second_moment
    torch.testing.assert_close(found[0.75], 0.75 * 0.5 + 0.25 * found[0.0])


def test_the_curvature_of_what_is_kept():
    moment = torch.tensor([-4.0, 0.0, 9.0])
    for source in MEASURED:
        d = schemes.get("lab", curvature_from=source, epsilon=0.5).curvature(moment)
        assert d.tolist() == [4.5, 0.5, 9.5]
    d = schemes.get("lab", epsilon=0.5).curvature(moment.abs())
    torch.testing.assert_close(d, torch.tensor([2.5, 0.5, 3.5]))


def test_an_optimizer_without_a_second_moment_gets_one():
    scheme = schemes.get("lab")
    model, (x, y) = networks(scheme)["norm"]
    optimizer = scheme.optimizer(model.parameters(), 0.1, "sgd")
    layer, expected = model.hidden1.layer, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
        after_step(model, optimizer)
        expected = 0.999 * expected + 0.001 * layer.weight.grad**2
    torch.testing.assert_close(layer.second_moment, expected)
    d = layer.second_moment.sqrt() + 1e-8
    size = layer.weight.detach().abs()
    torch.testing.assert_close(
        scheme.quantized(layer).scale, ((d * size).sum() / d.sum())[None, None]
    )


def test_weights_that_had_no_gradient_are_left_alone():
    scheme = schemes.get("lab")
    model, _ = networks(scheme)["norm"]
    after_step(model, scheme.optimizer(model.parameters(), 0.1))
    assert not model.hidden1.layer.second_moment.any()


def test_random_signs_need_a_generator():
    scheme = schemes.get("lab", curvature_from="hutchinson")
    model, (x, y) = networks(scheme)["norm"]
    model.output.layer.generator = None
    norm = model.hidden1.norm.running_mean.clone()
    with pytest.raises(ValueError, match=r"lab draws the signs .* layer\.generator, which is None"):
        scheme.before_step(model, cross_entropy, x, y)
    assert torch.equal(model.hidden1.norm.running_mean, norm)
    assert all(layer.seen is None for layer in binarized_layers(model).values())


def test_a_constant_curvature_keeps_nothing():
    scheme = schemes.get("lab", curvature_from="identity")
    model, (x, y) = networks(scheme)["norm"]
    scheme.before_step(model, cross_entropy, x, y)
    assert model.hidden1.layer.second_moment is None
    assert not [key for key in model.state_dict() if key.endswith((".steps", "second_moment"))]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("source", ["adam", *MEASURED, "identity"])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(source, optimizer):
    scheme = {"name": "lab", "curvature_from": source, "refresh_every": 3}
    assert_resumes(lambda: small_lane(scheme, optimizer=optimizer))


def test_constant_curvature_is_bwn_bit_for_bit():
    """LAB with identity curvature and BWN with one scale a layer, over training steps."""
    network = {"first_and_last": "binarized"}
    lab = small_lane({"name": "lab", "curvature_from": "identity"}, network=network)
    bwn = small_lane({"name": "bwn", "granularity": "layer"}, network=network)
    for step in range(25):
        assert lab.advance(*small_batch(step))[:2] == bwn.advance(*small_batch(step))[:2]
    assert lab.evaluate(*small_batch(99)) == bwn.evaluate(*small_batch(99))
    for key, value in bwn.network.state_dict().items():
        assert torch.equal(value, lab.network.state_dict()[key])
