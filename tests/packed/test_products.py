"""Products, windows and levels against PyTorch on shapes and integers that hypothesis chooses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import bnnlab
from bnnlab import nn
from bnnlab.nn.networks.feedforward import Block, Feedforward, Stage
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.lstm import SignColumns
from bnnlab.packed.packing import pack_codes, unpack_codes
from bnnlab.packed.products import SignProduct
from bnnlab.packed.window import Window, max_pool
from bnnlab.schemes.base import Quantized, Scheme
from bnnlab.schemes.estimators import Estimator, identity, sign

CASES = settings(max_examples=120, deadline=None)

CODES = st.one_of(
    st.just(SIGNS),
    st.integers(1, 8).map(lambda k: tuple(range(2**k))),
    st.integers(1, 60).map(lambda n: tuple(range(-n, n + 1))),
    st.integers(0, 9).map(lambda n: (*(-(2**j) for j in range(n, -1, -1)), 0, 1)),
    st.sets(st.integers(-700, 700), min_size=2, max_size=40).map(lambda s: tuple(sorted(s))),
)
TABLES = st.one_of(
    st.just(SIGNS),
    st.just(TERNARY),
    st.integers(2, 8).map(lambda k: tuple(range(1 - 2**k, 2**k, 2))),
    st.integers(1, 7).flatmap(
        lambda bits: st.lists(st.integers(-300, 300), min_size=2**bits, max_size=2**bits).map(tuple)
    ),
)


@st.composite
def windows(draw):
    channels = draw(st.sampled_from([1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 70]))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    if draw(st.booleans()):
        return Window.whole(channels, height, width)
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    padding = draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    window = Window(channels, height, width, kernel, stride, padding)
    return window if min(window.places) else Window.whole(channels, height, width)


def convolved(x, weights, window):
    """PyTorch's sums in float64, (samples, down, across, outputs)."""
    sums = F.conv2d(
        torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2),
        torch.tensor(weights, dtype=torch.float64),
        None,
        window.stride,
        window.padding,
    )
    return sums.permute(0, 2, 3, 1).numpy()


def product_of(rng, table, window, codes, outputs):
    """A product of random weights, and these, (outputs, channels, height, width)."""
    patterns = rng.integers(0, len(table), (outputs, window.inputs)).astype(np.uint8)
    if table == TERNARY:
        patterns[patterns == 1] = 0  # no sign where there is no weight
    levels = Levels(table)
    planes = pack_codes(patterns, levels.bits)
    rows = np.array(table)[patterns].reshape(outputs, *window.kernel, window.channels)
    return SignProduct(planes, levels, window, codes), planes, rows.transpose(0, 3, 1, 2)


@CASES
@given(windows(), CODES, TABLES, st.integers(1, 40), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_sums_of_codes_are_exact(window, codes, table, outputs, samples, seed):
    rng = np.random.default_rng(seed)
    product, planes, weights = product_of(rng, table, window, Codes(codes, 1.0), outputs)
    index = rng.integers(0, len(codes), (samples, window.height, window.width, window.channels))
    bits = pack_codes(index, (len(codes) - 1).bit_length())
    given = Codes(codes, 1.0).from_indices(bits, window.channels)
    sums = product(given)
    assert sums.dtype == np.int32
    assert np.array_equal(sums, convolved(np.array(codes)[index], weights, window))
    stored = product.arrays()
    again = np.stack([stored[key] for key in ("signs", "mask") if key in stored] or stored["codes"])
    levels = np.array(table)
    assert np.array_equal(  # another pattern may stand for the same level
        levels[unpack_codes(again, window.inputs)], levels[unpack_codes(planes, window.inputs)]
    )
    assert product.weight_bytes == again.nbytes


@CASES
@given(windows(), TABLES, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_sums_of_real_inputs_agree_up_to_rounding(window, table, outputs, seed):
    rng = np.random.default_rng(seed)
    product, _, weights = product_of(rng, table, window, None, outputs)
    x = rng.normal(size=(2, window.height, window.width, window.channels)).astype(np.float32)
    expected = convolved(x, weights, window)
    limit = 1e-6 * np.abs(table).max() * max(1.0, window.inputs**0.5)
    np.testing.assert_allclose(product(x), expected, rtol=1e-5, atol=8 * limit)


@CASES
@given(TABLES)
def test_levels_are_half_sums_of_signs(table):
    levels = Levels(table)
    signs = (levels.sign_codes[:, None] >> np.arange(len(levels.factors))) & 1
    twice = ((2 * signs - 1) * np.array(levels.factors)).sum(1)
    assert np.array_equal(twice * levels.gap, 2 * np.array(table))
    again = levels.patterns(levels.sign_codes)
    assert np.array_equal(np.array(table)[again], table)
    assert len(levels.factors) == (2 * levels.largest // levels.gap).bit_length()


def test_bits_have_the_planes_that_they_must():
    assert [Levels(t).factors for t in (SIGNS, TERNARY, (-3, -1, 1, 3))] == [(1,), (1, 1), (1, 2)]
    assert [Levels(t).bits for t in (SIGNS, TERNARY, tuple(range(8)))] == [1, 2, 3]
    assert [Codes(c, 1.0).planes for c in (SIGNS, (0, 1, 2, 3), (-1, 0, 1))] == [1, 2, 2]


@CASES
@given(CODES, st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_codes_there_and_back(codes, k, seed):
    rng, step = np.random.default_rng(seed), 1 / 3
    index = rng.integers(0, len(codes), (2, 3, k))
    known = Codes(codes, step)
    planes = known.from_indices(pack_codes(index, (len(codes) - 1).bit_length()), k)
    assert len(planes) == known.planes
    assert np.array_equal(known.values(planes, k), (np.array(codes)[index] * step).astype("f4"))


@CASES
@given(TABLES, st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_symbols_take_columns(table, symbols, outputs, seed):
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, len(table), (outputs, symbols)).astype(np.uint8)
    columns = SignColumns(pack_codes(patterns, Levels(table).bits), Levels(table), symbols)
    x = rng.integers(0, symbols, 9)
    assert np.array_equal(columns(x), np.array(table, np.float32)[patterns[:, x].T])


@CASES
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
def test_pooling_is_pytorch_s(height, width, down, across):
    down, across = min(down, height), min(across, width)
    x = np.random.default_rng(0).integers(-50, 50, (2, height, width, 3))
    expected = F.max_pool2d(torch.tensor(x).double().permute(0, 3, 1, 2), (down, across))
    assert np.array_equal(max_pool(x, (down, across)), expected.permute(0, 2, 3, 1).numpy())


class Grid(Estimator):
    """The nearest of some integers times a step."""

    name = title = equation = "grid"

    def __init__(self, codes, step):
        self.codes, self.step = torch.tensor(codes, dtype=torch.float32), step

    def forward(self, x):
        middles = (self.codes[1:] + self.codes[:-1]) / 2
        return self.codes[torch.searchsorted(middles, x.contiguous() / self.step)] * self.step

    def pseudo_gradient(self, x):
        return torch.ones_like(x)


class Toy(Scheme):
    """Integer weights and integer activations of any kind."""

    key, weight_estimator = "toy", identity
    weight_bits = 3

    def __init__(self, codes=SIGNS, largest=3, scaled="layer", bipolar=False):
        super().__init__()
        self.chosen, self.largest, self.scaled, self.bipolar = codes, largest, scaled, bipolar
        self.activation_step, self.activation_codes = 0.25, codes
        self.activation_estimator = Grid(codes, 0.25)
        self.input_step, self.input_codes = (1.0, SIGNS) if bipolar else (None, None)

    def input(self, x):
        return sign(x - 0.3) if self.bipolar else x

    def quantize(self, w, second_moment=None, generator=None):
        unit = w / w.abs().max().clamp_min(1e-9)
        codes = torch.round(unit * self.largest)
        scale = w.new_full((1,) * w.ndim, 0.125)
        if self.scaled == "channel":
            scale = w.abs().amax(tuple(range(1, w.ndim)), keepdim=True)
        return Quantized(codes * scale, scale=scale, codes=codes)


class Odd(Feedforward):
    """A network whose windows are of any kind."""

    @classmethod
    def plan(cls, shape, outputs, **options):
        channels, height, width = shape
        return [
            Stage("conv1", (5, channels, 3, 3)),
            Stage("conv2", (17, 5, 3, 3)),
            Stage("output", (outputs, 17 * height * width)),
        ]


@settings(max_examples=60, deadline=None)
@given(
    CODES,
    st.sampled_from([1, 2, 3, 7]),
    st.sampled_from(["layer", "channel"]),
    st.booleans(),
    st.sampled_from(["on", "off", "shift"]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.integers(0, 2**31),
)
def test_any_window_and_any_codes(codes, largest, scaled, bipolar, norm, stride, padding, seed):
    scheme = Toy(codes, largest, scaled, bipolar)
    generator = torch.Generator().manual_seed(seed)
    sizes = [(7 + 2 * p - 3) // s + 1 for p, s in zip(padding, stride, strict=True)]

    class Here(Odd):
        @classmethod
        def plan(cls, shape, outputs, **options):
            return [
                *Odd.plan((shape[0], 7, 7), outputs)[:2],
                Stage("output", (outputs, 17 * sizes[0] * sizes[1])),
            ]

    model = Here((2, 7, 7), 4, scheme=scheme, batch_norm=norm, generator=generator)
    block = model.conv2
    assert isinstance(block, Block) and isinstance(block.layer, nn.BinarizedConv2d)
    block.layer.stride, block.layer.padding = stride, padding
    x = (torch.randint(0, 17, (12, 98), generator=generator) - 8).float() / 8
    with torch.no_grad():
        model(x)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and "conv" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        model.eval()
        seen = [x.reshape(-1, 2, 7, 7)]
        for name in ("conv1", "conv2"):
            seen.append(model.get_submodule(name)(seen[-1]))
        expected = model(x)
    packed = bnnlab.pack(model)
    got = packed.hidden(x)
    for name, values in zip(("conv1", "conv2"), seen[1:], strict=True):
        assert np.array_equal(got[name], values.numpy()), name
    limit = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(packed(x), expected, rtol=0, atol=limit)
    assert packed.payload == bnnlab.summary(model).total.bytes


@pytest.mark.parametrize("norm", ["on", "off"])
def test_sums_too_large_for_integers_are_real(norm, tmp_path):
    codes = tuple(2**j for j in range(16))
    model = nn.MLP(64, 4, 120, 2, scheme=Toy(codes, 100), batch_norm=norm)
    # On a grid on which the first layer's sums are exact: else a code may tip over by rounding.
    x = (torch.randint(0, 17, (30, 64), generator=torch.Generator().manual_seed(0)) - 8).float() / 8
    with torch.no_grad():
        model(x)
        expected = model.eval()(x)
    packed = bnnlab.pack(model)
    assert isinstance(packed.layers[1].product, SignProduct)
    assert packed.layers[1].product.bound is None and packed.layers[1].product.given is not None
    limit = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(packed(x), expected, rtol=0, atol=limit)
    packed.save(tmp_path / "packed.safetensors")
    assert torch.equal(bnnlab.load_packed(tmp_path / "packed.safetensors")(x), packed(x))


def test_weights_of_too_many_levels_stay_real():
    model = nn.MLP(64, 4, 16, 1, scheme=Toy(SIGNS, 1000), batch_norm="off").eval()
    row = bnnlab.summary(model).rows[0]
    assert row.weight_bits in (8, 32)
    with torch.no_grad():
        model.hidden1.layer.weight.copy_(torch.linspace(-1, 1, 64 * 16).reshape(16, 64))
        x = torch.randn(5, 64)
        expected = model(x)
    assert bnnlab.summary(model).rows[0].weight_bits == 32
    torch.testing.assert_close(bnnlab.pack(model)(x), expected, rtol=1e-4, atol=1e-4)


class Halved(Toy):
    """Takes the inputs apart with a function of its own that gives real numbers."""

    def input(self, x):
        return x / 2 - x.mean(1, keepdim=True)


@pytest.mark.parametrize("kind", [nn.MLP, nn.LeNet])
def test_what_a_scheme_makes_of_its_inputs_is_made(kind):
    shape = (2, 8, 8)
    model = kind(shape, 4, scheme=Halved((-1, 0, 1)), batch_norm="off").eval()
    x = torch.randn(20, 128)
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(bnnlab.pack(model)(x), expected, rtol=1e-5, atol=1e-5)
