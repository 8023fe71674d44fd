"""Convolution, pooling and packing of images against PyTorch's own."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bnnlab.packed import images, kernels


def packed_weights(weights):
    """float (n, channels, height, width) -> panels."""
    taps = images.pack_channels(weights)
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
        got = images.xnor_convolve(
            images.pack_channels(x, isa=isa), packed_weights(w), n, channels, kernel, stride,
            padding, isa=isa,
        )  # fmt: skip
        expected = F.conv2d(x, w, None, stride, padding).permute(0, 2, 3, 1)
        assert np.array_equal(got, expected.numpy().astype(np.int32)), (size, kernel, stride)


# Samples, channels, height, width, outputs; window, stride, padding. Where AMX begins, and how it
# lays out images: whole tiles across, or not; tap by tap, or window by window; in several parts.
LAYOUTS = [
    ((1, 64, 16, 4, 192), (3, 3), (1, 1), (1, 1)),
    ((1, 64, 21, 3, 192), (3, 3), (1, 1), (1, 1)),
    ((2, 64, 14, 14, 48), (3, 3), (1, 1), (1, 1)),
    ((1, 128, 15, 16, 33), (3, 3), (1, 1), (1, 1)),
    ((1, 96, 9, 32, 17), (3, 3), (1, 1), (1, 1)),
    ((1, 65, 8, 8, 128), (3, 3), (1, 1), (1, 1)),
    ((1, 320, 7, 7, 40), (3, 3), (1, 1), (1, 1)),
    ((1, 64, 37, 43, 32), (5, 2), (2, 3), (4, 1)),
    ((1, 160, 40, 41, 31), (2, 3), (3, 2), (0, 2)),
    ((1, 2048, 15, 16, 20), (1, 1), (1, 1), (0, 0)),
    ((1, 31, 90, 94, 17), (4, 4), (4, 4), (3, 3)),
    ((1, 31, 90, 94, 16), (2, 2), (3, 3), (0, 1)),
    ((1, 256, 50, 52, 33), (3, 3), (1, 1), (1, 1)),
    ((1, 192, 64, 48, 16), (3, 3), (2, 1), (1, 1)),
    ((1, 100, 3, 700, 20), (1, 5), (1, 1), (0, 9)),
    ((1, 20, 700, 3, 20), (300, 1), (1, 1), (299, 0)),
]


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding"), LAYOUTS)
def test_images_in_all_ways_to_lay_them_out(sizes, kernel, stride, padding, isa):
    samples, channels, height, width, n = sizes
    generator = torch.Generator().manual_seed(5)
    x = signs(generator, samples, channels, height, width)
    w = signs(generator, n, channels, *kernel)
    image = images.pack_channels(x, isa=isa)
    panels = packed_weights(w)
    got = images.xnor_convolve(image, panels, n, channels, kernel, stride, padding, isa=isa)
    expected = F.conv2d(x, w, None, stride, padding).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(got, expected.astype(np.int32))
    convolve = images.SignConvolution(w / 2, stride, padding, isa=isa)
    assert np.array_equal(convolve(x / 3), got)
    with pytest.raises(ValueError, match=rf"must be \(any, {channels}, any, any\)"):
        convolve(x[:, 1:].contiguous())


def test_one_convolution_serves_images_of_all_sizes_and_several_callers(isa):
    generator = torch.Generator().manual_seed(6)
    w = torch.randn(20, 40, 3, 2, generator=generator)
    convolve = images.SignConvolution(w, [2, 1], [1, 1], isa=isa)

    def expected(x):
        dense = F.conv2d(
            torch.where(x >= 0, 1.0, -1.0), torch.where(w >= 0, 1.0, -1.0), None, (2, 1), 1
        )
        return dense.permute(0, 2, 3, 1).numpy().astype(np.int32)

    sizes = [(2, 9, 7), (1, 4, 11), (0, 5, 5), (3, 9, 7)] * 4
    batches = [torch.randn(n, 40, *size, generator=generator) for n, *size in sizes]
    for x in batches[:4]:
        assert np.array_equal(convolve(x), expected(x))
    spoilt = batches[3].clone()
    spoilt[2, 39, 8, 6] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        convolve(spoilt)
    with ThreadPoolExecutor(4) as callers:
        for x, got in zip(batches, callers.map(convolve, batches), strict=True):
            assert np.array_equal(got, expected(x))
    with pytest.raises(ValueError, match="stands nowhere"):
        convolve(torch.zeros(1, 40, 0, 5))


def test_a_size_seen_before_is_no_excuse_for_what_does_not_fit(isa):
    generator = torch.Generator().manual_seed(7)
    convolve = images.SignConvolution(torch.randn(20, 6, 3, 3, generator=generator), isa=isa)
    x = torch.randn(2, 6, 6, 6, generator=generator).numpy()
    first = convolve(x)
    assert first.flags.aligned and first.ctypes.data % kernels.LINE == 0
    second = convolve(-x)
    assert not np.shares_memory(first, second)
    assert np.array_equal(second, -convolve(x)) and np.array_equal(first, convolve(x))
    with pytest.raises(ValueError, match="x is not contiguous"):
        convolve(x.transpose(0, 1, 3, 2))
    for dtype in (np.float64, np.int32, ">f4"):
        with pytest.raises(TypeError, match="x has dtype"):
            convolve(x.astype(dtype))
    with pytest.raises(TypeError, match="x is a list"):
        convolve(x.tolist())
    x[1, 5, 5, 5] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        convolve(x)


def test_codes_and_groups_are_exactly_conv2d(isa):
    """Codes of several planes, channels in groups, any code around the image."""
    generator, rng = torch.Generator().manual_seed(3), np.random.default_rng(3)
    for _ in range(40):
        samples, n, groups = (int(v) for v in rng.integers(1, (3, 20, 4)))
        channels, planes = int(rng.choice([1, 5, 32, 40])), int(rng.integers(1, 9))
        around, padding = int(rng.integers(0, 2**planes)), tuple(rng.integers(0, 3, 2).tolist())
        kernel, stride = (tuple(rng.integers(1, 4, 2).tolist()) for _ in range(2))
        size = rng.integers(3, 8, 2).tolist()
        codes = torch.randint(
            0, 2**planes, (samples, groups * channels, *size), generator=generator
        )
        w = signs(generator, groups * n, channels, *kernel)
        one_by_one = codes.reshape(samples * groups, channels, *size)
        image = np.stack(
            [
                images.pad(
                    images.pack_channels((one_by_one >> p & 1).float() * 2 - 1, isa=isa),
                    channels, padding, around >> p & 1,
                )
                for p in range(planes)
            ]
        )  # fmt: skip
        image = image.reshape(planes, samples, groups, *image.shape[2:])
        panels = np.stack([packed_weights(of) for of in w.chunk(groups)])
        ones = (w > 0).flatten(1).sum(1).to(torch.int32).reshape(groups, n)
        got = images.convolve(image, panels, n, channels, kernel, stride, ones=ones, isa=isa)
        wide = F.pad(codes.double(), (padding[1],) * 2 + (padding[0],) * 2, value=around)
        expected = F.conv2d(wide, w.double(), None, stride, groups=groups)
        expected = expected.reshape(samples, groups, n, *expected.shape[2:]).permute(0, 1, 3, 4, 2)
        assert np.array_equal(got, expected.numpy().astype(np.int32)), (planes, groups, kernel)


@pytest.mark.parametrize(("value", "sign"), [(0, -1.0), (1, 1.0)])
def test_signs_can_be_padded_with_either(value, sign):
    generator = torch.Generator().manual_seed(4)
    for channels in (3, 32, 33):
        x, w = signs(generator, 2, channels, 4, 5), signs(generator, 7, channels, 3, 3)
        image = images.pad(images.pack_channels(x), channels, (1, 2), value)
        got = images.xnor_convolve(image, packed_weights(w), 7, channels, (3, 3))
        expected = F.conv2d(F.pad(x, (2, 2, 1, 1), value=sign), w).permute(0, 2, 3, 1)
        assert np.array_equal(got, expected.numpy().astype(np.int32))


def test_images_are_packed_channels_innermost(isa):
    rng = np.random.default_rng(1)
    odd = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf], np.float32)
    for channels in (1, 31, 32, 33, 64, 70):
        for height, width in [(1, 1), (3, 5), (4, 4), (5, 7), (1, 33)]:
            x = rng.choice(odd, (2, channels, height, width))
            rows = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(-1, channels)
            expected = kernels.pack_signs(rows, isa="scalar").reshape(2, height, width, -1)
            assert np.array_equal(images.pack_channels(x, isa=isa), expected)
            x[1, channels - 1, height - 1, width - 1] = np.nan
            with pytest.raises(ValueError, match="NaN"):
                images.pack_channels(x, isa=isa)


def test_pooling_is_the_largest_sign():
    generator = torch.Generator().manual_seed(2)
    for size in [(1, 1), (2, 2), (3, 2), (2, 4)]:
        x = signs(generator, 3, 40, 7, 9)
        got = images.max_pool(images.pack_channels(x), size)
        assert np.array_equal(got, images.pack_channels(F.max_pool2d(x, size)))


def test_windows_and_sizes_are_refused():
    image, panels = np.zeros((1, 3, 3, 1), np.uint32), np.zeros((1, 16, 16), np.uint32)
    with pytest.raises(ValueError, match="stands nowhere"):
        images.xnor_convolve(image, panels, 16, 32, (4, 4))
    with pytest.raises(ValueError, match="stands nowhere"):
        images.xnor_convolve(image, panels, 16, 32, (4, 4), (0, 1), (1, 1))
    with pytest.raises(ValueError, match="panels has shape"):
        images.xnor_convolve(image, panels, 16, 32, (3, 3))
    with pytest.raises(ValueError, match="both numbers must be positive"):
        images.max_pool(image, (0, 1))
    one = panels[:, :1].copy()
    with pytest.raises(ValueError, match="codes of more than one need `ones`"):
        images.convolve(np.zeros((2, 1, 1, 3, 3, 1), np.uint32), panels[None], 16, 32, (1, 1))
    with pytest.raises(ValueError, match="codes have none"):
        images.convolve(
            image[None, :, None], one[None], 16, 32, (1, 1), padding=(1, 1),
            ones=np.zeros((1, 16), np.int32),
        )  # fmt: skip
    with pytest.raises(ValueError, match="both numbers must be 0 or more"):
        images.pad(image, 32, (-1, 0), 1)
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
    assert lib.bnnlab_pad(bits, 64, 1, 8, 8, 32, 2**63, 0, 1, bits, 64) == too_large
    assert lib.bnnlab_pad(bits, 63, 1, 8, 8, 32, 0, 0, 1, bits, 64) == bad_length
    assert lib.bnnlab_pad(null, 0, huge, 0, 0, 32, 0, 0, 1, null, 0) == 0
