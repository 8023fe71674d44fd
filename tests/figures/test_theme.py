import pytest

from bnnlab.figures import theme
from bnnlab.schemes import kinds


@pytest.mark.parametrize("name", theme.THEMES)
def test_every_scheme_stands_out_in_both_themes(name):
    look = theme.Look(name)
    for kind in kinds().values():
        assert theme.contrast(look(kind.color), look("paper")) >= 3
        assert theme.contrast(look(kind.color, words=True), look("paper")) >= 4.5


@pytest.mark.parametrize("name", theme.THEMES)
def test_words_have_contrast(name):
    look = theme.Look(name)
    for role in ("ink", "muted", "accent"):
        assert theme.contrast(look(role, words=True), look("paper")) >= 4.5


def test_schemes_look_different():
    looks = [(kind.color, kind.dash) for kind in kinds().values()]
    assert len({color for color, _ in looks}) == len(looks)


def test_unknown_theme_is_refused():
    with pytest.raises(ValueError, match=r"no theme 'sepia'; there are light, dark"):
        theme.Look("sepia")


def test_contrast_of_black_on_white():
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
