"""How a user's data without parts of its own is split."""

import numpy as np

SEED = 20260101

# Of 20 samples of a class, these go to validation and to testing; the first three make sure that
# each part sees every class.
VALIDATION = (1, 8, 15)
TEST = (2, 9, 16)
LEAST = 3  # samples of each class


def stratified(labels: np.ndarray) -> list[np.ndarray]:
    """Return which samples train, validate and test: 70, 15 and 15 % of each class, always the
    same, in no order.

    Args:
        labels: classes `(samples,)`, at least LEAST samples of each.
    """
    order = np.random.default_rng(SEED).permutation(len(labels))
    drawn = labels[order]
    by_class = np.argsort(drawn, kind="stable")
    _, starts, counts = np.unique(drawn[by_class], return_index=True, return_counts=True)
    turn = np.empty(len(labels), dtype=np.int64)
    turn[by_class] = (np.arange(len(labels)) - np.repeat(starts, counts)) % 20
    validation, test = np.isin(turn, VALIDATION), np.isin(turn, TEST)
    return [order[part] for part in (~(validation | test), validation, test)]
