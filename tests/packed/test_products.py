"""Products, windows and levels against PyTorch on shapes and integers that hypothesis chooses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import bnnlab
from bnnlab import nn
from bnnlab.nn.networks.feedforward import Block, Feedforward, Stage
from bnnlab.packed import NotPackable, PackedModel
from bnnlab.packed.layers import PackedLayer
from bnnlab.packed.levels import SIGNS, TERNARY, Codes, Levels
from bnnlab.packed.lstm import SignColumns
from bnnlab.packed.packing import keys, pack_codes, unpack_codes
from bnnlab.packed.products import FloatProduct, SignProduct
from bnnlab.packed.stages import Affine, Entry
from bnnlab.packed.window import Window
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


def product_of(rng, table, window, codes, outputs, first=False):
    """A product of random weights, and these, (outputs, channels, height, width)."""
    patterns = rng.integers(0, len(table), (outputs, window.inputs)).astype(np.uint8)
    if table == TERNARY:
        patterns[patterns == 1] = 0  # no sign where there is no weight
    levels = Levels(table)
    planes = pack_codes(patterns, levels.bits)
    rows = np.array(table)[patterns].reshape(outputs, *window.kernel, window.channels)
    product = SignProduct(planes, levels, window, codes, first)
    return product, planes, rows.transpose(0, 3, 1, 2)


def alone(product, window, codes=None):
    """A network of one product: float32 images to its sums. Codes are asked for by their place."""
    entry = Entry(window.channels)
    if codes is not None:
        places = np.arange(len(codes.codes) - 1, dtype=np.float32) + np.float32(0.5)
        entry = Entry(window.channels, codes, keys(places))
    layer = PackedLayer("sums", "conv", product, Affine(np.ones(1, "f4"), np.zeros(1, "f4")))
    return PackedModel([layer], (window.channels, window.height, window.width), entry)


@CASES
@given(windows(), CODES, TABLES, st.integers(1, 80), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_sums_of_codes_are_exact(window, codes, table, outputs, samples, seed):
    rng = np.random.default_rng(seed)
    product, planes, weights = product_of(rng, table, window, Codes(codes, 1.0), outputs)
    assume(product.bound is not None)  # larger ones are sums of real numbers
    index = rng.integers(0, len(codes), (samples, window.channels, window.height, window.width))
    sums = alone(product, window, Codes(codes, 1.0)).hidden(index.astype(np.float32))["sums"]
    given = np.array(codes)[index].transpose(0, 2, 3, 1)
    expected = convolved(given, weights, window).transpose(0, 3, 1, 2)
    assert np.array_equal(sums, expected.astype(np.float32))
    stored = product.arrays()
    again = np.stack([stored[key] for key in ("signs", "mask") if key in stored] or stored["codes"])
    levels = np.array(table)
    assert np.array_equal(  # another pattern may stand for the same level
        levels[unpack_codes(again, window.inputs)], levels[unpack_codes(planes, window.inputs)]
    )
    assert product.weight_bytes == again.nbytes


@CASES
@given(windows(), TABLES, st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_sums_of_real_inputs_agree_up_to_rounding(window, table, outputs, seed):
    rng = np.random.default_rng(seed)
    product, _, weights = product_of(rng, table, window, None, outputs)
    x = rng.normal(size=(2, window.height, window.width, window.channels)).astype(np.float32)
    expected = convolved(x, weights, window).transpose(0, 3, 1, 2)
    limit = 1e-6 * np.abs(table).max() * max(1.0, window.inputs**0.5)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    sums = alone(product, window).hidden(images)["sums"]
    np.testing.assert_allclose(sums, expected, rtol=1e-5, atol=8 * limit)


@CASES
@given(
    windows(),
    TABLES,
    st.integers(1, 80),
    st.integers(-300, 0),
    st.integers(0, 4),
    st.integers(0, 2**32 - 1),
)
def test_sums_of_numbers_on_a_grid_are_those_of_the_numbers(
    window, table, outputs, low, shift, seed
):
    """First layers multiply them as bytes; at the border there are zeros, which are on no grid."""
    rng = np.random.default_rng(seed)
    product, _, weights = product_of(rng, table, window, None, outputs, first=True)
    assert product.totals is not None
    shape = (2, window.height, window.width, window.channels)
    x = ((low + rng.integers(0, 256, shape) * 2**shift) / 256).astype(np.float32)
    expected = convolved(x, weights, window).transpose(0, 3, 1, 2)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    sums = alone(product, window).hidden(images)["sums"]
    if np.abs(x).max() * 256 * sum(Levels(table).factors) * window.inputs < 2**24:
        assert np.array_equal(sums, expected.astype(np.float32))
    else:
        scale = float(np.abs(expected).max()) + 1
        np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-5 * scale)


@CASES
@given(windows(), st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_sums_of_real_weights_agree_up_to_rounding(window, outputs, seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(outputs, window.channels, *window.kernel)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32)
    product = FloatProduct(weights, bias, window)
    x = rng.normal(size=(2, window.channels, window.height, window.width)).astype(np.float32)
    expected = convolved(x.transpose(0, 2, 3, 1), weights, window) + bias
    sums = alone(product, window).hidden(x)["sums"]
    limit = 1e-6 * max(1.0, window.inputs**0.5)
    np.testing.assert_allclose(sums, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=8 * limit)
    assert np.array_equal(product.arrays()["weights"], weights)


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
@given(TABLES, st.integers(1, 70), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_columns_are_kept_as_they_were(table, symbols, outputs, seed):
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, len(table), (outputs, symbols)).astype(np.uint8)
    planes = pack_codes(patterns, Levels(table).bits)
    columns = SignColumns(planes, Levels(table), symbols)
    kept = columns.arrays()
    again = np.stack([kept[key] for key in ("signs", "mask") if key in kept] or kept["codes"])
    assert np.array_equal(again, planes)
    assert np.array_equal(unpack_codes(columns.columns, outputs), patterns.T)


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


class Bent(Toy):
    """Has a real activation of its own."""

    def activation(self, x, module=None):
        return x.sin()


def test_functions_that_the_kernels_do_not_know_are_refused():
    def refused(scheme, why):
        model = nn.MLP((2, 8, 8), 4, scheme=scheme, batch_norm="off")
        with pytest.raises(NotPackable, match=why):
            bnnlab.pack(model)

    refused(Halved((-1, 0, 1)), "toy makes real numbers of its inputs with a function of its own")
    refused(Bent((-1, 0, 1)), "hidden1: toy has an activation of its own")
