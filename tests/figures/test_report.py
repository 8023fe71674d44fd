"""A comparison as one HTML file."""

import html
import re

import pytest
from click.testing import CliRunner

from bnnlab.cli import main
from bnnlab.figures.report import report


def test_it_holds_results_settings_and_every_section(log, tmp_path):
    page = report(log, tmp_path / "deep" / "moons.html").read_text()
    for title in (
        "Loss and accuracy",
        "Decision boundaries",
        "Latent and binary weights of",
        "Estimators of the activations",
        "Scaling factors α",
        "Flips",
        "Curvature of",
        "Settings",
    ):
        assert title in page
    for lane in log.lanes:
        assert f"<td>{html.escape(log.run(lane).title)}</td>" in page
    assert "batch_size" in page and "from_dict" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


def test_the_command_says_where_it_is(trained_folder, tmp_path):
    out = tmp_path / "r.html"
    done = CliRunner().invoke(main, ["report", str(trained_folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output == f"{out}: {out.stat().st_size:,} bytes\n"
    assert out.stat().st_size < 6_000_000


def test_what_cannot_be_reported_is_refused(log, empty_log, tmp_path):
    with pytest.raises(ValueError, match=r"'r.pdf' does not end in \.html"):
        report(log, tmp_path / "r.pdf")
    with pytest.raises(ValueError, match="has not recorded a step yet"):
        report(empty_log, tmp_path / "r.html")
    assert not list(tmp_path.iterdir())
