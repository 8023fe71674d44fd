"""What every scheme must do, whatever it is."""

import json
import math

import pytest
import torch
from matplotlib.mathtext import MathTextParser
from support import generator

import bnnlab
from bnnlab import schemes
from bnnlab.nn import BinarizedLinear, networks, watch
from bnnlab.nn.networks import carriers
from bnnlab.training.lane import Lane

VARIANTS = [
    *((name, {}) for name in schemes.names()),
    ("stochastic_neurons", {"slope": "sigmoid"}),
    ("stochastic_neurons", {"stochastic": False}),
    ("binary_connect", {"learning_rate_scale": "glorot"}),
    ("binary_connect_stochastic", {"evaluation": "ensemble", "ensemble": 3}),
    ("binary_connect_stochastic", {"evaluation": "binary"}),
    (
        "bitwise",
        {"inputs": "real", "latent": "raw", "weight_gradient": "tanh", "sparsity": 0.5},
    ),
    ("few_multiplications_binary", {"shift_range": "limited"}),
    ("few_multiplications_ternary", {"quantized_backprop": False}),
    ("bwn", {"granularity": "layer", "grad_rule": "paper"}),
    ("bwn", {"grad_rule": "exact", "centre": True}),
    ("bwn", {"bits": 2, "grad_rule": "exact"}),
    ("xnor_net", {"grad_rule": "exact", "input_scale": True}),
    ("xnor_net", {"bits": 3, "grad_rule": "paper"}),
    ("bnn_stochastic", {"stochastic_weights": True, "learning_rate_scale": "glorot"}),
    ("qnn", {"spacing": "log", "gradient_bits": 6, "gradient_rounding": "log"}),
    ("qnn", {"weight_bits": 1, "activation_bits": 2, "gradient_bits": 4}),
    ("dorefa", {"weight_bits": 2, "activation_bits": 1, "gradient_bits": 4}),
    ("dorefa", {"weight_bits": 3, "activation_bits": 32, "gradient_bits": 1}),
    ("twn", {"granularity": "channel"}),
    ("lab", {"granularity": "channel"}),
    ("lab", {"curvature_from": "hutchinson"}),
    ("lab", {"curvature_from": "fisher"}),
    ("lab", {"curvature_from": "identity"}),
    ("laq", {"spacing": "log"}),
    ("laq", {"alpha_rule": "least_squares", "bits": 5}),
    ("lat", {"solver": "approximate"}),
    ("lab2", {"epsilon": 0.01}),
]
every = pytest.mark.parametrize(
    "scheme", [schemes.get(name, **options) for name, options in VARIANTS], ids=str
)
# The least accuracy on the test set of the digits after 500 steps. Chance is 0.1.
LEAST = 0.9


def blobs(samples=600, features=16, classes=3):
    """Well separated classes: points around `classes` random centres."""
    g = generator(5)
    centres = torch.randn(classes, features, generator=g) * 2
    labels = torch.randint(classes, (samples,), generator=g)
    return centres[labels] + torch.randn(samples, features, generator=g) * 0.5, labels


def lane(scheme, lr=0.005, shape=(16,), classes=3, **network):
    """A lane as the trainer makes it: all layers binarized, unless said otherwise."""
    spec = {"name": "mlp", "width": 48, "depth": 2, "first_and_last": "binarized"}
    spec = network if "name" in network else {**spec, **network}
    settings = {
        "network": spec,
        "shape": shape,
        "inputs": math.prod(shape) if shape else classes,
        "classes": classes,
        "loss": "cross_entropy",
        "optimizer": "adam",
        "lr": lr,
    }
    return Lane(settings, {"name": scheme.key, **scheme.options()}, 1)


def train(scheme, steps, lr=0.005, **network):
    """Train on the blobs with batches of 100."""
    trained, (x, y), order = lane(scheme, lr, **network), blobs(), generator(2)
    for step in range(steps):
        batch = torch.randint(len(x), (100,), generator=order)
        trained.advance(x[batch], y[batch], step / steps)
    return trained


@every
def test_learns_separable_classes(scheme):
    trained = train(scheme, 300)
    assert trained.evaluate(*blobs())[1] >= 0.95


@every
def test_values_are_what_they_claim(scheme):
    w = torch.randn(7, 9, generator=generator()) * 0.3
    before = w.clone()
    q = scheme.quantize(w, second_moment=torch.rand(7, 9, generator=generator()))
    assert torch.equal(w, before)
    assert q.values.shape == w.shape
    in_order = q.values.gather(1, w.argsort(1))
    assert (in_order.diff(dim=1) >= 0).all()  # a larger latent weight is no smaller one
    if q.integers is None:
        assert q.scale is None and q.signs is None and q.mask is None
        return
    assert torch.equal(q.values, q.integers * q.scale)
    assert torch.equal(q.integers, q.integers.round())
    assert len(q.integers.unique()) <= 2**scheme.weight_bits
    assert q.scale.shape in {(7, 1), (1, 1)} and (q.scale > 0).all()
    assert q.scale.numel() == 7 or getattr(scheme, "granularity", "layer") == "layer"
    if q.signs is not None:
        assert set(q.signs.unique().tolist()) <= {-1.0, 1.0}
    if q.mask is not None:
        assert q.mask.dtype == torch.bool and scheme.weight_bits == 2


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
    trained = train(scheme, 2)
    trained.evaluate(*blobs())
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_training_is_reproducible(scheme):
    first, second = train(scheme, 20).state(), train(scheme, 20).state()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every
def test_evaluation_draws_nothing_and_changes_nothing(scheme):
    trained = train(scheme, 3)
    state = {key: value.clone() for key, value in trained.state().items()}
    x = blobs()[0]
    model = trained.network.eval()
    assert torch.equal(networks.scores(model, x), networks.scores(model, x))
    assert all(torch.equal(state[key], value) for key, value in trained.state().items())


@every
def test_clips_latent_weights_after_the_step_and_nothing_else(scheme):
    trained = lane(scheme, lr=0.001)
    with torch.no_grad():
        for parameter in trained.network.parameters():
            parameter.fill_(5.0)
    x, y = blobs()
    trained.advance(x, y)
    for layer in trained.layers.values():
        if scheme.clip is not None and not getattr(scheme, "centre", False):
            assert layer.weight.unique().tolist() == [scheme.clip]
    for name, parameter in trained.network.named_parameters():
        if ".norm." in name:
            assert parameter.min() > 4.9


@every
def test_biases_are_never_clipped(scheme):
    trained = lane(scheme, lr=0.001, batch_norm="off")
    with torch.no_grad():
        for layer in trained.layers.values():
            layer.bias.fill_(5.0)
    x, y = blobs()
    trained.advance(x, y)
    for layer in trained.layers.values():
        assert layer.bias.min() > 4.9


@every
def test_the_step_sees_what_the_layer_says(scheme):
    """The effective weight of training is the deployed one, or a random draw around it."""
    trained = train(scheme, 3)
    x, y = blobs()
    trained.network.train()
    with watch(trained.network) as seen:
        trained.loss(trained.network(x), y).backward()
    for name, layer in trained.layers.items():
        effective, deployed = seen[name].effective.detach(), scheme.quantized(layer)
        if torch.equal(effective, deployed.values):
            continue
        other = scheme.weight(layer).detach()
        assert not torch.equal(effective, other), "neither deployed nor drawn"
        assert len(effective.unique()) <= 2**scheme.weight_bits


@every
def test_what_is_drawn_is_right_on_average(scheme):
    """Where the test takes real weights they are the mean of what training draws.

    4,000 draws of 40 weights; each mean within 5.5 of its standard errors: a rule that is unbiased
    fails in 40 x 4e-8 of all cases, and the draws here are always the same ones.
    """
    layer = BinarizedLinear(8, 5, False, scheme, generator=generator(3))
    layer.initialize(generator(4))
    draws = torch.stack([scheme.weight(layer).detach() for _ in range(4000)])
    deployed = scheme.quantized(layer)
    if torch.equal(draws[0], draws[1]) or deployed.integers is not None:
        return
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - deployed.values).abs() <= 5.5 * error + 1e-6).all()


@every
@pytest.mark.parametrize("batch_norm", ["on", "off"])
def test_survives_inputs_without_news(scheme, batch_norm):
    """Constant inputs, zero inputs, gradients that are zero, one sample where that is possible."""
    trained = lane(scheme, batch_norm=batch_norm)
    y = torch.zeros(8, dtype=torch.int64)
    for x in (torch.ones(8, 16), torch.zeros(8, 16), torch.full((8, 16), -3.0)):
        trained.advance(x, y)
    if batch_norm == "off":
        trained.advance(torch.ones(1, 16), y[:1])
    trained.loss = lambda scores, labels: 0.0 * scores.sum()
    for _ in range(3):
        trained.advance(torch.ones(8, 16), y)
    for name, tensor in trained.state().items():
        if tensor.is_floating_point():
            assert torch.isfinite(tensor).all(), name
    scores = trained.network.eval()(torch.ones(1, 16))
    assert scores.shape == (1, 3) and torch.isfinite(scores).all()


@every
@pytest.mark.parametrize("size", [1e-30, 1e8])
def test_survives_extreme_values(scheme, size):
    trained = lane(scheme)
    x, y = blobs(samples=64)
    for _ in range(3):
        trained.advance(size * x, y)
    with torch.no_grad():
        for layer in trained.layers.values():
            layer.weight.mul_(size)
    values = [scheme.quantized(layer).values for layer in trained.layers.values()]
    assert all(torch.isfinite(value).all() for value in values)
    trained.advance(x, y)


@every
@pytest.mark.parametrize(
    ("name", "shape", "classes", "options"),
    [
        ("lenet", (1, 8, 8), 4, {"channels": 3, "width": 12}),
        ("vgg", (2, 8, 8), 4, {"width_factor": 1 / 64}),
        ("lstm", (), 7, {"hidden": 6}),
    ],
)
def test_trains_on_every_network(scheme, name, shape, classes, options):
    trained = lane(scheme, shape=shape, classes=classes, name=name, **options)
    before = {name: layer.weight.clone() for name, layer in trained.layers.items()}
    for step in range(4):
        if shape:
            x = torch.randn(10, math.prod(shape), generator=generator(step))
            y = torch.randint(classes, (10,), generator=generator(step))
        else:
            x = torch.randint(classes, (10, 5), generator=generator(step))
            y = torch.randint(classes, (10, 5), generator=generator(step + 9))
        trained.advance(x, y, step / 4, looking=True)
    loss, _ = trained.evaluate(x, y)
    assert math.isfinite(loss)
    assert any(not torch.equal(before[n], layer.weight) for n, layer in trained.layers.items())
    assert {module.scheme.key for module in carriers(trained.network)} <= {
        scheme.key,
        "full_precision",
    }


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Every scheme as it stands, trained for 500 steps on the handwritten digits."""
    comparison = bnnlab.Comparison(task="digits", schemes="all", steps=500, probe_every=250,
                                   evaluate_every=250, checkpoint_every=500)  # fmt: skip
    return comparison.run(tmp_path_factory.mktemp("digits") / "all.bnnlab", progress=False)


@pytest.mark.xdist_group("digits")  # or else they would be trained in every process
@pytest.mark.parametrize("name", schemes.names())
def test_learns_the_digits(digits, name):
    end = digits.run(name).end
    assert end["state"] == "done", end
    assert end["test_accuracy"] >= LEAST


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
