"""Every kernel and instruction set against plain numpy, over random and adversarial shapes."""

import numpy as np
import pytest

from bnnlab.packed import kernels
from bnnlab.packed.packing import keys, pack_flags

EDGES = [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 127, 128, 129, 255, 256, 257, 1000]
CASES = 1500


def shapes(rng, rows=12, columns=150, inputs=400):
    """Shapes (m, n, k): all pairs of edges once, then random ones."""
    for n in EDGES[:15]:
        for k in EDGES:
            yield int(rng.integers(0, 8)), n, k
    for _ in range(CASES):
        yield (int(rng.integers(0, high + 1)) for high in (rows, columns, inputs))


def reference_bits(flags):
    """bool (..., k) -> uint32 (..., words), the plain way."""
    k = flags.shape[-1]
    padded = np.zeros((*flags.shape[:-1], kernels.words(k) * 32), np.uint64)
    padded[..., :k] = flags
    grouped = padded.reshape(*flags.shape[:-1], kernels.words(k), 32)
    return (grouped << np.arange(32, dtype=np.uint64)).sum(-1).astype(np.uint32)


def random_signs(rng, rows, k):
    kind = rng.integers(4)
    if kind == 0:
        return np.full((rows, k), rng.choice([-1, 1]))
    return rng.choice([-1, 1], (rows, k))


def panels_of(signs):
    return kernels.pack_panels(reference_bits(signs > 0), signs.shape[1])


def test_pack_signs_is_the_plain_reference(isa):
    rng = np.random.default_rng(0)
    odd = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, 3.4e38, -1.0], np.float32)
    for m, _, k in shapes(rng):
        x = rng.normal(size=(m, k)).astype(np.float32)
        x = np.where(rng.random((m, k)) < 0.3, rng.choice(odd, (m, k)), x)
        assert np.array_equal(kernels.pack_signs(x, isa=isa), reference_bits(x >= 0)), (m, k)


def test_minus_zero_is_plus_one_and_agrees_with_torch(isa):
    import torch

    from bnnlab.schemes.estimators import sign

    x = torch.tensor([[-0.0, 0.0, -1e-45, 1e-45] * 9])
    bits = kernels.pack_signs(x, isa=isa)
    assert np.array_equal(bits, reference_bits(sign(x).numpy() > 0))
    assert bits[0, 0] == 0xBBBBBBBB


@pytest.mark.parametrize("k", [1, 7, 8, 16, 31, 32, 33, 64, 100])
def test_a_nan_anywhere_is_refused(isa, k):
    flip, thresholds = np.zeros(kernels.words(k), np.uint32), np.zeros((1, k), np.int32)
    panels = panels_of(np.ones((3, k)))
    for place in range(k):
        for nan in (np.nan, -np.nan):
            x = np.zeros((2, k), np.float32)
            x[1, place] = nan
            with pytest.raises(ValueError, match="NaN"):
                kernels.pack_signs(x, isa=isa)
            with pytest.raises(ValueError, match="NaN"):
                kernels.sign_matmul(x, panels, 3, isa=isa)
            with pytest.raises(ValueError, match="NaN"):
                kernels.threshold(x, thresholds, flip, isa=isa)


def test_pack_codes_is_the_plain_reference(isa):
    rng = np.random.default_rng(1)
    for m, _, k in shapes(rng):
        planes = int(rng.integers(1, 9))
        codes = rng.integers(0, 2**planes, (m, k)).astype(np.uint8)
        expected = reference_bits((codes >> np.arange(planes)[:, None, None]) & 1 != 0)
        assert np.array_equal(kernels.pack_codes(codes, planes, isa=isa), expected), (m, k, planes)


def test_xnor_matmul_is_exact(isa):
    rng = np.random.default_rng(2)
    for m, n, k in shapes(rng):
        a, b = random_signs(rng, m, k), random_signs(rng, n, k)
        got = kernels.xnor_matmul(reference_bits(a > 0), panels_of(b), n, k, isa=isa)
        assert got.dtype == np.int32
        assert np.array_equal(got, a @ b.T), (m, n, k)


def test_xnor_matmul_of_long_rows(isa):
    """Beyond what one byte counts, and beyond one block of anything."""
    rng = np.random.default_rng(3)
    for k in (31 * 32, 31 * 32 + 1, 62 * 32 - 1, 9999, 40000):
        a, b = random_signs(rng, 7, k), random_signs(rng, 70, k)
        b[0] = -a[0]  # every bit differs
        got = kernels.xnor_matmul(reference_bits(a > 0), panels_of(b), 70, k, isa=isa)
        assert np.array_equal(got, a @ b.T), k


def test_planes_matmul_is_exact(isa):
    rng = np.random.default_rng(4)
    for m, n, k in shapes(rng):
        planes = int(rng.integers(1, 9))
        codes = rng.integers(0, 2**planes, (m, k))
        if rng.integers(4) == 0:
            codes[:] = 2**planes - 1
        b = random_signs(rng, n, k)
        bits = reference_bits((codes >> np.arange(planes)[:, None, None]) & 1 != 0)
        ones = (b > 0).sum(1).astype(np.int32)
        got = kernels.planes_matmul(bits, panels_of(b), ones, k, isa=isa)
        assert np.array_equal(got, codes @ b.T), (m, n, k, planes)


def test_bytes_matmul_is_exact(isa):
    rng = np.random.default_rng(7)
    for m, n, k in shapes(rng):
        codes = rng.integers(0, 256, (m, k)).astype(np.uint8)
        if rng.integers(4) == 0:
            codes[:] = 255
        b = random_signs(rng, n, k)
        got = kernels.bytes_matmul(codes, panels_of(b), n, isa=isa)
        assert np.array_equal(got, codes.astype(int) @ b.T), (m, n, k)


def test_sign_matmul_is_exact_on_a_dyadic_grid(isa):
    rng = np.random.default_rng(5)
    for m, n, k in shapes(rng):
        x = (rng.integers(-128, 128, (m, k)) / 128).astype(np.float32)
        b = random_signs(rng, n, k)
        got = kernels.sign_matmul(x, panels_of(b), n, isa=isa)
        assert np.array_equal(got, x @ b.T.astype(np.float64)), (m, n, k)


def fixed_point(x, b):
    """The product as bnnlab_kernels.h promises it, in integers. x (m, k), b (n, k) of +-1."""
    largest = np.maximum(np.abs(x).max(1, initial=0, keepdims=True), np.float32(2.0**-126))
    exponent = np.frexp(largest)[1].astype(int) - 1
    q = np.rint(np.ldexp(x.astype(np.float64), 28 - exponent)).astype(np.int64)
    return np.ldexp((q @ b.T.astype(np.int64)).astype(np.float64), exponent - 28).astype(np.float32)


def awkward(rng, m, k):
    """Rows of floats of many sizes: a few large ones, denormals, the largest there are, zeros."""
    x = rng.normal(size=(m, k)).astype(np.float32)
    kind = rng.integers(6)
    if kind == 0:
        x *= np.exp2(rng.integers(-40, 40, (m, k))).astype(np.float32)
    elif kind == 1:
        x = np.where(rng.random((m, k)) < 0.01, x * np.float32(1e20), x)
    elif kind == 2:
        x = (rng.integers(-50, 50, (m, k)) * 2.0**-149).astype(np.float32)
    elif kind == 3:
        x = rng.choice(np.array([3.4028235e38, -3.4028235e38, 0.0, 1e-45], np.float32), (m, k))
    elif kind == 4:
        x[:] = 0.0
    return x


def test_sign_matmul_is_its_fixed_point_sum(isa):
    rng = np.random.default_rng(6)
    large = [
        (1, 4200, 70),
        (2, 40, 4500),
        (3, 33, 2049),
        (40, 100, 513),
        (140, 17, 600),
        (9, 5, 17000),
    ]
    for m, n, k in [*large, *list(shapes(rng))[:400:2]]:
        x, b = awkward(rng, m, k), random_signs(rng, n, k)
        panels = panels_of(b)
        got = kernels.sign_matmul(x, panels, n, isa=isa)
        with np.errstate(over="ignore"):
            assert np.array_equal(got, fixed_point(x, b)), (m, n, k)
        if m > 1:  # a row does not depend on its batch
            assert np.array_equal(got[-1:], kernels.sign_matmul(x[-1:], panels, n, isa=isa))


def test_sign_matmul_is_closer_to_the_truth_than_float_sums(isa):
    rng = np.random.default_rng(9)
    x, b = rng.normal(size=(13, 4096)).astype(np.float32), random_signs(rng, 64, 4096)
    got, truth = kernels.sign_matmul(x, panels_of(b), 64, isa=isa), x.astype(np.float64) @ b.T
    largest = np.abs(x).max(1, keepdims=True)
    assert (np.abs(got - truth) <= 2.0**-24 * np.abs(truth) + 4096 * 2.0**-29 * largest).all()
    assert np.abs(got - truth).mean() < np.abs(x @ b.T.astype(np.float32) - truth).mean()


def test_infinities_go_through_sign_matmul(isa):
    x, b = np.ones((9, 70), np.float32), np.ones((3, 70))
    b[1, 40] = -1
    b[2] = -1
    x[4, 40], x[5, 40] = np.inf, -np.inf
    x[6, [3, 40]] = np.inf
    got = kernels.sign_matmul(x, panels_of(b), 3, isa=isa)
    assert np.array_equal(got[4], [np.inf, -np.inf, -np.inf])
    assert np.array_equal(got[5], [-np.inf, np.inf, np.inf])
    assert np.array_equal(got[6], [np.inf, np.nan, -np.inf], equal_nan=True)
    assert np.array_equal(np.delete(got, [4, 5, 6], 0), np.tile([70, 68, -70], (6, 1)))


def test_threshold_counts_levels(isa):
    rng = np.random.default_rng(7)
    for m, n, _ in shapes(rng):
        levels = 1 if rng.integers(2) else int(rng.integers(1, 256))
        real = bool(rng.integers(2))
        thresholds = rng.integers(-20, 21, (levels, n)).astype(np.int32)
        thresholds[rng.random((levels, n)) < 0.1] = 2**31 - 1
        thresholds[rng.random((levels, n)) < 0.1] = -(2**31)
        flip = rng.random(n) < 0.4
        values = rng.integers(-25, 26, (m, n)).astype(np.int32)
        compared = values
        if real:
            values = (values / 8).astype(np.float32)
            thresholds = keys((thresholds / 8).astype(np.float32))
            compared = keys(values)
        code = (compared[:, None] >= thresholds).sum(1)
        code = np.where(flip, levels - code, code)
        planes = levels.bit_length()
        expected = reference_bits((code >> np.arange(planes)[:, None, None]) & 1 != 0)
        got = kernels.threshold(values, thresholds, pack_flags(flip), isa=isa)
        assert np.array_equal(got, expected), (m, n, levels, real)


def test_infinities_pass_a_real_threshold(isa):
    values = np.array([[np.inf, -np.inf]], np.float32)
    always, never = -(2**31), 2**31 - 1
    for level, expected in [(0, 0b01), (always, 0b11), (never, 0b00)]:
        got = kernels.threshold(
            values, np.full((1, 2), level, np.int32), np.zeros(1, np.uint32), isa=isa
        )
        assert got[0, 0, 0] == expected
