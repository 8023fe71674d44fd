"""Thresholds against the functions they stand for."""

import numpy as np
import torch

from bnnlab.packed.fold import thresholds
from bnnlab.packed.packing import from_keys, keys


def counted(sums, levels, flip):
    count = (sums[:, None] >= levels).sum(1)
    return np.where(flip, len(levels) - count, count)


def test_thresholds_equal_the_function_on_every_integer():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, bound, top = 40, int(rng.integers(1, 300)), int(rng.choice([1, 3, 7, 255]))
        slope = torch.tensor(rng.normal(size=n), dtype=torch.float32) / bound * 2
        slope[::9] = 0  # constant neurons
        shift = torch.tensor(rng.normal(size=n), dtype=torch.float32)

        def code(sums, slope=slope, shift=shift, top=top):
            return torch.round((sums * slope + shift).clamp(0, 1) * top).int()

        levels, flip = thresholds(code, top, n, bound)
        sums = np.arange(-bound, bound + 1)[:, None].repeat(n, 1)
        expected = code(torch.from_numpy(sums.astype(np.float32))).numpy()
        assert np.array_equal(counted(sums, levels, flip), expected)
        assert np.array_equal(flip, (expected[-1] < expected[0]))


def test_constant_neurons_are_constant_for_any_sum():
    def code(sums):
        return torch.tensor([0, 1]).repeat(len(sums), 1).int()

    for bound in (10, None):
        levels, flip = thresholds(code, 1, 2, bound)
        assert levels.tolist() == [[2**31 - 1, -(2**31)]]
        assert not flip.any()


def test_real_thresholds_fall_between_neighbouring_floats():
    """At the threshold itself and one unit in the last place below it."""
    rng = np.random.default_rng(1)
    n = 200
    slope = torch.tensor(rng.normal(size=n), dtype=torch.float32)
    shift = torch.tensor(rng.normal(size=n) * 3, dtype=torch.float32)

    def code(sums):
        return (sums * slope + shift >= 0).int()

    levels, flip = thresholds(code, 1, n, None)
    assert flip.any() and not flip.all()
    for offset in (-2, -1, 0, 1, 2):
        sums = from_keys(levels + np.int32(offset))
        expected = code(torch.from_numpy(sums)).numpy()
        assert np.array_equal(counted(keys(sums), levels, flip), expected)


def test_keys_are_ordered_as_floats_are():
    rng = np.random.default_rng(2)
    x = rng.integers(-(2**31), 2**31, 10000).astype(np.int32).view(np.float32)
    x = np.concatenate([x[~np.isnan(x)], np.float32([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45])])
    assert np.array_equal(from_keys(keys(x)).view(np.int32), x.view(np.int32))
    ordered = np.argsort(keys(x), kind="stable")
    assert (np.diff(x[ordered].astype(np.float64)) >= 0).all()
    assert keys(np.float32([-0.0, 0.0])).tolist() == [-1, 0]
