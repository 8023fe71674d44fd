import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bnnlab.training.batches import Batches
from bnnlab.training.losses import cross_entropy, squared_hinge


@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 5), st.integers(0, 4))
def test_an_epoch_holds_each_sample_at_most_once_and_any_step_can_be_asked_for(
    count, size, seed, epoch
):
    if size > count:
        with pytest.raises(ValueError, match=f"batch_size is {size}, but the task has {count}"):
            Batches(count, size, seed)
        return
    batches = Batches(count, size, seed)
    first = epoch * batches.per_epoch
    steps = range(first, first + batches.per_epoch)
    together = torch.cat([batches[step] for step in steps])
    assert len(together) == batches.per_epoch * size > count - size
    assert len(together.unique()) == len(together)
    again = Batches(count, size, seed)
    assert torch.equal(again[steps[-1]], batches[steps[-1]])


def test_epochs_and_seeds_are_shuffled_differently():
    batches, other = Batches(1000, 100, 0), Batches(1000, 100, 1)
    assert not torch.equal(batches[0], batches[10])
    assert not torch.equal(batches[0], other[0])


def test_squared_hinge_by_hand():
    scores = torch.tensor([[2.0, -0.5, 0.0]])
    # Targets are +1, -1, -1: the margins missed are 0, 0.5 and 1.
    assert squared_hinge(scores, torch.tensor([0])).item() == pytest.approx((0.25 + 1) / 3)


@pytest.mark.parametrize("loss", [squared_hinge, cross_entropy])
def test_gradients_by_finite_differences(loss):
    scores = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda s: loss(s, labels), scores)
