import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bnnlab.tasks import splitting

COUNTS = st.lists(st.integers(splitting.LEAST, 60), min_size=1, max_size=6)


def labels_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(1).permutation(labels)


@given(COUNTS)
def test_every_sample_is_in_one_part(counts):
    labels = labels_of(counts)
    parts = splitting.stratified(labels)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert all(map(np.array_equal, parts, splitting.stratified(labels)))


@given(COUNTS)
def test_every_class_has_its_share_of_every_part(counts):
    labels = labels_of(counts)
    for part, share in zip(splitting.stratified(labels), (0.7, 0.15, 0.15), strict=True):
        found = np.bincount(labels[part], minlength=len(counts))
        assert found.min() >= 1
        assert np.abs(found - share * np.array(counts)).max() < 1.5


def test_many_samples_are_split_as_it_says():
    parts = splitting.stratified(np.arange(2000) % 10)
    assert [len(part) for part in parts] == [1400, 300, 300]
    assert any(np.diff(part).min() < 0 for part in parts), "in no order"
