"""The settings of a page: fields derived from parameters, checked as they are typed.

A value that is refused stays beside its field with the reason; the last good one holds.
"""

from pathlib import Path
from typing import Any, NamedTuple

import param

from bnnlab import schemes, tasks
from bnnlab.figures.theme import resolve
from bnnlab.nn import networks
from bnnlab.registry import option_names
from bnnlab.tasks.base import NoFile
from bnnlab.training.comparison import SETTINGS, Comparison

LIVE = ("lr", "steps")
_SEEDS = 16
FILE = "task.path"  # the field that names a file of the user's
_FILES = 200  # of the folder, to choose among

_LABELS = {
    "lr": "Step size",
    "batch_norm": "Batch norm",
    "first_and_last": "First and last layer",
    "batch_size": "Batch size",
    "probe_every": "Look inside every",
    "evaluate_every": "Validate every",
    "checkpoint_every": "Checkpoint every",
}


class _Seeds(param.Parameterized):
    seed = param.Integer(default=0, bounds=(0, 2**31 - 1), doc="The first seed.")
    seeds = param.Integer(
        default=1,
        bounds=(1, _SEEDS),
        label="Number of seeds",
        doc="Runs of each scheme that differ in their seed; curves then show bands.",
    )


class Field(NamedTuple):
    """A setting: the parameter it comes from and where its value goes.

    `key` is a path into the settings: "lr", "network.width", "scheme.lab.granularity".
    """

    key: str
    parameter: Any  # a param.Parameter of a kind that `kind` knows
    label: str

    @property
    def kind(self) -> str:
        """How it is entered: "switch", "select", "integer", "number" or "words"."""
        if isinstance(self.parameter, param.Boolean):
            return "switch"
        if isinstance(self.parameter, param.Selector) or self._names_a_file:
            return "select"
        if isinstance(self.parameter, param.String):
            return "words"
        return "integer" if isinstance(self.parameter, param.Integer) else "number"

    @property
    def _names_a_file(self) -> bool:
        return isinstance(self.parameter, param.String) and self.parameter.name == "path"

    @property
    def choices(self) -> list[Any]:
        """The values that may be chosen.

        What a page names never becomes a path: a file is one of those that lie in the folder the
        program was started in.
        """
        if not self._names_a_file:
            return list(self.parameter.objects)
        files = sorted(path.name for path in Path().iterdir() if path.is_file())
        return ["", *(name for name in files if not name.startswith("."))][: _FILES + 1]

    @property
    def allowed(self) -> str:
        """What may be entered, in words."""
        if self.kind == "switch":
            return "On or off."
        if self._names_a_file:
            return f"A file of the folder bnnlab was started in, {Path().resolve()}."
        if self.kind == "select":
            return f"One of {', '.join(map(str, self.parameter.objects))}."
        if self.kind == "words":
            return "Enter a name."
        what = "a whole number" if self.kind == "integer" else "a number"
        low, high = self.parameter.bounds or (None, None)
        above = "from" if self.parameter.inclusive_bounds[0] else "above"
        below = "to" if self.parameter.inclusive_bounds[1] else "below"
        bounds = [
            *([] if low is None else [f"{above} {low:,}"]),
            *([] if high is None else [f"{below} {high:,}"]),
        ]
        return f"Enter {' '.join([what, *bounds])}."

    def parse(self, typed: object) -> Any:
        """The value of what was typed. Raises ValueError that gives the range."""
        if self.kind == "switch":
            if typed not in (True, False, "on", "off"):
                raise ValueError(self.allowed)
            return typed in (True, "on")
        if self.kind == "select":
            chosen = [value for value in self.choices if str(value) == str(typed)]
            if not chosen:
                raise ValueError(self.allowed)
            return chosen[0]
        if self.kind == "words":
            return str(typed).strip()
        try:
            text = str(typed).strip().replace(",", "")
            value = int(text) if self.kind == "integer" else float(text)
            self.parameter._validate(value)
        except (ValueError, OverflowError):
            raise ValueError(self.allowed) from None
        if value != value:
            raise ValueError(self.allowed)
        return value

    def show(self, value: Any) -> Any:
        """The value as it stands in its field."""
        return (
            value if self.kind == "switch" else f"{value:g}" if type(value) is float else str(value)
        )

    def word(self, value: Any) -> str:
        """The value in full, as `parse` takes it back."""
        return {True: "on", False: "off"}[value] if self.kind == "switch" else str(value)

    def to_form(self) -> dict[str, Any]:
        """What the page needs to draw the field, without its value."""
        return {
            "key": self.key,
            "label": self.label,
            "kind": self.kind,
            "help": (self.parameter.doc or "").strip(),
            "allowed": self.allowed,
            "live": acts_at_once(self.key),
            "choices": self._shown_choices() if self.kind == "select" else [],
        }

    def _shown_choices(self) -> list[list[str]]:
        if self._names_a_file:
            return [[name, name or "choose a file"] for name in self.choices]
        return [[str(value), _words(value)] for value in self.choices]


def acts_at_once(key: str) -> bool:
    """Whether a setting acts on the training in progress; everything else needs a restart."""
    owner, *rest = key.split(".")
    return key in LIVE or (owner == "scheme" and rest[1] in schemes.kinds()[rest[0]].live)


def _words(value: object) -> str:
    return str(value).replace("_", " ")


def _fields(owner: Any, prefix: str = "") -> list[Field]:
    return [
        Field(prefix + name, owner.param[name], _label(name, owner.param[name]))
        for name in option_names(owner)
        if (owner.param[name].precedence or 0) >= 0
    ]


def _label(name: str, parameter: Any) -> str:
    return _LABELS.get(name) or parameter.label


class Settings:
    """The settings as they stand on the page.

    Attributes:
        messages: why a value was refused, by key.
        typed: the refused value as it was typed, by key.
        stray: keys that were meant for another task or network.
    """

    def __init__(self, comparison: Comparison):
        self._schemes = {name: schemes.get(name) for name in schemes.names()}
        self.stray: list[str] = []
        self.load(comparison)

    def load(self, comparison: Comparison) -> None:
        """Show a comparison's settings."""
        self.messages: dict[str, str] = {}
        self.typed: dict[str, Any] = {}
        spec = comparison.to_dict()
        self._values: dict[str, Any] = {name: spec[name] for name in SETTINGS}
        self._values["task"] = spec["task"]["name"]
        self._values["network"] = spec["network"]["name"]
        self._values["seed"] = min(spec["seeds"])
        self._values["seeds"] = len(spec["seeds"])
        for part in ("task", "network"):
            self._put(part, spec[part])
        for name, scheme in self._schemes.items():
            self._put(f"scheme.{name}", scheme.options())
        # A page has one row a scheme; a scheme that stands twice keeps its first options there.
        for chosen in reversed(spec["schemes"]):
            self._put(f"scheme.{chosen['name']}", chosen)
        self._chosen = list(dict.fromkeys(chosen["name"] for chosen in spec["schemes"]))
        self._untouched = True
        self.accept(comparison)

    def accept(self, comparison: Comparison) -> bool:
        """Take a comparison as the one in progress, and return whether it is the one described.

        Fields keep what they show, and what was refused.
        """
        self._running = comparison.to_dict()
        self._listed = set(self._chosen)  # the others are a click away
        try:
            same = self._untouched or self.comparison().to_dict() == self._running
        except ValueError:
            same = False
        self._untouched = same
        return same

    def _put(self, prefix: str, options: dict) -> None:
        for name, value in options.items():
            if name != "name":
                self._values[f"{prefix}.{name}"] = value

    def _layout(self) -> list[dict[str, Any]]:
        task = tasks.get(self._values["task"], **self._options("task"))
        choice = param.Selector(objects=list(tasks.names()), doc="What is learnt.")
        suited = param.Selector(objects=_suited(task), doc="What learns it.")
        rest = {field.key: field for field in _fields(Comparison)}
        training = [rest.pop(key) for key in ("lr", "batch_size", "steps", "loss", "optimizer")]
        return [
            {
                "title": "Task",
                "note": task.description,
                "fields": [Field("task", choice, "Task"), *_fields(task, "task.")],
            },
            {
                "title": "Network",
                "fields": [
                    Field("network", suited, "Network"),
                    *_fields(networks.parameters_of(self._values["network"]), "network."),
                ],
            },
            {"title": "Schemes", "key": "schemes"},
            {"title": "Training", "fields": [*training, *_fields(_Seeds)]},
            {"title": "Recording", "fields": list(rest.values())},
        ]

    def owns(self, key: str) -> bool:
        """Whether a key is one of a setting, if perhaps of another task or network."""
        return key in ("task", "network", "schemes") or (
            key.partition(".")[0] in ("task", "network", "scheme") or key in self._all()
        )

    def to_words(self, *, of_all: bool = False) -> dict[str, str]:
        """Every setting as words that `set` and `choose_all` take back.

        Options of schemes that are not chosen are left out unless `of_all`.
        """
        chosen = tuple(f"scheme.{name}." for name in (self._schemes if of_all else self._chosen))
        return {"schemes": ",".join(self._chosen)} | {
            key: field.word(self._values[key])
            for key, field in self._all().items()
            if not key.startswith("scheme.") or key.startswith(chosen)
        }

    def refuse(self, key: str, typed: str, why: str) -> None:
        """Say beside a field why what was typed there does not hold."""
        self.messages[key], self.typed[key] = why, typed

    def _all(self) -> dict[str, Field]:
        found = [field for part in self._layout() for field in part.get("fields", [])]
        for name, scheme in self._schemes.items():
            found += _fields(type(scheme), f"scheme.{name}.")
        return {field.key: field for field in found}

    def set(self, key: str, typed: object) -> Any:
        """Take what was typed into a field; return its value, or None when it was refused."""
        field = self._all().get(key)
        if field is None:
            raise ValueError(f"there is no setting {key!r}")
        self.messages.pop(key, None)
        self.typed.pop(key, None)
        before, parsed = dict(self._values), False
        try:
            self._values[key] = field.parse(typed)
            parsed = True
            if key == "task":
                self._take_task(before["task"])
            elif key == "network":
                self._take("network", networks.complete({"name": self._values["network"]}))
            self.comparison()
        except ValueError as error:
            if key.startswith("task"):
                self._forget_task_messages()
                if isinstance(error, NoFile):
                    self.messages[FILE] = f"Choose one. {self._all()[FILE].allowed}"
                else:
                    self.messages[key] = str(error)
                self._untouched = False  # what is missing can only be chosen with it in place
                return None
            if parsed and self._lacks_of_task:
                self._untouched = False
                return self._values[key]
            self.messages[key] = str(error)
            self._values = before
            self.typed[key] = typed if isinstance(typed, (str, bool)) else str(typed)
            return None
        if key.startswith("task"):  # what one of its options lacked, another gave
            self._forget_task_messages()
        self._untouched = self._untouched and acts_at_once(key)
        return self._values[key]

    @property
    def _lacks_of_task(self) -> bool:
        """Whether the task still lacks something, which is said there."""
        return any(key.startswith("task") for key in self.messages)

    def _forget_task_messages(self) -> None:
        self.messages = {k: said for k, said in self.messages.items() if not k.startswith("task")}

    def _take(self, part: str, options: dict) -> None:
        """Put a task's or network's options in the place of the former's."""
        for key in [key for key in self._values if key.startswith(f"{part}.")]:
            del self._values[key]
        self._put(part, options)

    def _take_task(self, former: str) -> None:
        """Bring a task's options; its network if the present one does not suit, its loss and step
        size if the former task's were left as they were.
        """
        task, before = tasks.get(self._values["task"]), tasks.kinds()[former]
        self._take("task", task.options())
        if self._values["network"] not in _suited(task):
            self._values["network"] = task.network
            self._take("network", networks.complete({"name": task.network}))
        for name in ("loss", "lr"):
            if self._values[name] == getattr(before, name):
                self._values[name] = getattr(task, name)

    def choose(self, name: str, on: bool) -> None:
        """Add a scheme to the comparison or take it out; the last one stays."""
        self.choose_all([*self._chosen, name] if on else [n for n in self._chosen if n != name])

    def choose_all(self, names: list[str]) -> None:
        """Compare just these schemes; names that there are not are refused."""
        self.messages.pop("schemes", None)
        before, wanted = self._chosen, {*filter(None, names)}
        unknown = sorted(wanted - {*self._schemes})
        if unknown:
            self.messages["schemes"] = (
                f"There is no scheme {', '.join(unknown)}; there are {', '.join(self._schemes)}."
            )
            wanted -= {*unknown}
            if not wanted:
                return
        untouched, self._untouched = self._untouched, False
        self._chosen = [known for known in self._schemes if known in wanted]
        try:
            self.comparison()
        except ValueError as error:
            if wanted and self._lacks_of_task:
                return
            self._chosen, self._untouched = before, untouched
            self.messages["schemes"] = "Keep at least one scheme." if not wanted else str(error)

    def comparison(self) -> Comparison:
        """The comparison that the settings describe. Raises ValueError when they do not fit."""
        first, count = self._values["seed"], self._values["seeds"]
        chosen = [{"name": name, **self._options(f"scheme.{name}")} for name in self._chosen]
        if self._untouched:
            # Nothing but live values was touched: what a page cannot show (a scheme that stands
            # twice, seeds with gaps) is kept.
            chosen, seeds = self._running["schemes"], self._running["seeds"]
        else:
            seeds = list(range(first, first + count))
        return Comparison.from_dict(
            {
                "task": {"name": self._values["task"], **self._options("task")},
                "network": {"name": self._values["network"], **self._options("network")},
                "schemes": chosen,
                "seeds": seeds,
                **{name: self._values[name] for name in SETTINGS},
            }
        )

    def _options(self, prefix: str) -> dict[str, Any]:
        found = {key: value for key, value in self._values.items() if key.startswith(f"{prefix}.")}
        return {key.removeprefix(f"{prefix}."): value for key, value in found.items()}

    def changes(self) -> list[str]:
        """What differs from the comparison in progress and needs a restart, in words."""
        if self._untouched:
            return []
        try:
            here = self.comparison().to_dict()
        except ValueError:
            return []  # a message says what is missing
        there = self._running
        changes = []
        for key in here:
            if key in LIVE or here[key] == there[key]:
                continue
            if key == "schemes":
                if _without_live(here[key]) != _without_live(there[key]):
                    changes.append("schemes")
            elif isinstance(here[key], dict) and here[key]["name"] == there[key]["name"]:
                changes += [
                    f"{_words(option)} {_value(there[key][option])} → {_value(here[key][option])}"
                    for option in here[key]
                    if here[key][option] != there[key][option]
                ]
            elif isinstance(here[key], dict):
                changes.append(f"{key} {there[key]['name']} → {here[key]['name']}")
            else:
                changes.append(f"{_words(key)} {_value(there[key])} → {_value(here[key])}")
        return changes

    def to_form(self) -> dict[str, Any]:
        """Everything the page needs to draw the settings."""
        sections: list[dict[str, Any]] = []
        for part in self._layout():
            fields = [field.to_form() for field in part.get("fields", [])]
            sections.append({**part, "fields": fields})
            if part.get("key") == "schemes":
                sections[-1]["schemes"] = [self._scheme_row(name) for name in self._schemes]
        values = {key: field.show(self._values[key]) for key, field in self._all().items()}
        chosen = {f"scheme {name}": name in self._chosen for name in self._schemes}
        return {
            "sections": sections,
            "values": {**values, **chosen},
            "typed": dict(self.typed),
            "messages": dict(self.messages),
            "changes": self.changes(),
        }

    def _scheme_row(self, name: str) -> dict[str, Any]:
        scheme = self._schemes[name]
        options = [field.to_form() for field in _fields(type(scheme), f"scheme.{name}.")]
        return {
            "name": name,
            "title": scheme.title,
            "listed": name in self._listed,
            "options": options,
            **look(scheme.description()),
        }


def look(description: dict[str, Any]) -> dict[str, str]:
    """The colours (on white and on black), dash and marker a scheme has in every figure."""
    color = description["color"]
    return {
        "color": resolve(color, "light"),
        "dark": resolve(color, "dark"),
        "dash": description["dash"],
        "marker": description["marker"],
    }


def _suited(task: tasks.Task) -> list[str]:
    """The networks that take a task's samples; its own while no file says what those are."""
    try:
        return networks.taking(task.kind)
    except ValueError:
        return [task.network]


def _without_live(specs: list[dict]) -> list[dict]:
    """Schemes with their options, but for those that act at once."""
    return [
        {
            key: value
            for key, value in spec.items()
            if not acts_at_once(f"scheme.{spec['name']}.{key}")
        }
        for spec in specs
    ]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, list) else _words(value)
