"""The straight-through estimators: what reaches them and what they let through."""

import torch

from bnnlab.training.probes.look import LOG_EDGES, edges, histogram, log_histogram, sample

BINS = 64
REACH = 3.0


def _blocked(estimator, reached):
    return (estimator.pseudo_gradient(reached) == 0).float().mean().item()


def _gradients(what, name, before, after):
    counts = log_histogram(before)
    same = torch.equal(before, after)  # many estimators let every gradient through
    return {
        f"gradient_{what}_before/{name}": counts,
        f"gradient_{what}_after/{name}": counts if same else log_histogram(after),
    }


def probe(look):
    """Give, for weights and activations, gradients before and after, and the share blocked.

    `gradient_*_before` and `_after` are histograms of log10 |gradient| on `gradient_edges`;
    `blocked_*` is the share of entries where the pseudo-gradient is zero; `reach_activations` is
    the histogram of what reaches the activation that feeds the layer.
    """
    found = {"gradient_edges": LOG_EDGES} if look.seen else {}
    for name, seen in look.seen.items():
        scheme = look.lane.layers[name].scheme
        if seen.effective is not None and scheme.weight_estimator is not None:
            found |= _gradients("weights", name, seen.effective.grad, seen.weight.grad)
            found[f"blocked_weights/{name}"] = _blocked(
                scheme.weight_estimator, sample(seen.weight)
            )
        if seen.activation_input is not None:
            reached = sample(seen.activation_input)
            found[f"reach_activations/{name}"] = histogram(reached, -REACH, REACH, BINS)
            found[f"reach_activations_edges/{name}"] = edges(-REACH, REACH, BINS)
            before, after = seen.activation_output.grad, seen.activation_input.grad
            found |= _gradients("activations", name, before, after)
            if scheme.activation_estimator is not None:
                found[f"blocked_activations/{name}"] = _blocked(
                    scheme.activation_estimator, reached
                )
    return found
