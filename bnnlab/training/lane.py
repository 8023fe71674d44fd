"""One lane: a network under one scheme with one seed, its optimizer, and their state."""

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bnnlab import schemes
from bnnlab.nn import networks
from bnnlab.nn.layer import BinarizedLayer
from bnnlab.nn.watch import watch
from bnnlab.training import checkpoint, seeds
from bnnlab.training.devices import CPU
from bnnlab.training.losses import LOSSES

if TYPE_CHECKING:
    from bnnlab.training.store import Log, RunLog

EVALUATION_CHUNK = 2048


def scheme_of(spec: dict) -> schemes.Scheme:
    """Return the scheme that `{"name": ..., option: value, ...}` describes."""
    options = dict(spec)
    return schemes.get(options.pop("name"), **options)


def network_of(settings: dict, scheme: dict, seed: int) -> nn.Module:
    """Build the network of a run; its initial latent weights depend on the seed alone.

    Args:
        settings: the comparison's network, and the task's `shape` and `classes`.
        scheme: name and options.
        seed: the run's seed.
    """
    return networks.build(
        settings["network"],
        shape_of(settings),
        settings["classes"],
        scheme_of(scheme),
        seeds.generator("initial weights", seed),
    )


def shape_of(task: dict) -> int | tuple[int, ...]:
    """Return what a network is told of a task's samples; a text's are its symbols."""
    return tuple(task["shape"]) or task["inputs"]


class Diverged(ArithmeticError):
    """A lane's loss or a parameter of its network is no longer a finite number."""


class Lane:
    """A network in training.

    Attributes:
        device: where the network, what the optimizer keeps and random draws are.
        step: updates made so far.
        layers: name -> the network's weight layers.
        last_signs: name -> signs at the last look, bool of the weight's shape (for flips).
    """

    def __init__(self, settings: dict, scheme: dict, seed: int, device: torch.device = CPU):
        self.device = device
        self.network = network_of(settings, scheme, seed).to(device)
        self.layers: dict[str, BinarizedLayer] = networks.binarized_layers(self.network)
        self.scheme = scheme_of(scheme)
        self.loss = LOSSES[settings["loss"]]
        self._purpose = ("lane", seed, sorted(scheme.items()))
        self.generator = torch.Generator(device).manual_seed(seeds.seed(*self._purpose))
        for carrier in networks.carriers(self.network):
            carrier.generator = self.generator
        self._factors, groups = self._groups()
        self.optimizer = self.scheme.optimizer(groups, 0.0, settings["optimizer"])
        self.set_lr(settings["lr"])
        self.step = 0
        self.last_signs: dict[str, Tensor] = {}

    def _groups(self) -> tuple[list[float], list[dict]]:
        """Group parameters by the factor on the step size, latent weights apart from the rest."""
        weights = {layer.weight: layer for layer in self.layers.values()}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for p in self.network.parameters():
            layer = weights.get(p)
            factor = 1.0 if layer is None else layer.scheme.learning_rate_factor(layer)
            groups.setdefault((factor, layer is not None and layer.binarized), []).append(p)
        dicts = [{"params": ps, "binarized": latent} for (_, latent), ps in groups.items()]
        return [factor for factor, _ in groups], dicts

    def adopt(self, options: dict) -> None:
        """Go on with other options of the scheme; what layers and optimizer hold stays."""
        changed = schemes.get(self.scheme.key, **{**self.scheme.options(), **options})
        for carrier in networks.carriers(self.network):
            if carrier.scheme.key == self.scheme.key:
                carrier.scheme = changed
        self.scheme = changed

    def advance(self, x: Tensor, y: Tensor, progress: float = 0.0, looking: bool = False):
        """Make one update on a batch.

        Args:
            x: inputs, float32 `(batch, inputs)`, or symbols, int64 `(batch, time)`.
            y: labels, int64 `(batch,)` or `(batch, time)`.
            progress: share of the planned updates that are made.
            looking: keep what the estimators received and let through, for the probes.

        Returns the loss, the accuracy on the batch, and what was seen (None unless looking).
        Raises Diverged when the loss is not finite, before any weight is changed; when looking,
        also when the update gave a parameter that is not.
        """
        if not self.network.training:
            self.network.train()
        if self.scheme.anneals:
            networks.anneal(self.network, progress)
        self.scheme.before_step(self.network, self.loss, x, y)
        self.optimizer.zero_grad(set_to_none=True)
        with watch(self.network) if looking else nullcontext() as seen:
            scores = self.network(x)
            loss = self.loss(scores, y)
            value = loss.item()
            if not math.isfinite(value):
                raise Diverged(f"train_loss is {value} at step {self.step + 1}")
            loss.backward()
        self.optimizer.step()
        if looking:
            self._refuse_what_is_not_finite()
        with torch.no_grad():
            for layer in self.layers.values():
                layer.scheme.after_step(layer, self.optimizer)
            accuracy = (scores.argmax(-1) == y).float().mean().item()
        self.step += 1
        return value, accuracy, seen

    def _refuse_what_is_not_finite(self) -> None:
        for name, parameter in self.network.named_parameters():
            if not parameter.isfinite().all():
                raise Diverged(f"{name} has values that are not finite at step {self.step + 1}")

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Return mean loss and accuracy of the network as it would be deployed."""
        self.network.eval()
        loss = correct = 0.0
        chunk = max(1, EVALUATION_CHUNK // y[0].numel())
        for xs, ys in zip(x.split(chunk), y.split(chunk), strict=True):
            scores = networks.scores(self.network, xs)
            loss += self.loss(scores, ys).item() * len(ys)
            correct += (scores.argmax(-1) == ys).sum().item()
        return loss / len(y), correct / y.numel()

    def set_lr(self, lr: float) -> None:
        """Set the optimizer's step size, times what the scheme asks for each layer."""
        self.lr = lr
        for group, factor in zip(self.optimizer.param_groups, self._factors, strict=True):
            group["lr"] = lr * factor

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on, as named tensors on the processor."""
        # Copies: loss-aware layers hold the optimizer's own moments, and a file holds them apart.
        network = self.network.state_dict()
        state = {f"network/{name}": t.to(CPU, copy=True) for name, t in network.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                state[f"optimizer/{index}/{name}"] = torch.as_tensor(value).to(CPU)
        state |= {f"last_signs/{name}": signs.to(CPU) for name, signs in self.last_signs.items()}
        state["generator"] = self.generator.get_state()
        return state

    def load(self, saved: checkpoint.Checkpoint) -> None:
        """Go back to a checkpoint's state."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}, "last_signs": {}}
        for name, tensor in saved.tensors.items():
            part, _, rest = name.partition("/")
            parts.get(part, {})[rest] = tensor
        self.network.load_state_dict(parts["network"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.last_signs = {n: signs.to(self.device) for n, signs in parts["last_signs"].items()}
        drawn = saved.tensors["generator"]
        if drawn.shape == self.generator.get_state().shape:
            self.generator.set_state(drawn)
        else:  # of another kind of device: its stream does not go on here, so a new one begins
            self.generator.manual_seed(seeds.seed(*self._purpose, saved.step))
        self.step = saved.step


def restore(log: "Log", run: "RunLog") -> nn.Module:
    """Return a run's network as its last checkpoint left it, in evaluation mode."""
    saved = checkpoint.read(run.folder)
    if saved is None:
        raise ValueError(f"{run.id} has no checkpoint yet (it is at step {run.step})")
    settings = {**log.comparison, **{key: log.task[key] for key in ("inputs", "shape", "classes")}}
    options = run.options | log.changes.options(run.lane, saved.step - 1)
    network = network_of(settings, {"name": run.scheme, **options}, run.seed)
    prefix = "network/"
    network.load_state_dict(
        {n.removeprefix(prefix): t for n, t in saved.tensors.items() if n.startswith(prefix)}
    )
    return network.eval()
