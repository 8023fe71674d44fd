"""What is compared: a task, a network, schemes and seeds, as plain data."""

import hashlib
import json
import os
import platform
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import param

from bnnlab import limits, optim, schemes, tasks
from bnnlab.nn import networks
from bnnlab.nn.lstm import lstms
from bnnlab.training import files, lane
from bnnlab.training.losses import LOSSES

if TYPE_CHECKING:
    from bnnlab.training.store import Log

# Raised whenever the same spec would give other numbers, so that old runs are not mixed with new.
NUMERICS = 3


@dataclass(frozen=True)
class Run:
    """One scheme with one seed.

    Attributes:
        id: content-addressed: the same scheme, seed and settings have the same id anywhere.
        lane: the name of its lane, unique to the scheme and its options in the comparison.
        scheme: `{"name": ..., option: value}`, complete.
        seed: the run's seed.
    """

    id: str
    lane: str
    scheme: dict
    seed: int


class Comparison(param.Parameterized):
    """A comparison: everything that decides what is trained and recorded, and nothing else.

    Args:
        task: a task's name, or `{"name": "moons", "noise": 0.2}`.
        network: a network's name, or `{"name": "mlp", "width": 64, "batch_norm": "off"}`; by
            default the one that suits the task, as with loss and lr.
        schemes: names, or `{"name": "dorefa", "activation_bits": 2}`; "all" for every scheme.
        seeds: how many seeds (from 0), or a list of them.
        settings: steps, batch_size, lr, loss, optimizer, threads, probe_every, evaluate_every,
            test_every, checkpoint_every, schedule: see their parameters' help.

    Raises ValueError, saying what was given and what is allowed.
    """

    steps = param.Integer(
        default=1000, bounds=(1, limits.STEPS), constant=True, doc="Optimizer steps of each run."
    )
    batch_size = param.Integer(
        default=100, bounds=(2, limits.BATCH_SIZE), constant=True, doc="Samples a step."
    )
    lr = param.Number(
        default=0.005,
        bounds=(0, 10.0),
        inclusive_bounds=(False, True),
        constant=True,
        doc="Step size of the optimizer.",
    )
    schedule = param.List(
        default=[],
        constant=True,
        precedence=-1,
        doc="What the step size is multiplied by from which epoch on: [[15, 0.1], [25, 0.1]] is a "
        "tenth after 15 epochs and a hundredth after 25.",
    )
    loss = param.Selector(
        default="squared_hinge",
        objects=list(LOSSES),
        constant=True,
        doc="What is minimized: the squared hinge loss of the binarization papers, or "
        "cross-entropy.",
    )
    optimizer = param.Selector(
        default="adam",
        objects=optim.names(),
        constant=True,
        doc="What makes the updates: Adam, plain gradient descent, or shift-based AdaMax, with the "
        "constants of its paper or of its authors' code. A scheme that brings its own keeps it.",
    )
    threads = param.Integer(
        default=1,
        bounds=(1, 64),
        constant=True,
        doc="Threads of each trainer. Part of the comparison: sums differ between 1 and 2.",
    )
    probe_every = param.Integer(
        default=100, bounds=(1, limits.STEPS), constant=True, doc="Steps between looks inside."
    )
    evaluate_every = param.Integer(
        default=50,
        bounds=(1, limits.STEPS),
        constant=True,
        doc="Steps between looks at the validation set (at most 1,000 samples of it each time).",
    )
    test_every = param.Integer(
        default=0,
        bounds=(0, limits.STEPS),
        constant=True,
        doc="Steps between looks at the whole validation and test sets, 0 for none before the end. "
        "A run then also says what its test accuracy was where validation was best.",
    )
    checkpoint_every = param.Integer(
        default=500,
        bounds=(1, limits.STEPS),
        constant=True,
        doc="Steps between checkpoints: what a killed trainer loses at most.",
    )

    def __init__(self, task="digits", network=None, schemes="all", seeds=1, **settings):
        unknown = [name for name in settings if name not in SETTINGS]
        if unknown:
            raise ValueError(
                f"a comparison has no setting {', '.join(map(repr, unknown))}; it takes "
                f"task, network, schemes, seeds, {', '.join(SETTINGS)}"
            )
        self.task = _complete_task(task)
        about = tasks.get(**self.task)
        network = about.network if network is None else network
        super().__init__(**{"loss": about.loss, "lr": about.lr, **settings})
        _check_schedule(self.schedule)
        self.network = networks.complete(_spec(network, "network"))
        self.schemes = _complete_schemes(schemes)
        self.seeds = _complete_seeds(seeds)
        limits.check_runs(len(self.schemes) * len(self.seeds))
        suited = networks.taking(about.kind)
        if self.network["name"] not in suited:
            raise ValueError(
                f"the network {self.network['name']} does not take the samples of the task "
                f"{self.task['name']}, which are of the kind {about.kind!r}; take "
                f"{' or '.join(suited)}"
            )
        self._about = {
            "inputs": about.inputs, "shape": list(about.shape), "classes": about.classes
        }  # fmt: skip
        sizes = networks.sizes(self.network, lane.shape_of(self._about), about.classes)
        limits.check_network(sizes)
        for scheme in self.schemes:
            self._refuse_nothing_binarized(scheme, len(sizes))

    def _refuse_nothing_binarized(self, spec: dict, layers: int) -> None:
        scheme = lane.scheme_of(spec)
        ends = networks.ends_binarized(scheme, self.network["first_and_last"])
        if scheme.weight_bits < 32 and not ends and layers < 3:
            raise ValueError(
                f"{spec['name']} keeps the first and last layer in full precision, and a network "
                f"of {layers} layers has no other; make it deeper, or take "
                "first_and_last='binarized'"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What every run of the comparison shares and its numbers depend on."""
        shared = {name: getattr(self, name) for name in SETTINGS if name != "steps"}
        return {"task": self.task, "network": self.network, **shared}

    @property
    def runs(self) -> list[Run]:
        """A run for each scheme and seed, lane by lane."""
        labels = _labels(self.schemes)
        return [
            Run(self._run_id(scheme, seed), label, scheme, seed)
            for label, scheme in zip(labels, self.schemes, strict=True)
            for seed in self.seeds
        ]

    def _run_id(self, scheme: dict, seed: int) -> str:
        spec = {"numerics": NUMERICS, "scheme": scheme, "seed": seed, **self.settings}
        if lane.scheme_of(scheme).anneals:
            spec["steps"] = self.steps  # what such a scheme does depends on when it ends
        digest = hashlib.blake2b(_canonical(spec).encode(), digest_size=6).hexdigest()
        return f"{scheme['name'].replace('_', '-')[:40]}-{seed}-{digest}"

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data; `from_dict` reads it back."""
        rest = {"steps": self.steps, "schemes": self.schemes, "seeds": self.seeds}
        return {**self.settings, **rest}

    @classmethod
    def from_dict(cls, spec: dict[str, Any]) -> "Comparison":
        """Make a comparison of plain data, checked as if it were typed.

        Raises ValueError as the constructor does.
        """
        return cls(**{key: value for key, value in spec.items() if key not in ("format", "runs")})

    def create(self, folder: str | os.PathLike) -> "Log":
        """Write the comparison's folder, ready to be trained; open it if it is there already.

        Raises ValueError when the folder holds something else, or another comparison. One that
        differs only in the number of steps is extended.
        """
        from bnnlab.training.store import Log

        folder = Path(folder)
        if (folder / "comparison.json").exists():
            return self._extend(Log(folder))
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} exists and is not a comparison; name another folder")
        for run in self.runs:
            path = files.run_folder(folder, run.id)
            path.mkdir(parents=True, exist_ok=True)
            files.write_json(path / "run.json", self._describe(run))
        files.write_json(folder / "task.json", self._describe_task())
        files.write_json(folder / "env.json", environment())
        # Written last: a folder that has it is complete.
        spec = {"format": files.FORMAT, "runs": [run.id for run in self.runs], **self.to_dict()}
        files.write_json(folder / "comparison.json", spec)
        return Log(folder)

    def _extend(self, log: "Log") -> "Log":
        there = Comparison.from_dict(log.comparison).to_dict()
        here = self.to_dict()
        differing = [key for key in here if key != "steps" and here[key] != there[key]]
        if differing:
            details = "; ".join(f"{key}: {there[key]} there, {here[key]} now" for key in differing)
            raise ValueError(
                f"{log.path} holds another comparison ({details}); name another folder"
            )
        limits.check_steps(self.steps, max(run.step for run in log.runs))
        if self.steps != log.steps:
            files.append_line(log.path / "changes.jsonl", {"steps": self.steps})
        return log

    def _describe(self, run: Run) -> dict[str, Any]:
        network = lane.network_of({**self.settings, **self._about}, run.scheme, run.seed)
        recurrent = {id(lstm.recurrent) for lstm in lstms(network)}
        layers = [
            {
                "name": name,
                "inputs": layer.in_features,
                "outputs": layer.out_features,
                "binarized": layer.binarized,
                "curvature": layer.second_moment is not None,
                "weight_bits": layer.scheme.weight_bits,
                "input_bits": layer.input_bits,
                "recurrent": id(layer) in recurrent,
            }
            for name, layer in networks.binarized_layers(network).items()
        ]
        return {
            "id": run.id,
            "lane": run.lane,
            "scheme": run.scheme,
            "seed": run.seed,
            "description": lane.scheme_of(run.scheme).description(),
            "layers": layers,
        }

    def _describe_task(self) -> dict[str, Any]:
        task = tasks.get(**self.task)
        about = {
            "name": self.task["name"],
            "title": task.title,
            "is_2d": task.is_2d,
            "kind": task.kind,
            **self._about,
        }
        if task.is_2d:
            split = task.load()
            points = zip(split.train_x.tolist(), split.train_y.tolist(), strict=True)
            about["points"] = [[*point, label] for point, label in points][: limits.POINTS]
        return about

    def run(
        self,
        folder: str | os.PathLike,
        *,
        processes: int | None = None,
        progress: bool = True,
        device: str = "cpu",
    ) -> "Log":
        """Train to the end with a progress bar, and return the Log.

        Goes on where a folder left off. Ctrl-C saves a checkpoint and raises KeyboardInterrupt.

        Args:
            folder: where the comparison is kept, `NAME.bnnlab`.
            processes: trainers side by side; as many as there are cores by default.
            progress: show a progress bar on standard error.
            device: where to train: "cpu", "cuda" (the first GPU) or "cuda:N". Not part of the
                comparison: what was begun on one may go on on another.

        Raises ValueError as `create`, and when this machine has no such device; RuntimeError when a
        trainer died.
        """
        from bnnlab.training import devices
        from bnnlab.training.conductor import train

        devices.get(device)  # refused before anything is written
        log = self.create(folder)
        tasks.get(**self.task).fetch()  # trainers find it here
        train(log.path, processes=processes, progress=progress, device=device)
        log.refresh()
        return log

    def _ipython_display_(self):
        from bnnlab.ui.notebook import Widget

        Widget(self)._ipython_display_()


SETTINGS = tuple(name for name in Comparison.param if name != "name")


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _check_schedule(schedule: list) -> None:
    previous = -1.0
    for entry in schedule:
        numbers = isinstance(entry, (list, tuple)) and all(
            isinstance(number, (int, float)) and not isinstance(number, bool) for number in entry
        )
        if not numbers or len(entry) != 2 or not previous < entry[0] or not 0 < entry[1] <= 100:
            raise ValueError(
                f"schedule holds {entry!r}; give [epoch, factor] with epochs from 0 that grow and "
                "factors above 0, up to 100"
            )
        previous = entry[0]


def _spec(given: object, kind: str) -> dict:
    if isinstance(given, str):
        return {"name": given}
    if isinstance(given, dict) and isinstance(given.get("name"), str):
        return dict(given)
    raise ValueError(f"{kind} is {given!r}; give a name, or a dictionary with a 'name' and options")


def _complete_task(given: object) -> dict:
    spec = _spec(given, "task")
    task = tasks.get(**spec)
    return {"name": spec["name"], **task.options()}


def _complete_schemes(given: object) -> list[dict]:
    if given == "all":
        given = schemes.names()
    if isinstance(given, (str, dict)):
        given = [given]
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"schemes is {given!r}; give 'all' or a list of {schemes.names()}")
    complete = []
    for spec in (_spec(item, "a scheme") for item in given):
        complete.append({"name": spec["name"], **lane.scheme_of(spec).options()})
    twice = [spec["name"] for index, spec in enumerate(complete) if spec in complete[:index]]
    if twice:
        raise ValueError(f"schemes holds {twice[0]!r} twice with the same options; take one out")
    return complete


def _complete_seeds(given: object) -> list[int]:
    if isinstance(given, int) and not isinstance(given, bool):
        given = list(range(given))
    seeds = given if isinstance(given, (list, tuple)) else []
    whole = all(
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**31 for seed in seeds
    )
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"seeds is {given!r}; give how many (1 or more), or a list of different whole numbers "
            f"from 0 to {2**31 - 1}"
        )
    return list(seeds)


def _labels(specs: list[dict]) -> list[str]:
    """Name lanes by their scheme, and by the options that differ where a scheme stands twice."""
    times = Counter(spec["name"] for spec in specs)
    labels = []
    for spec in specs:
        siblings = [other for other in specs if other["name"] == spec["name"]]
        differing = [key for key in spec if any(other[key] != spec[key] for other in siblings)]
        options = ", ".join(f"{key}={spec[key]}" for key in differing)
        labels.append(f"{spec['name']}({options})" if times[spec["name"]] > 1 else spec["name"])
    return labels


def environment() -> dict[str, Any]:
    """Return the versions and the machine that numbers depend on."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        **{package: installed(package) for package in ("bnnlab", "torch", "numpy", "scikit-learn")},
    }
