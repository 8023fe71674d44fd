"""Convolution, pooling and packing of images against PyTorch's own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bnnlab.packed import kernels


def packed_weights(weights):
    """float (n, channels, height, width) -> panels."""
    taps = kernels.pack_channels(weights)
    rows = taps.reshape(len(taps), -1)
    return kernels.pack_panels(rows, 32 * rows.shape[1])


def signs(generator, *shape):
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


def test_convolution_is_exactly_conv2d_with_zeros_around(isa):
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    for _ in range(150):
        samples, n = (int(v) for v in rng.integers(1, (4, 40)))
        channels = int(rng.choice([1, 3, 31, 32, 33, 64, 100]))
        kernel, stride = (tuple(int(v) for v in rng.integers(1, 5, 2)) for _ in range(2))
        padding = tuple(int(rng.integers(0, size)) for size in kernel)
        least = [max(1, k - 2 * p) for k, p in zip(kernel, padding, strict=True)]
        size = [int(rng.integers(low, 13)) for low in least]
        x, w = signs(generator, samples, channels, *size), signs(generator, n, channels, *kernel)
        got = kernels.xnor_convolve(
            kernels.pack_channels(x, isa=isa), packed_weights(w), n, channels, kernel, stride,
            padding, isa=isa,
        )  # fmt: skip
        expected = F.conv2d(x, w, None, stride, padding).permute(0, 2, 3, 1)
        assert np.array_equal(got, expected.numpy().astype(np.int32)), (size, kernel, stride)


def test_images_are_packed_channels_innermost(isa):
    rng = np.random.default_rng(1)
    odd = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf], np.float32)
    for channels in (1, 31, 32, 33, 64, 70):
        for height, width in [(1, 1), (3, 5), (4, 4), (5, 7), (1, 33)]:
            x = rng.choice(odd, (2, channels, height, width))
            rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, channels)
            expected = kernels.pack_signs(rows, isa="scalar").reshape(2, height, width, -1)
            assert np.array_equal(kernels.pack_channels(x, isa=isa), expected)
            x[1, channels - 1, height - 1, width - 1] = np.nan
            with pytest.raises(ValueError, match="NaN"):
                kernels.pack_channels(x, isa=isa)


def test_pooling_is_the_largest_sign():
    generator = torch.Generator().manual_seed(2)
    for size in [(1, 1), (2, 2), (3, 2), (2, 4)]:
        x = signs(generator, 3, 40, 7, 9)
        got = kernels.max_pool(kernels.pack_channels(x), size)
        assert np.array_equal(got, kernels.pack_channels(F.max_pool2d(x, size)))


def test_windows_and_sizes_are_refused():
    image, panels = np.zeros((1, 3, 3, 1), np.uint32), np.zeros((1, 16, 16), np.uint32)
    with pytest.raises(ValueError, match="stands nowhere"):
        kernels.xnor_convolve(image, panels, 16, 32, (4, 4))
    with pytest.raises(ValueError, match="stands nowhere"):
        kernels.xnor_convolve(image, panels, 16, 32, (4, 4), (0, 1), (1, 1))
    with pytest.raises(ValueError, match="panels has shape"):
        kernels.xnor_convolve(image, panels, 16, 32, (3, 3))
    with pytest.raises(ValueError, match="both numbers must be positive"):
        kernels.max_pool(image, (0, 1))
    lib, ffi = kernels.lib, kernels.ffi
    bits, ints, null = ffi.new("uint32_t[64]"), ffi.new("int32_t[64]"), ffi.NULL
    bad_length, too_large, bad_window = 1, 2, 5
    huge = 2**64 - 1

    def convolve(size, channels, *window, samples=1, length=4):
        window = ffi.new("struct bnnlab_window *", window)
        return lib.bnnlab_xnor_convolve(
            0, bits, length, samples, *size, channels, window, bits, 64, 1, ints, 1
        )

    assert convolve((2, 2), 32, 2, 2, 1, 1, 0, 0) == 0
    assert convolve((2, 2), 32, 2, 2, 1, 1, 0, 0, length=5) == bad_length
    assert convolve((2, 2), 32, 2, 2, 1, 1, huge, 0) == bad_window
    assert convolve((2, 2), 32, 0, 2, 1, 1, 0, 0) == bad_window
    assert convolve((2, 2), huge, 2, 2, 1, 1, 0, 0) == too_large
    assert convolve((2**33, 2**33), 32, 2, 2, 1, 1, 0, 0) == too_large
    assert convolve((2, 2), 32, 2, 2, 1, 1, 2**62, 2**62) == too_large
    assert lib.bnnlab_pack_channels(0, null, 0, 0, huge, 2, null, 0) == 0
    assert lib.bnnlab_pack_channels(0, null, 0, 2**32, 2**32, 2, null, 0) == too_large
    assert lib.bnnlab_max_pool(null, 0, huge, 1, 1, 0, 1, 1, null, 0) == 0
    assert lib.bnnlab_max_pool(bits, 64, 2**33, 2**33, 1, 1, 1, 1, bits, 64) == too_large
