"""What the page says about a scheme: its equations, where it comes from, what to watch."""

import inspect
import io
import re
from functools import lru_cache
from typing import Any

from bnnlab.ui.mathml import mathml
from bnnlab.ui.settings import look

_SIZE = 15  # points of the equations' letters


def card_of(description: dict[str, Any], lead: str) -> dict[str, Any]:
    """A scheme's card, from its description (see Scheme.description) and a first sentence."""
    return {
        **{key: description[key] for key in ("title", "authors", "year", "reference")},
        **look(description),
        "lead": lead,
        "link": _link(description["reference"]),
        "equations": [
            {"text": equation, "svg": equation_svg(equation), "mathml": mathml(equation)}
            for equation in description["equations"]
        ],
        "facts": _facts(description),
        "watch": watch(description),
    }


def _link(reference: str) -> str:
    """Where a reference can be read, "" where it has no number to find it by."""
    found = re.search(r"arXiv:(\d{4}\.\d{4,5})", reference)
    return f"https://arxiv.org/abs/{found[1]}" if found else ""


def lead(kind: type) -> str:
    """The first paragraph of a scheme's docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _facts(description: dict[str, Any]) -> list[list[str]]:
    facts = [
        ["Weights", _bits(description["weight_bits"])],
        ["Activations", _bits(description["activation_bits"])],
        ["Clipping", "none" if description["clip"] is None else f"[-{description['clip']:g}, 1]"],
    ]
    if description["clip"] is not None:
        facts[2][1] = f"latent weights stay within ±{description['clip']:g}"
    for which, estimator in description["estimators"].items():
        if estimator is not None:
            facts.append([f"Estimator, {which}", str(estimator["title"])])
    facts += [
        [name.replace("_", " ").capitalize(), str(value)]
        for name, value in description["options"].items()
    ]
    return facts


def _bits(bits: int) -> str:
    return "real, 32 bits" if bits >= 32 else "1 bit" if bits == 1 else f"{bits} bits"


def watch(description: dict[str, Any]) -> str:
    """Where to look to see what the scheme does, from what it is made of."""
    hints = []
    if description["weight_bits"] == 32 and description["activation_bits"] == 32:
        return "The float twin: the other lanes' curves are to be read against this one."
    if any("odot" in equation for equation in description["equations"]):
        hints.append(
            "In Hessian scaling, its alpha against BWN's alpha for the same weights. They start "
            "equal, because its second moment is still zero."
        )
    elif any("alpha" in equation for equation in description["equations"]):
        hints.append(
            "Turn batch norm off: a scaling factor that batch norm cancels then begins to matter."
        )
    if description["activation_bits"] < 32:
        hints.append("How much of the gradient its activations block, layer by layer.")
    if description["clip"] is not None:
        hints.append("The walls of the latent histogram: weights that pile up there stop flipping.")
    return " ".join(hints[:2])


@lru_cache(maxsize=256)
def equation_svg(equation: str) -> str:
    """An equation drawn in the colour of the text around it; empty when it cannot be set.

    The letters are outlines: a page needs no fonts and asks nobody for them.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.01, 0.01))
    figure.text(0, 0, f"${equation}$", fontsize=_SIZE, math_fontfamily="cm")
    target = io.BytesIO()
    settings: Any = {"svg.fonttype": "path", "svg.hashsalt": equation}
    try:
        with rc_context(settings):
            figure.savefig(
                target,
                format="svg",
                transparent=True,
                bbox_inches="tight",
                pad_inches=0.03,
                metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            )
    except ValueError:
        return ""
    text = target.getvalue().decode()
    svg = text[text.index("<svg") :]
    # Ids are the page's: two equations must not share one.
    svg = re.sub(r'(id="|href="#|url\(#)', lambda found: found[0] + _prefix(equation), svg)
    return svg.replace("<svg ", '<svg fill="currentColor" ', 1)


def _prefix(equation: str) -> str:
    return f"e{abs(hash(equation)) % 10**9}-"
