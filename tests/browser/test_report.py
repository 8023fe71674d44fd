"""A report in a real browser that has no network and no server."""

from waiting import wait_for

import bnnlab
from bnnlab.figures.report import report
from bnnlab.training.trainer import Trainer


def test_it_opens_from_a_file_and_its_slider_goes_back_in_time(browser, tmp_path):
    comparison = bnnlab.Comparison(
        task="moons", network={"name": "mlp", "width": 8}, schemes=["full_precision", "bwn", "lab"],
        steps=40, probe_every=10,
    )  # fmt: skip
    log = comparison.create(tmp_path / "moons.bnnlab")
    with Trainer(log.path) as trainer:
        for _ in trainer:
            pass
    path = report(bnnlab.open(log.path), tmp_path / "moons.html")
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, offline=True, color_scheme="dark"
    )
    page = context.new_page()
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.set_default_timeout(90_000)
    page.locator("html[data-theme=dark][data-ready=dark]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    assert page.locator("#step").inner_text() == "40"
    weights = page.locator("section.moves .dark canvas").first
    weights.scroll_into_view_if_needed()
    late = weights.screenshot()
    scale, flips = (
        page.locator("section", has=page.get_by_role("heading", name=name)).locator(".wide")
        for name in ("Scaling factors α", "Flips")
    )
    ended = scale.inner_text(), flips.inner_text()
    assert all("At step 40" in said and "LAB" in said for said in ended)
    page.locator("#time").fill("0")
    page.locator("#step", has_text="0").wait_for()
    wait_for(lambda: weights.screenshot() != late, "other weights")
    alpha, other = (
        float(said.split("\nLAB")[1].split()[1]) for said in (ended[0], scale.inner_text())
    )
    assert alpha != other
    assert "At step 0" in flips.inner_text() and flips.inner_text() != ended[1]

    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.getElementById('step').textContent === '40'")
    page.get_by_role("button", name="Light or dark").click()
    page.locator("html[data-theme=light][data-ready=light]").wait_for()
    page.locator("section.moves .light canvas").first.wait_for()
    context.close()
    assert errors == []
    assert asked == [path.as_uri()]
