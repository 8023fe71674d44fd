"""Products that go straight into bits or numbers, against the two steps one after the other."""

import numpy as np
import pytest

from bnnlab.packed import kernels
from bnnlab.packed.packing import pack_flags


def operands(rng, m, n, k, planes):
    """Codes as bit planes, panels of signs, and their +1 where codes are no signs."""
    codes = rng.integers(0, 2**planes, (m, k)).astype(np.uint8)
    signs = kernels.pack_signs(rng.normal(size=(n, k)).astype(np.float32))
    ones = np.array([sum(int(word).bit_count() for word in row) for row in signs], np.int32)
    return kernels.pack_codes(codes, planes), kernels.pack_panels(signs, k), ones


SHAPES = [
    (1, 1, 1),
    (3, 70, 65),
    (130, 64, 100),
    (129, 130, 33),
    (5, 200, 700),
    (0, 40, 9),
    (4, 0, 9),
]


@pytest.mark.parametrize("planes", [0, 1, 2, 7, 8])
def test_bits_are_those_of_both_steps(isa, planes):
    rng = np.random.default_rng(planes)
    for m, n, k in SHAPES:
        a, panels, ones = operands(rng, m, n, k, planes or 1)
        for levels in (1, 3, 255):
            thresholds = rng.integers(-60, 60, (levels, n)).astype(np.int32)
            flip = pack_flags(rng.random(n) < 0.5)
            sums = (
                kernels.planes_matmul(a, panels, ones, k, isa="scalar")
                if planes
                else kernels.xnor_matmul(a[0], panels, n, k, isa="scalar")
            )
            got = kernels.product_threshold(
                a, panels, k, thresholds, flip, ones if planes else None, isa=isa
            )
            expected = kernels.threshold(sums, thresholds, flip, isa="scalar")
            assert np.array_equal(got, expected), (m, n, k, levels)


@pytest.mark.parametrize("planes", [0, 4])
def test_real_numbers_are_those_of_both_steps(isa, planes):
    rng = np.random.default_rng(10 + planes)
    for m, n, k in SHAPES:
        a, panels, ones = operands(rng, m, n, k, planes or 1)
        scale, shift = rng.normal(size=(2, n)).astype(np.float32)
        sums = (
            kernels.planes_matmul(a, panels, ones, k, isa="scalar")
            if planes
            else kernels.xnor_matmul(a[0], panels, n, k, isa="scalar")
        )
        got = kernels.product_affine(a, panels, k, scale, shift, ones if planes else None, isa=isa)
        assert np.array_equal(got, sums.astype(np.float32) * scale + shift), (m, n, k)


def test_what_does_not_fit_is_refused():
    a, panels, ones = operands(np.random.default_rng(0), 2, 20, 40, 2)
    scale, shift = np.ones(20, np.float32), np.ones(20, np.float32)
    with pytest.raises(ValueError, match="codes of more than one need `ones`"):
        kernels.product_affine(a, panels, 40, scale, shift)
    with pytest.raises(ValueError, match="shift has shape"):
        kernels.product_affine(a, panels, 40, scale, shift[:19], ones)
    with pytest.raises(ValueError, match="there are 256 thresholds"):
        kernels.product_threshold(
            a, panels, 40, np.zeros((256, 20), np.int32), np.zeros(1, np.uint32), ones
        )
    ffi, lib = kernels.ffi, kernels.lib
    bits, ints, floats = ffi.new("uint32_t[64]"), ffi.new("int32_t[64]"), ffi.new("float[64]")
    bad_length, too_large = 1, 2

    def affine(planes=1, m=2, n=16, k=32, ones=ffi.NULL, counts=0, shifts=16, out=32):
        return lib.bnnlab_product_affine(
            0, bits, 2, planes, bits, 16, ones, counts, m, n, k, floats, 16, floats, shifts,
            floats, out,
        )  # fmt: skip

    assert affine() == 0
    assert affine(shifts=15) == affine(out=31) == affine(counts=1) == bad_length
    assert affine(planes=2, m=1, out=16) == bad_length  # codes without ones
    assert affine(ones=ints, counts=15) == bad_length
    assert affine(planes=9) == affine(k=2**31) == affine(m=2**63, k=64) == too_large
