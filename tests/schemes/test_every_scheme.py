"""What every scheme must do, whatever it is."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from matplotlib.mathtext import MathTextParser

from bnnlab import schemes
from bnnlab.nn import MLP, BinarizedLinear, after_step, binarized_layers, watch

VARIANTS = [
    *((name, {}) for name in schemes.names()),
    ("binary_connect", {"learning_rate_scale": "glorot"}),
    ("bwn", {"granularity": "layer", "grad_rule": "paper"}),
    ("bwn", {"grad_rule": "exact", "centre": True}),
    ("xnor_net", {"grad_rule": "exact", "input_scale": True}),
    ("dorefa", {"weight_bits": 2, "activation_bits": 1}),
    ("dorefa", {"weight_bits": 3, "activation_bits": 32}),
    ("lab", {"granularity": "channel"}),
    ("lab2", {"epsilon": 0.01}),
]
every = pytest.mark.parametrize(
    "scheme", [schemes.get(name, **options) for name, options in VARIANTS], ids=str
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(samples=600, features=16, classes=3):
    """Well separated classes: points around `classes` random centres."""
    g = generator(5)
    centres = torch.randn(classes, features, generator=g) * 2
    labels = torch.randint(classes, (samples,), generator=g)
    return centres[labels] + torch.randn(samples, features, generator=g) * 0.5, labels


def train(scheme, steps, lr=0.005, model=None, first_and_last="binarized"):
    x, y = blobs()
    if model is None:
        model = MLP(
            16, 3, 48, 2, scheme=scheme, generator=generator(1), first_and_last=first_and_last
        )
    factors = {layer.weight: layer for layer in binarized_layers(model).values()}
    groups = [
        {
            "params": [p],
            "lr": lr * (factors[p].scheme.learning_rate_factor(factors[p]) if p in factors else 1),
        }
        for p in model.parameters()
    ]
    optimizer = scheme.optimizer(groups, lr)
    order = generator(2)
    for _ in range(steps):
        batch = torch.randint(len(x), (100,), generator=order)
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        after_step(model, optimizer)
    return model, optimizer


def accuracy(model):
    x, y = blobs()
    return (model.eval()(x).argmax(1) == y).float().mean().item()


@every
def test_learns_separable_classes(scheme):
    model, _ = train(scheme, 300)
    assert accuracy(model) >= 0.95


@every
def test_values_are_signs_times_scale(scheme):
    w = torch.randn(7, 9, generator=generator()) * 0.3
    before = w.clone()
    q = scheme.quantize(w, second_moment=torch.rand(7, 9, generator=generator()))
    assert torch.equal(w, before)
    assert q.values.shape == w.shape
    if q.signs is None:
        assert q.scale is None
    else:
        assert torch.equal(q.values, q.signs * q.scale)
        assert torch.equal(q.signs, torch.where(w >= 0, 1.0, -1.0))
        assert q.scale.shape in {(7, 1), (1, 1)} and (q.scale > 0).all()
        assert q.scale.numel() == 7 or getattr(scheme, "granularity", "layer") == "layer"


@every
@pytest.mark.parametrize("shape", [(6,), (2, 3), (4, 3, 2, 2)])
def test_quantizes_weights_of_any_shape(scheme, shape):
    """A vector is one channel; otherwise the first dimension counts the channels."""
    w = torch.randn(shape, generator=generator())
    q = scheme.quantize(w, second_moment=torch.rand(shape, generator=generator()))
    assert q.values.shape == w.shape
    if q.scale is not None:
        per_channel = getattr(scheme, "granularity", "layer") == "channel" and len(shape) > 1
        assert q.scale.shape == (shape[0] if per_channel else 1, *[1] * (len(shape) - 1))


@every
def test_weights_that_are_all_zero_stay_finite(scheme):
    q = scheme.quantize(torch.zeros(2, 3), second_moment=torch.zeros(2, 3))
    assert torch.isfinite(q.values).all()
    if q.signs is not None:
        assert (q.signs == 1).all()


@every
def test_nan_is_not_hidden(scheme):
    w = torch.randn(3, 5, generator=generator())
    w[1, 2] = math.nan
    assert torch.isnan(scheme.quantize(w, second_moment=torch.ones(3, 5)).values[1, 2])
    if scheme.weight_bits < 32:
        layer = BinarizedLinear(5, 3, False, scheme, generator=generator())
        layer.weight.data[:] = w
        assert torch.isnan(scheme.weight(layer)[1, 2])
    assert torch.isnan(scheme.activation(torch.tensor([[1.0, math.nan]]))[0, 1])


@every
def test_training_and_evaluation_do_not_touch_the_global_random_state(scheme):
    before = torch.get_rng_state()
    model, _ = train(scheme, 2)
    model.eval()(blobs()[0])
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_training_is_reproducible(scheme):
    first, second = train(scheme, 20)[0].state_dict(), train(scheme, 20)[0].state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every
def test_evaluation_draws_nothing_and_changes_nothing(scheme):
    model, _ = train(scheme, 3)
    model.eval()
    layers = binarized_layers(model)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = [layer.generator.get_state() for layer in layers.values()]
    x = blobs()[0]
    assert torch.equal(model(x), model(x))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    for layer, before in zip(layers.values(), drawn, strict=True):
        assert torch.equal(layer.generator.get_state(), before)


@every
def test_clips_latent_weights_after_the_step_and_nothing_else(scheme):
    model = MLP(16, 3, 8, 2, batch_norm="on", first_and_last="binarized", scheme=scheme)
    layers = binarized_layers(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(5.0)
    train(scheme, 1, lr=0.001, model=model)
    for layer in layers.values():
        if scheme.clip is None:
            assert layer.weight.min() > 4.9
        elif not getattr(scheme, "centre", False):  # centring brings equal weights to 0
            assert layer.weight.unique().tolist() == [1.0]
    for name, parameter in model.named_parameters():
        if ".norm." in name:
            assert parameter.min() > 4.9


@every
def test_biases_are_never_clipped(scheme):
    model = MLP(16, 3, 8, 2, batch_norm="off", first_and_last="binarized", scheme=scheme)
    with torch.no_grad():
        for layer in binarized_layers(model).values():
            layer.bias.fill_(5.0)
    train(scheme, 1, lr=0.001, model=model)
    for layer in binarized_layers(model).values():
        assert layer.bias.min() > 4.9


@every
def test_the_step_sees_what_the_layer_says(scheme):
    """The effective weight of training is `quantize` of the latent ones; estimators act once."""
    model, _ = train(scheme, 3)
    x, y = blobs()
    model.train()
    for parameter in model.parameters():
        parameter.grad = None
    with watch(model) as seen:
        F.cross_entropy(model(x), y).backward()
    for name, layer in binarized_layers(model).items():
        if scheme.key == "binary_connect_stochastic":
            assert set(seen[name].effective.unique().tolist()) == {-1.0, 1.0}
        else:
            assert torch.equal(seen[name].effective, scheme.quantized(layer).values)


@every
def test_description_is_plain_data(scheme):
    description = scheme.description()
    assert json.loads(json.dumps(description)) == description
    assert description["options"] == scheme.options()
    assert schemes.get(scheme.key, **description["options"]).options() == scheme.options()
    for kind, estimator in (
        ("weights", scheme.weight_estimator),
        ("activations", scheme.activation_estimator),
    ):
        curve = description["estimators"][kind]
        assert (curve is None) == (estimator is None)
        if curve is not None:
            x = torch.tensor(curve["x"])
            assert len(x) == 121 and {-2.0, -1.0, 0.0, 1.0, 2.0} <= set(curve["x"])
            assert torch.equal(estimator.forward(x), torch.tensor(curve["forward"]))
            assert torch.equal(estimator.pseudo_gradient(x), torch.tensor(curve["pseudo_gradient"]))


@every
def test_activation_values_are_codes_times_the_step(scheme):
    x = torch.randn(50, 20, generator=generator()) * 2
    y = scheme.activation(x)
    if scheme.activation_step is None:
        assert scheme.activation_codes is None
    else:
        allowed = torch.tensor(scheme.activation_codes) * scheme.activation_step
        assert torch.allclose(y.unique(), allowed.float())
        assert len(scheme.activation_codes) == 2**scheme.activation_bits
    if scheme.activation_estimator is None:
        assert torch.equal(y, x.relu()) and scheme.activation_bits == 32


@every
def test_says_where_it_comes_from(scheme):
    documentation = type(scheme).__doc__
    assert documentation and scheme.title and scheme.equations
    if scheme.key != "full_precision":
        assert "Faithfulness:" in documentation
        assert scheme.authors and scheme.year > 2000 and scheme.reference.startswith("arXiv:")
    for name in scheme.options():
        parameter = scheme.param[name]
        assert parameter.doc and parameter.constant


@every
def test_equations_can_be_typeset(scheme):
    """By matplotlib too, whose LaTeX is a small subset."""
    parser = MathTextParser("path")
    estimators = [scheme.weight_estimator, scheme.activation_estimator]
    for equation in [*scheme.equations, *(e.equation for e in estimators if e is not None)]:
        parser.parse(f"${equation}$")


@every
def test_hyper_parameters_cannot_be_changed_later(scheme):
    for name, value in scheme.options().items():
        others = getattr(scheme.param[name], "objects", [True, False, 0.25, 7])
        with pytest.raises((TypeError, ValueError)):
            setattr(scheme, name, next(other for other in others if other != value))
        assert getattr(scheme, name) == value
