"""What the papers do to images before they are learnt. Images are rows, float32."""

from collections.abc import Iterator

import numpy as np

ROWS = 1000  # at a time


def batches(count: int) -> Iterator[slice]:
    """Yield slices that cover `count` rows, some at a time."""
    for start in range(0, count, ROWS):
        yield slice(start, min(start + ROWS, count))


# What `centred` does, as `Task.about` says it.
PIXELS = {"centre": 127.5, "unit": 128, "low": 0, "high": 255}


def centred(pixels: np.ndarray) -> np.ndarray:
    """Pixels p (0 to 255) become (2 p - 255) / 256: multiples of 1/256, so that their sums with
    signs are exact in float32, whatever the order.
    """
    return (2 * pixels.astype(np.float32) - 255) / 256


def global_contrast(x: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Global contrast normalization: take away each image's mean, then make its norm `scale`.

        x <- s (x - mean(x)) / ||x - mean(x)||

    An image of one colour becomes zero. Source: I. J. Goodfellow, D. Warde-Farley, M. Mirza,
    A. Courville, Y. Bengio, *Maxout Networks*, ICML 2013, and its library pylearn2.
    """
    x = x.astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(x, axis=1, keepdims=True) / scale
    x /= np.where(norm < 1e-8, 1, norm)
    return x


def whitening(x: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean `(inputs,)` and the symmetric matrix `(inputs, inputs)` that whiten rows.

        C = cov(x) + bias I = U diag(e) U^T,    whitened = (x - mean) U diag(e^-1/2) U^T

    Zero-phase component analysis: of all whitening matrices, the one that changes images least.
    Source: A. J. Bell, T. J. Sejnowski, *The independent components of natural scenes are edge
    filters*, Vision Research 37, 1997.
    """
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for rows in batches(len(x)):
        centre = x[rows] - mean
        covariance += centre.T @ centre
    covariance /= len(x)
    covariance[np.diag_indices_from(covariance)] += bias
    values, vectors = np.linalg.eigh(covariance)
    return mean, ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)


def local_contrast(x: np.ndarray) -> np.ndarray:
    """Local contrast normalization of images `(samples, channels, height, width)`, by channel.

        v = x - w * x,    s = sqrt(w * v^2),    y = v / max(s, mean(s))

    with w a Gaussian window of 7 x 7 pixels and deviation 2, and mean(s) that of the channel of the
    image; beyond the border everything is zero. A channel of one colour becomes zero.

    Source: K. Jarrett, K. Kavukcuoglu, M. Ranzato, Y. LeCun, *What is the Best Multi-Stage
    Architecture for Object Recognition?*, ICCV 2009, section 2.1; window as in pylearn2.
    """
    v = x - _blurred(x)
    s = np.sqrt(_blurred(v * v))
    return v / np.maximum(np.maximum(s, s.mean(axis=(2, 3), keepdims=True)), 1e-4)


def _blurred(x: np.ndarray) -> np.ndarray:
    window = np.exp(-(np.arange(-3, 4, dtype=np.float32) ** 2) / (2 * 2.0**2))
    window /= window.sum()
    for axis in (2, 3):  # the window is a product of two
        edges = [(0, 0)] * 4
        edges[axis] = (3, 3)
        padded = np.pad(x, edges)
        size = x.shape[axis]
        x = np.zeros_like(x)
        for shift, weight in enumerate(window):
            x += weight * padded.take(range(shift, shift + size), axis)
    return x
