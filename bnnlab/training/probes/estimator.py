"""The straight-through estimators: what reaches them and what they let through."""

from bnnlab.training.probes.look import LOG_EDGES, edges, histogram, log_histogram, sample

BINS = 64
REACH = 3.0


def _blocked(estimator, reached):
    return (estimator.pseudo_gradient(reached) == 0).float().mean().item()


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
            found[f"gradient_weights_before/{name}"] = log_histogram(seen.effective.grad)
            found[f"gradient_weights_after/{name}"] = log_histogram(seen.weight.grad)
            found[f"blocked_weights/{name}"] = _blocked(
                scheme.weight_estimator, sample(seen.weight)
            )
        if seen.activation_input is not None:
            reached = sample(seen.activation_input)
            found[f"reach_activations/{name}"] = histogram(reached, -REACH, REACH, BINS)
            found[f"reach_activations_edges/{name}"] = edges(-REACH, REACH, BINS)
            before, after = seen.activation_output.grad, seen.activation_input.grad
            found[f"gradient_activations_before/{name}"] = log_histogram(before)
            found[f"gradient_activations_after/{name}"] = log_histogram(after)
            if scheme.activation_estimator is not None:
                found[f"blocked_activations/{name}"] = _blocked(
                    scheme.activation_estimator, reached
                )
    return found
