"""Which inputs each output sees: windows of an image, laid out as rows of a matrix.

Everything between layers is an image, (samples, height, width, channels); features without a place
are the channels of an image of one pixel.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """A window that slides over an image.

    Attributes:
        channels, height, width: of the image.
        kernel: height and width of the window; the image's own for a dense layer.
        stride, padding: vertical and horizontal.
    """

    channels: int
    height: int
    width: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @classmethod
    def whole(cls, channels: int, height: int, width: int) -> "Window":
        """The window of a dense layer."""
        return cls(channels, height, width, (height, width))

    @cached_property
    def taps(self) -> int:
        """Pixels of the window."""
        return self.kernel[0] * self.kernel[1]

    @cached_property
    def dense(self) -> bool:
        """Whether it sees all of the image at once."""
        return self.kernel == (self.height, self.width) and self.padding == (0, 0)

    @cached_property
    def inputs(self) -> int:
        """Weights of an output."""
        return self.taps * self.channels

    @cached_property
    def places(self) -> Pair:
        """Where it stops, vertically and horizontally; 0 where it does not fit in."""
        sizes = zip((self.height, self.width), self.kernel, self.stride, self.padding, strict=True)
        high, wide = (max(0, (n + 2 * p - k) // s + 1) for n, k, s, p in sizes)
        return high, wide

    @cached_property
    def _inside(self) -> list[np.ndarray]:
        """For each direction, bool (places, kernel): whether a tap lies on the image."""
        sizes = zip(
            self.places,
            (self.height, self.width),
            self.kernel,
            self.stride,
            self.padding,
            strict=True,
        )
        inside = []
        for places, size, kernel, stride, padding in sizes:
            at = np.arange(places)[:, None] * stride + np.arange(kernel) - padding
            inside.append((at >= 0) & (at < size))
        return inside

    @cached_property
    def borders(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """For each direction the ways a window may lie on the image, and the way of each place."""
        found = [np.unique(inside, axis=0, return_inverse=True) for inside in self._inside]
        return [ways for ways, _ in found], [way.reshape(-1) for _, way in found]

    def over_the_image(self, taps: np.ndarray) -> np.ndarray:
        """Sums over the taps that lie on the image.

        Args:
            taps: (outputs, taps).

        Returns:
            (ways, ways, outputs), see `borders`.
        """
        (down, across), _ = self.borders
        taps = taps.reshape(-1, *self.kernel)
        return np.einsum("yk,xl,okl->yxo", down.astype(np.int64), across.astype(np.int64), taps)
