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


def test_sign_matmul_is_the_same_everywhere_and_close_to_the_truth(isa):
    rng = np.random.default_rng(6)
    for m, n, k in [(1, 100, 1000), (7, 33, 700), (13, 64, 4096), (6, 5, 257)]:
        x = rng.normal(size=(m, k)).astype(np.float32)
        panels = panels_of(b := random_signs(rng, n, k))
        got = kernels.sign_matmul(x, panels, n, isa=isa)
        assert np.array_equal(got, kernels.sign_matmul(x, panels, n, isa="scalar"))
        alone = [kernels.sign_matmul(row[None], panels, n, isa=isa)[0] for row in x]
        assert np.array_equal(got, np.stack(alone))  # a row does not depend on its batch
        truth = x.astype(np.float64) @ b.T
        assert np.abs(got - truth).max() < 1e-6 * np.abs(x).sum(1).max()


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
