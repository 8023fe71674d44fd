"""Normalization and whitening, against what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bnnlab.tasks import preprocessing

PIXELS = arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(3 * 6 * 6)))


@given(PIXELS)
def test_centred_pixels_lie_on_a_grid(pixels):
    x = preprocessing.centred(pixels)
    assert x.dtype == np.float32
    assert np.array_equal(x * 256, 2 * pixels.astype(int) - 255)


@given(PIXELS, st.sampled_from([1.0, 55.0]))
def test_images_have_one_norm_and_no_mean(pixels, scale):
    x = preprocessing.global_contrast(pixels, scale)
    assert x.dtype == np.float32
    plain = pixels.max(axis=1) == pixels.min(axis=1)
    norms = np.linalg.norm(x, axis=1)
    assert np.allclose(norms[~plain], scale, rtol=1e-4)
    assert not norms[plain].any()
    assert np.abs(x.mean(axis=1)).max() < 1e-4 * scale


def test_global_contrast_of_two_numbers():
    found = preprocessing.global_contrast(np.array([[1, 7], [5, 5]], np.uint8), scale=2)
    assert np.allclose(found, [[-(2**0.5), 2**0.5], [0, 0]])


@pytest.mark.parametrize("bias", [1e-6, 0.1])
def test_whitened_images_have_unit_covariance_but_for_the_bias(bias):
    random = np.random.default_rng(0)
    x = (random.normal(size=(2500, 12)) @ random.normal(size=(12, 12)) + 3).astype(np.float32)
    mean, matrix = preprocessing.whitening(x, bias)
    assert np.allclose(mean, x.mean(axis=0), atol=1e-4)
    assert np.allclose(matrix, matrix.T, atol=1e-5)
    white = (x - mean) @ matrix
    covariance = np.cov(x.T, bias=True)
    expected = covariance @ np.linalg.inv(covariance + bias * np.eye(12))
    assert np.allclose(np.cov(white.T, bias=True), expected, atol=1e-3)
    if bias < 1e-3:
        assert np.allclose(expected, np.eye(12), atol=1e-3)


def test_whitening_does_nothing_to_white_images():
    x = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    mean, matrix = preprocessing.whitening(x, bias=0)
    assert np.allclose(mean, 0) and np.allclose(matrix, np.eye(2))


def local_contrast_by_the_formula(image):
    """One channel, pixel by pixel."""
    height, width = image.shape
    window = {
        (a, b): np.exp(-(a * a + b * b) / 8) for a in range(-3, 4) for b in range(-3, 4)
    }  # fmt: skip
    total = sum(window.values())

    def blurred(x, i, j):
        near = (
            weight * x[i + a, j + b]
            for (a, b), weight in window.items()
            if 0 <= i + a < height and 0 <= j + b < width
        )
        return sum(near) / total

    places = list(np.ndindex(image.shape))
    v, s = np.empty_like(image), np.empty_like(image)
    for place in places:
        v[place] = image[place] - blurred(image, *place)
    for place in places:
        s[place] = np.sqrt(blurred(v**2, *place))
    return v / np.maximum(s, s.mean())


def test_local_contrast_is_the_formula():
    images = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
    found = preprocessing.local_contrast(images.astype(np.float32))
    for place in np.ndindex(2, 3):
        assert np.allclose(found[place], local_contrast_by_the_formula(images[place]), atol=1e-5)


def test_local_contrast_does_not_see_brightness_and_contrast():
    image = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    inside = np.s_[:, :, 6:-6, 6:-6]  # where the border is not seen
    found = preprocessing.local_contrast(image)
    assert np.allclose(preprocessing.local_contrast(3 * image), found, atol=1e-5)
    # Of a slope, nothing is left but at the border.
    slope = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32), (1, 3, 32, 32))
    assert np.abs(preprocessing.local_contrast(slope)[inside]).max() < 1e-4
    assert not preprocessing.local_contrast(np.zeros((1, 3, 8, 8), np.float32)).any()
