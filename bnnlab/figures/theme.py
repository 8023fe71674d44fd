"""How every figure looks: ink, paper, type and palettes, in light and in dark.

Scheme colours come from the run's description and are the same everywhere; against a dark page a
colour that would not stand out is lightened until it does.
"""

from functools import cache

SANS = "Inter, system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
SMALL = 10  # pixels on the page
POINTS = 6.5  # the same on paper

THEMES = ("light", "dark")
_ROLES = {
    "light": {
        "ink": "#22262b", "muted": "#5c646d", "faint": "#c9ced4", "grid": "#eceef1",
        "paper": "#ffffff", "accent": "#d1431f",
    },
    "dark": {
        "ink": "#e6e9ec", "muted": "#a2abb5", "faint": "#4a525b", "grid": "#2a3037",
        "paper": "#14181d", "accent": "#ff7a50",
    },
}  # fmt: skip
# What a mark may name instead of colours: one palette for each theme.
_PALETTES = {
    # -1, +1, just became -1, just became +1
    "bits": {
        "light": ["#eef0f2", "#454d57", "#f7b39c", "#d1431f"],
        "dark": ["#20262d", "#98a2ad", "#8a3a22", "#ff7a50"],
    },
}
_RAMPS = {
    "light": ["#ffffff", "#d5e3ef", "#9fc0dc", "#5f97c4", "#2b6ca3", "#0b3a66"],
    "dark": ["#14181d", "#17334d", "#1d5685", "#3a83bd", "#7fb5e0", "#dcedfb"],
}
_CLASSES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F4A00", "#4d4d4d"]


def _channels(color: str) -> list[float]:
    return [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def mix(one: str, other: str, share: float) -> str:
    """Return the colour that is `share` of the way from one to the other."""
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(255 * (a + (b - a) * share)):02x}" for a, b in pairs)


def luminance(color: str) -> float:
    """Return the relative luminance of `#rrggbb` (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@cache
def resolve(color: str, theme: str, least: float = 3.0) -> str:
    """Return what a role or a colour is in a theme, with `least` contrast against its paper."""
    roles = _ROLES[theme]
    if color in roles:
        return roles[color]
    share = 0.0
    toward = roles["ink"]
    resolved = color
    while contrast(resolved, roles["paper"]) < least and share < 1:
        share += 0.05
        resolved = mix(color, toward, min(share, 1))
    return resolved


@cache
def palette(name: str, levels: int, theme: str) -> list[str]:
    """Return `levels` colours of a named palette.

    "bits"; "density": pale to strong; "score": class 0 from sure to unsure, then class 1;
    "classes": one pale colour for each.
    """
    paper = _ROLES[theme]["paper"]
    if name in _PALETTES:
        return _PALETTES[name][theme]
    if name == "density":
        ramp = _RAMPS[theme]
        return [_along(ramp, i / (levels - 1)) for i in range(levels)]
    if name == "score":
        half = levels // 2
        sure = [0.5 - 0.4 * i / (half - 1) for i in range(half)]
        zero, one = (class_color(i, theme) for i in (0, 1))
        return [mix(paper, zero, s) for s in sure] + [mix(paper, one, s) for s in sure[::-1]]
    if name == "classes":
        return [mix(paper, class_color(i, theme), 0.35) for i in range(levels)]
    raise ValueError(f"no palette {name!r}")


def class_color(index: int, theme: str = "light") -> str:
    """Return the colour of a class of a task."""
    return resolve(_CLASSES[index % len(_CLASSES)], theme)


def _along(ramp: list[str], place: float) -> str:
    at = place * (len(ramp) - 1)
    low = min(int(at), len(ramp) - 2)
    return mix(ramp[low], ramp[low + 1], at - low)


class Look:
    """The colours of one theme.

    Raises ValueError for a theme there is not.
    """

    def __init__(self, name: str):
        if name not in THEMES:
            raise ValueError(f"no theme {name!r}; there are {', '.join(THEMES)}")
        self.theme = name

    def __call__(self, color: str, words: bool = False) -> str:
        """Return a colour or role; as `words` with WCAG AA contrast."""
        return resolve(color, self.theme, 4.5 if words else 3.0)

    def fill(self, alpha: float) -> float:
        """Return the opacity of an area: on dark paper it takes more to be seen."""
        return alpha if self.theme == "light" else min(1.0, alpha * 1.6)

    def palette(self, mark) -> list[str]:
        """Return the colours of an image's levels."""
        return palette(mark.palette, mark.levels, self.theme)
