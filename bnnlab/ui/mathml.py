"""Equations as MathML, for readers who hear them: the part of TeX that the schemes' formulas use.

The picture beside it is for the eyes: it looks the same with any fonts.
"""

import re
from html import escape

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|\S")
_LETTERS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "Delta": "Δ", "delta": "δ", "epsilon": "ε",
    "zeta": "ζ", "eta": "η", "lambda": "λ", "Pi": "Π", "sigma": "σ", "tau": "τ", "ell": "ℓ",
    "partial": "∂",
}  # fmt: skip
_OPERATORS = {
    "odot": "⊙", "leftarrow": "←", "leq": "≤", "approx": "≈", "propto": "∝", "|": "‖", "{": "{",
    "}": "}",
}  # fmt: skip
_SPACES = {",", ";", "quad", " ", "!"}
_FUNCTIONS = {"max", "min", "tanh", "log"}
_ACCENTS = {"hat": "^", "tilde": "~"}


def mathml(equation: str) -> str:
    """Return an equation as a `<math>` element, "" when its braces do not match.

    A command that is not known is read as its name.
    """
    try:
        parts, rest = _row(_TOKEN.findall(equation), closing=None)
    except ValueError:
        return ""
    if rest:
        return ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{parts}</math>'


def _row(tokens: list[str], closing: str | None) -> tuple[str, list[str]]:
    """Read up to a closing token; return the row and what follows it."""
    parts: list[str] = []
    while tokens and tokens[0] != closing:
        if tokens[0] == "}":
            return "".join(parts), tokens
        if tokens[0] in ("_", "^"):
            raised = tokens[0] == "^"
            script, tokens = _item(tokens[1:])
            kind = "msup" if raised else "msub"
            parts.append(f"<{kind}>{parts.pop() if parts else '<mrow/>'}{script}</{kind}>")
            continue
        part, tokens = _item(tokens)
        parts.append(part)
    if closing is not None and not tokens:
        raise ValueError(f"an equation lacks {closing!r}")
    return "".join(parts), tokens[1:] if closing else tokens


def _item(tokens: list[str]) -> tuple[str, list[str]]:
    """Read one thing: a letter, a number, a group, or a command with its arguments."""
    if not tokens:
        raise ValueError("an equation ends where something has to follow")
    head, tokens = tokens[0], tokens[1:]
    if head == "{":
        row, tokens = _row(tokens, "}")
        return f"<mrow>{row}</mrow>", tokens
    if not head.startswith("\\"):
        tag = "mn" if head[0].isdigit() else "mi" if head.isalpha() else "mo"
        return f"<{tag}>{escape({'-': '−'}.get(head, head))}</{tag}>", tokens
    name = head[1:]
    if name in _SPACES:
        return "<mspace/>", tokens
    if name == "frac":
        above, tokens = _item(tokens)
        below, tokens = _item(tokens)
        return f"<mfrac>{above}{below}</mfrac>", tokens
    if name == "sqrt":
        under, tokens = _item(tokens)
        return f"<msqrt>{under}</msqrt>", tokens
    if name in _ACCENTS:
        under, tokens = _item(tokens)
        return f'<mover accent="true">{under}<mo>{_ACCENTS[name]}</mo></mover>', tokens
    if name in ("left", "right"):  # the delimiter itself comes next
        return _item(tokens)
    if name == "mathrm":
        group = tokens[1 : tokens.index("}")] if "}" in tokens else []
        if tokens[:1] == ["{"] and all(token.isalnum() for token in group):
            return f"<mi>{escape(''.join(group))}</mi>", tokens[len(group) + 2 :]
        return _item(tokens)
    if name in _OPERATORS:
        return f"<mo>{_OPERATORS[name]}</mo>", tokens
    return f"<mi>{escape(_LETTERS.get(name, name))}</mi>", tokens
