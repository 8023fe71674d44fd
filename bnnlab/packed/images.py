"""Kernels of images: packing channels, direct convolution, padding and pooling of bits.

Images are packed with the channels of a pixel together, uint32 (samples, height, width,
words(channels)); see `bnnlab.packed.kernels` for the rest.
"""

import math
from typing import Any

import numpy as np

from bnnlab.packed.kernels import (
    FLOAT32,
    INT32,
    LANES,
    LINE,
    UINT32,
    WORD,
    aligned,
    as_array,
    buffer,
    check,
    ffi,
    isa_number,
    lib,
    pack_panels,
    require,
    to_line,
    words,
)

_BYTES = INT32.itemsize
_LINE = LINE // _BYTES  # sums in a cache line


def pack_channels(x: Any, *, isa: str | None = None) -> np.ndarray:
    """Signs of images, float32 (samples, channels, height, width), with the channels innermost.

    Returns:
        uint32 (samples, height, width, words(channels)); sign(-0.0) is +1.

    Raises:
        ValueError: there is a NaN.
    """
    number = isa_number(isa)
    x = as_array("x", x, FLOAT32, None, None, None, None)
    samples, channels, height, width = x.shape
    bits = np.empty((samples, height, width, words(channels)), UINT32)
    check(
        lib.bnnlab_pack_channels(
            number,
            *buffer("float[]", x),
            samples,
            channels,
            height * width,
            *buffer("uint32_t[]", bits),
        )
    )
    return bits


def xnor_convolve(
    image: Any,
    panels: Any,
    n: int,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    *,
    isa: str | None = None,
) -> np.ndarray:
    """Convolve signs with signs, exactly; zeros surround the image.

    Args:
        image: uint32 (samples, height, width, words(channels)).
        panels: panels of n rows of taps * words(channels) * 32 signs, in the order tap row, tap
            column, channel, where each tap begins with a word.
        n: outputs.
        channels: channels of the image.
        kernel: taps down and across.
        stride: pixels from one window to the next, down and across.
        padding: zeros on each side, above and below, left and right.
        isa: the instruction set to use.

    Returns:
        int32 (samples, down, across, n).

    Raises:
        ValueError: the window stands nowhere on the image.
    """
    number, deep = isa_number(isa), words(channels)
    image = as_array("image", image, UINT32, None, None, None, deep)
    blocks = -(-n // LANES)
    panels = as_array("panels", panels, UINT32, blocks, kernel[0] * kernel[1] * deep, LANES)
    sizes = (1, len(image), 1, *image.shape[1:3], channels)
    return _convolve(number, image, sizes, panels, None, sizes[1:2], n, kernel, stride, padding)


class SignConvolution:
    """Convolves the signs of images with signs of weights, which are packed once.

    Args:
        weights: float32 (n, channels, height, width).
        stride: pixels from one window to the next, down and across.
        padding: zeros on each side, above and below, left and right.
        isa: the instruction set to use.

    Raises:
        ValueError: there is a NaN among the weights.
    """

    def __init__(
        self,
        weights: Any,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int] = (0, 0),
        *,
        isa: str | None = None,
    ):
        taps = pack_channels(weights, isa=isa)
        self.n, self.channels = weights.shape[:2]
        self.kernel, self.stride, self.padding = taps.shape[1:3], stride, padding
        self.panels = pack_panels(
            taps.reshape(self.n, math.prod(taps.shape[1:])), WORD * math.prod(taps.shape[1:])
        )
        self._number = isa_number(isa)
        self._window = ffi.new("struct bnnlab_window *", (*self.kernel, *stride, *padding))
        self._packed, self._length = buffer("uint32_t[]", self.panels)
        self._floats, self._integers = ffi.typeof("float[]"), ffi.typeof("int32_t[]")
        self._at, self._convolve = ffi.from_buffer, lib.bnnlab_sign_convolve
        # By the shape of images: that of what they give, its length, and words of an image's bits.
        self._sizes: dict[tuple[int, ...], tuple[tuple[int, ...], int, int]] = {}
        self._spare: list[tuple[Any, int]] = []  # bits of one image, of calls that have ended

    def __call__(self, x: Any) -> np.ndarray:
        """Convolve images, float32 (samples, channels, height, width).

        Returns:
            int32 (samples, down, across, n).

        Raises:
            ValueError: there is a NaN, or the window stands nowhere on the image.
        """
        # Beside a kernel of tens of microseconds what is looked up by name, or made anew, counts.
        if (
            type(x) is not np.ndarray
            or x.dtype is not FLOAT32
            or x.shape not in self._sizes
            or not x.flags.c_contiguous
        ):
            x = self._looked_at(x)
        samples, channels, height, width = given = x.shape
        shape, length, size = self._sizes[given]
        memory = np.empty(length + _LINE, INT32)
        start = self._at(self._integers, memory)
        gap = to_line(start)
        try:
            bits, had = self._spare.pop()
        except IndexError:
            bits, had = None, 0
        if had != size:
            bits = ffi.from_buffer("uint32_t[]", np.empty(size, UINT32))
        status = self._convolve(
            self._number,
            self._at(self._floats, x),
            x.size,
            samples,
            height,
            width,
            channels,
            self._window,
            self._packed,
            self._length,
            self.n,
            bits,
            size,
            start + gap // _BYTES,
            length,
        )
        self._spare.append((bits, size))
        if status:
            check(status)
        return np.ndarray(shape, INT32, memory, gap)

    def _looked_at(self, x: Any) -> np.ndarray:
        """The images as an array, once they are what the kernel expects; their sizes are kept."""
        x = as_array("x", x, FLOAT32, None, self.channels, None, None)
        samples, channels, height, width = x.shape
        places = _places((height, width), self.kernel, self.stride, self.padding)
        shape = (samples, *places, self.n)
        self._sizes[x.shape] = shape, math.prod(shape), height * width * words(channels)
        return x


def convolve(
    image: Any,
    panels: Any,
    n: int,
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    ones: Any = None,
    *,
    isa: str | None = None,
) -> np.ndarray:
    """Convolve signs, or codes of several planes, with signs, in groups of channels, exactly.

    Args:
        image: uint32 (planes, samples, groups, height, width, words(channels)).
        panels: uint32 (groups, ...): of each group panels as in `xnor_convolve`.
        n: outputs of a group.
        channels: channels of a group.
        kernel: taps down and across.
        stride: pixels from one window to the next, down and across.
        padding: zeros on each side; for codes none, see `pad`.
        ones: for codes, int32 (groups, n), how many +1 each output has; without it, signs.
        isa: the instruction set to use.

    Returns:
        int32 (samples, groups, down, across, n).

    Raises:
        ValueError: the window stands nowhere on the image, or codes have a padding.
    """
    number = isa_number(isa)
    image = as_array("image", image, UINT32, *(None,) * 5, words(channels))
    planes, samples, groups, height, width, deep = image.shape
    if ones is None and planes != 1:
        raise ValueError(f"image has {planes} planes; codes of more than one need `ones`")
    if ones is not None and any(padding):
        raise ValueError(f"padding is {padding}; codes have none, but can be padded before")
    shape = (groups, -(-n // LANES), kernel[0] * kernel[1] * deep, LANES)
    panels = as_array("panels", panels, UINT32, *shape)
    if ones is not None:
        ones = as_array("ones", ones, INT32, groups, n)
    sizes = (planes, samples, groups, height, width, channels)
    return _convolve(
        number, image, sizes, panels, ones, (samples, groups), n, kernel, stride, padding
    )


def _convolve(
    number: int,
    image: np.ndarray,
    sizes: tuple[int, ...],
    panels: np.ndarray,
    ones: np.ndarray | None,
    images: tuple[int, ...],
    n: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> np.ndarray:
    """Convolve what has been checked: int32 (*images, down, across, n).

    Sizes are planes, samples, groups, height, width and channels.
    """
    out = aligned((*images, *_places(sizes[3:5], kernel, stride, padding), n), INT32)
    check(
        lib.bnnlab_convolve(
            number,
            *buffer("uint32_t[]", image),
            *sizes,
            ffi.new("struct bnnlab_window *", (*kernel, *stride, *padding)),
            *buffer("uint32_t[]", panels),
            *((ffi.NULL, 0) if ones is None else buffer("int32_t[]", ones)),
            n,
            *buffer("int32_t[]", out),
        )
    )
    return out


def _places(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> tuple[int, int]:
    """How many windows stand on an image, down and across."""
    down, across = map(lib.bnnlab_places, size, kernel, stride, padding)
    return down, across


def pad(bits: Any, channels: int, padding: tuple[int, int], value: int) -> np.ndarray:
    """Surround packed images with one bit in all channels: -1 (0) or +1 (1), or a plane of a code.

    Args:
        bits: uint32 (images, height, width, words(channels)).
        channels: channels of the images.
        padding: pixels above and below, left and right.
        value: 0 or 1.

    Returns:
        uint32 (images, height + 2 padding[0], width + 2 padding[1], words).
    """
    require()
    bits = as_array("bits", bits, UINT32, None, None, None, words(channels))
    images, height, width, deep = bits.shape
    if min(padding) < 0:
        raise ValueError(f"padding is {padding}; both numbers must be 0 or more")
    out = np.empty((images, height + 2 * padding[0], width + 2 * padding[1], deep), np.uint32)
    check(
        lib.bnnlab_pad(
            *buffer("uint32_t[]", bits),
            images,
            height,
            width,
            channels,
            *padding,
            value,
            *buffer("uint32_t[]", out),
        )
    )
    return out


def max_pool(bits: Any, size: tuple[int, int]) -> np.ndarray:
    """The largest of size[0] x size[1] neighbouring signs.

    Args:
        bits: uint32 (samples, height, width, words). What does not fill a window is dropped.
        size: pixels down and across.

    Returns:
        uint32 (samples, height // size[0], width // size[1], words).
    """
    require()
    bits = as_array("bits", bits, UINT32, None, None, None, None)
    samples, height, width, deep = bits.shape
    if min(size) < 1:
        raise ValueError(f"size is {size}; both numbers must be positive")
    out = np.empty((samples, height // size[0], width // size[1], deep), np.uint32)
    check(
        lib.bnnlab_max_pool(
            *buffer("uint32_t[]", bits),
            samples,
            height,
            width,
            deep,
            *size,
            *buffer("uint32_t[]", out),
        )
    )
    return out
