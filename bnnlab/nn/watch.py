"""Looking at what passes through a network in one training step."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from bnnlab.nn.lstm import lstms
from bnnlab.nn.networks import Network, binarized_layers


@dataclass
class Seen:
    """What passed a layer; `.grad` of each is there after the backward pass.

    Attributes:
        weight: the latent weights; their gradient is the one *after* the weight estimator.
        effective: the weights of the forward pass; their gradient is the one *before* it.
        activation_input: what reached the activation that feeds the layer (gradient after the
            activation estimator); None for the first layer.
        activation_output: what it gave (gradient before the estimator).
        states: of a recurrent matrix, h_1 ... h_T of an LSTM; their gradients are those of the loss
            with respect to each time step's output.
    """

    weight: Tensor
    effective: Tensor | None = None
    activation_input: Tensor | None = None
    activation_output: Tensor | None = None
    states: list[Tensor] | None = None


@contextmanager
def watch(model: nn.Module) -> Iterator[dict[str, Seen]]:
    """Keep effective weights and activations, with their gradients, of a training pass.

    Outside of the context nothing is kept and nothing is slower:

        with watch(model) as seen:
            loss(model(x), y).backward()
        seen["hidden1"].effective.grad
    """
    layers = binarized_layers(model)
    seen = {name: Seen(layer.weight) for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.seen = _weight_keeper(seen[name])
    recurrent = {id(lstm.recurrent): lstm for lstm in lstms(model)}
    for name, layer in layers.items():
        if id(layer) in recurrent:
            recurrent[id(layer)].seen = _states_keeper(seen[name])
    feeding = model.feeding() if isinstance(model, Network) else {}
    hooks = [
        activation.register_forward_hook(_activation_keeper(seen[name]))
        for name, activation in feeding.items()
    ]
    try:
        yield seen
    finally:
        for layer in layers.values():
            layer.seen = None
        for lstm in recurrent.values():
            lstm.seen = None
        for hook in hooks:
            hook.remove()


def _kept(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        tensor.retain_grad()
    return tensor


def _weight_keeper(record: Seen):
    def keep(effective):
        record.effective = _kept(effective)

    return keep


def _states_keeper(record: Seen):
    def keep(states):
        record.states = [_kept(state) for state in states]

    return keep


def _activation_keeper(record: Seen):
    def keep(module, arguments, output):
        record.activation_input = _kept(arguments[0])
        record.activation_output = _kept(output)

    return keep
