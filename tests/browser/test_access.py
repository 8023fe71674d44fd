"""Whoever reads the page, with whatever: links, stories, keys, and what axe-core finds."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bnnlab import study

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def violations(tab, rules=None):
    """What axe-core finds serious or critical, in words; by all of its rules, or by those."""
    asked = {"resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    found = Axe().run(tab.page, options=asked).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]


# The two differ in their colours and in nothing else.
@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", None), ("dark", ["color-contrast"])], ids=["light", "dark"]
)
def test_nothing_keeps_people_from_reading_the_page(open_tab, scheme, rules):
    tab = open_tab("?network.width=16&speed=20", color_scheme=scheme)
    page = tab.page
    page.locator(".lane").first.wait_for()
    assert violations(tab, rules) == []  # as it opens
    tab.wait_for_step(5)
    assert violations(tab, rules) == []  # while it trains
    page.locator(".lane").nth(6).click()
    page.locator(".card h2").wait_for()
    assert violations(tab, rules) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert violations(tab, rules) == []
    page.keyboard.press("Escape")
    for name in ("Stories", "Export", "Untitled"):
        page.get_by_role("button", name=name, exact=True).click()
    assert violations(tab, rules) == []
    page.locator("#lanes-filter").fill("(")
    page.locator("#f-network-width").fill("0")
    page.locator("#f-network-width").press("Enter")
    page.locator("#m-network-width").wait_for()
    assert violations(tab, rules) == []  # with what is refused
    page.locator(".shelf").get_by_role("button", name="Zero is a third sign").click()
    page.locator(".story h2").wait_for()
    page.locator(".claims li").first.wait_for()
    assert violations(tab, rules) == []


def test_nothing_keeps_people_from_reading_it_on_a_phone(open_tab):
    tab = open_tab(**PHONE)
    tab.wait_for_step(1)
    assert violations(tab) == []
    width = tab.page.evaluate("document.documentElement.scrollWidth")
    assert width == 390, "it scrolls sideways"
    tab.page.get_by_role("button", name="Settings", exact=True).click()
    tab.page.locator(".drawn .rail").wait_for()
    assert violations(tab) == []


def test_a_link_restores_the_page_and_the_page_makes_links(open_tab):
    tab = open_tab(
        "?task=moons&schemes=full_precision,bnn,lab&scheme.lab.granularity=channel&speed=20"
        "&network.width=0&view=boundary&theme=dark&filter=lab&pin=bnn&nothing=1"
    )
    page = tab.page
    tab.wait_for_step(1)
    expect(page.locator(".lane .name")).to_have_text(["BNN", "LAB"])
    page.locator(".app.dark").wait_for()
    page.locator("[data-view=boundary][aria-selected=true]").wait_for()
    expect(page.locator("#m-network-width")).to_have_text(re.compile("^Enter a whole number"))
    expect(page.locator(".notice")).to_contain_text("nothing: nothing here is called so")
    page.locator("#f-lr").fill("0.02")
    page.locator("#f-lr").press("Enter")
    page.wait_for_url(lambda url: "lr=0.02" in url)
    page.locator("#lanes-filter").fill("")
    page.wait_for_url(lambda url: "filter" not in url and "pin=bnn" in url)
    page.get_by_role("button", name="Difference to LAB").click()
    page.wait_for_url(lambda url: "lr=0.02" in url and "baseline=lab" in url)
    again = open_tab(page.url.removeprefix(tab.page.url.split("?")[0]))
    again.wait_for_step(1)
    expect(again.page.locator("#f-lr")).to_have_value("0.02")
    expect(again.page.locator(".difference")).to_have_text("Difference to LAB")
    expect(again.page.locator(".lane .name")).to_have_text(["BNN", "Full precision", "LAB"])


def test_a_link_that_makes_no_sense_still_opens_a_page(open_tab):
    tab = open_tab(
        "?task=table&schemes=%00,..%2F..%2Fetc&story=x&view=..%2Fx&lr=%F0%9F%92%A9&seeds=-1"
    )
    tab.wait_for_step(1)
    notice = tab.page.locator(".notice")
    expect(notice).to_contain_text("there is no view '../x'")
    expect(notice).to_contain_text("there is no story 'x'")
    expect(tab.page.locator(".settings")).to_contain_text("There is no scheme")


def test_a_story_sets_the_page_up_points_and_measures(open_tab):
    tab = open_tab("?story=first-step")
    page = tab.page
    page.get_by_role("heading", name="Before anything is known").wait_for()
    tab.wait_for_state("paused")
    page.locator("[data-view=hessian][aria-selected=true]").wait_for()
    page.get_by_role("img", name="holds in this run").wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("heading", name="One update later").wait_for()
    page.locator(".transport .pointed").wait_for()
    page.get_by_role("img", name="not measured yet").wait_for()
    page.wait_for_url(lambda url: url.endswith("?story=first-step&at=2"))
    page.keyboard.press("ArrowRight")
    page.get_by_role("img", name="holds in this run").wait_for()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("heading", name="Before anything is known").wait_for()
    page.get_by_role("button", name="End the story").click()
    page.locator(".story").wait_for(state="hidden")
    page.wait_for_url(lambda url: "story" not in url and "view=hessian" in url)


def test_keys_train_step_and_turn_views(open_tab):
    tab = open_tab()
    tab.wait_for_step(2)
    page = tab.page
    page.locator("body").press(" ")
    held = tab.wait_for_state("paused")
    page.locator("body").press("ArrowRight")
    assert tab.wait_for_step(held + 1) == held + 1
    page.locator("body").press("Shift+ArrowRight")
    page.locator("[data-view=weights][aria-selected=true]").wait_for()
    page.locator("body").press("Shift+ArrowLeft")
    page.locator("[data-view=curves][aria-selected=true]").wait_for()
    page.locator("body").press("/")
    page.keyboard.type("b")
    expect(page.locator("#lanes-filter")).to_have_value("b")
    page.locator(".lanes-count").get_by_text("1 of 2").wait_for()
    page.locator("#lanes-filter").blur()
    page.locator("body").press("?")
    page.get_by_role("switch", name="Keys act").click()
    page.keyboard.press("Escape")
    page.locator("body").press("ArrowRight")
    page.wait_for_timeout(300)
    assert tab.step == held + 1


def test_pointing_at_a_figure_shows_that_step_on_the_cards(open_tab):
    tab = open_tab()
    tab.wait_for_step(20)
    tab.page.locator("body").press(" ")
    last = tab.wait_for_state("paused")
    canvas = tab.page.locator(".figures canvas").first
    moment = tab.page.locator(".moment").get_by_text("at step")
    for nudge in range(100):  # a figure that has just been put there does not hear the first
        box = canvas.bounding_box()
        tab.page.mouse.move(box["x"] + 70 + nudge % 2, box["y"] + box["height"] / 2)
        if moment.is_visible():
            break
        tab.page.wait_for_timeout(200)
    step = int(moment.inner_text().split()[-1])
    assert 0 <= step < last
    tab.page.mouse.move(5, 5)
    moment.wait_for(state="detached")


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=str)
def test_published_tables_have_a_page_that_can_be_read(open_tab, server, options):
    place = server.library / "lab-mnist-weights.bnnlab"
    if not place.exists():
        study.load("lab-mnist").comparisons(epochs=1, width=8)["weights"].create(place)
    tab = open_tab("reproductions", **options)
    tab.page.locator("section").first.wait_for()
    sections = tab.page.locator("section").evaluate_all("all => all.map(one => one.id)")
    assert sorted(sections) == sorted([*study.names(), "studies"])
    assert violations(tab) == []
    width = tab.page.viewport_size["width"]
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    link = tab.page.get_by_role("link", name="Open its runs").first
    assert link.get_attribute("href") == "./?open=lab-mnist-weights"


def test_the_dashboard_leads_to_the_published_tables(open_tab):
    tab = open_tab()
    tab.page.get_by_role("button", name="Untitled", exact=True).click()
    with tab.context.expect_page() as opened:
        tab.page.get_by_role("link", name="Published tables").click()
    opened.value.get_by_role("heading", name="Reproductions").wait_for()
