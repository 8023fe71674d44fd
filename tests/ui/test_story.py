"""Stories: what they show can be shown, and what they claim is measured."""

import pytest
import yaml

import bnnlab
from bnnlab import figures
from bnnlab.ui import story
from bnnlab.ui.address import settings_of
from bnnlab.ui.measures import MEASURES
from bnnlab.ui.story import Telling

STEPS = [
    pytest.param(step, id=f"{name}-{at}")
    for name in story.names()
    for at, step in enumerate(story.get(name).steps, 1)
]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_shows_what_there_is_and_claims_what_can_be_measured(step):
    settings = settings_of(step.page)
    assert (settings.messages, settings.stray) == ({}, [])
    lanes = [scheme["name"] for scheme in settings.comparison().schemes]
    what, _, name = step.look.partition(" ")
    known = {
        "lane": lanes, "tab": figures.names(), "field": settings.to_words(),
        "view": [""], "lanes": [""], "play": [""], "step": [""],
    }  # fmt: skip
    assert name in known[what]
    assert step.page.get("view", "curves") in figures.names()
    assert step.claims
    for claim in step.claims:
        assert claim.lanes and claim.lanes <= {*lanes}
        assert claim.measure in MEASURES and "{}" in claim.say
        assert claim.above > float("-inf") or claim.below < float("inf")
        assert claim.since < settings.comparison().steps
        assert claim.look(None)["state"] == "waiting"


def test_every_measure_is_used_by_a_story():
    used = {claim.measure for step in STEPS for claim in step.values[0].claims}
    assert used == set(MEASURES)


def short(name, at):
    """A step's comparison, ended as soon as all it claims can be measured."""
    step = story.get(name).steps[at - 1]
    comparison = settings_of(step.page).comparison().to_dict()
    steps = max(claim.since for claim in step.claims) + 2
    return bnnlab.Comparison.from_dict({**comparison, "steps": steps, "checkpoint_every": steps})


@pytest.mark.parametrize("name, at", [("coincide", 1), ("coincide", 3), ("third-sign", 1)])
def test_what_is_claimed_holds(name, at, tmp_path):
    log = short(name, at).run(tmp_path / "told.bnnlab", progress=False)
    claims = story.get(name).steps[at - 1].claims
    said = [claim.look(log) for claim in claims]
    assert [one["state"] for one in said] == ["holds"] * len(said), said
    wrong = claims[0]._replace(above=1e9, below=1e10)
    assert wrong.look(log)["state"] == "fails"
    early = wrong._replace(since=10_000).look(log)
    assert early["state"] == "waiting" and early["text"].endswith("(from step 10000 on)")


def test_lab_begins_as_bwn_and_leaves_it_with_the_first_update(tmp_path):
    log = short("first-step", 2).run(tmp_path / "told.bnnlab", progress=False)
    steps, own = log.run("lab").column("alpha/hidden1")
    plain = log.run("lab").column("alpha_bwn/hidden1")[1]
    assert steps[0] == 0 and own[0] == pytest.approx(plain[0], rel=1e-5)
    (claim,) = story.get("first-step").steps[1].claims
    assert claim.look(log)["state"] == "holds"


def test_claims_of_another_comparison_are_not_measured(trained_log):
    for step in STEPS:
        for claim in step.values[0].claims:
            if not claim.lanes <= {*trained_log.lanes} or claim.measure in ("growth", "stretch"):
                assert claim.look(trained_log)["state"] == "waiting"


def test_telling_goes_through_a_story():
    telling = Telling()
    assert telling.to_form() == {} and telling.claims(None) == []
    telling.go("explode", 2)
    form = telling.to_form()
    assert (form["at"], form["of"]) == (2, 4) and form["look"] == "view"
    telling.go("explode", 99)
    assert telling.at == 4
    telling.end()
    assert telling.to_form() == {}
    with pytest.raises(ValueError, match="there are coincide, explode"):
        telling.go("nothing", 1)


def test_files_are_read_as_data():
    for path in story.FOLDER.glob("*.yaml"):
        data = yaml.safe_load(path.read_text())
        assert set(data) == {"title", "about", "order", "steps"}
        for step in data["steps"]:
            assert not any(isinstance(value, bool) for value in step.get("page", {}).values())
