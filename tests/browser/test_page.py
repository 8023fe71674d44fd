"""The dashboard in a real browser, with the network cut."""

import os
import signal
import xml.etree.ElementTree as ElementTree

from playwright.sync_api import expect

import bnnlab

LANES = ["Full precision", "BinaryConnect", "BWN", "BNN", "XNOR-Net", "DoReFa-Net", "LAB", "LAB2"]


def field(tab, key):
    return tab.page.locator(f"#f-{key}")


def pause(tab):
    """Pause, and give the step that the training then holds."""
    tab.page.get_by_role("button", name="Pause").click()
    return tab.wait_for_state("paused")


def test_opens_without_a_network_and_trains_by_itself(open_tab, server):
    tab = open_tab("")
    tab.wait_for_step(1)
    tab.page.get_by_label("Speed in steps a second").select_option("20")
    expect(tab.page.locator(".lane .name")).to_have_text(LANES)
    first = tab.wait_for_step(2)
    assert tab.wait_for_step(first + 10) > first
    canvas = tab.page.locator(".figures canvas").first
    before = canvas.screenshot()
    tab.wait_for_step(first + 20)
    server.wait(lambda: canvas.screenshot() != before, "the curves to move")


# Clicks a button and gives the states that show from then on, one after the other, until "paused".
_STATES = """async (button) => {
    const state = button.getRootNode().querySelector(".state")
    const seen = [state.dataset.state]
    const watch = new MutationObserver(() => seen.push(state.dataset.state))
    watch.observe(state, { attributes: true, attributeFilter: ["data-state"] })
    button.click()
    for (let tries = 0; tries < 400 && seen.at(-1) !== "paused"; tries++)
        await new Promise((done) => setTimeout(done, 50))
    await new Promise((done) => setTimeout(done, 500))
    watch.disconnect()
    return seen
}"""


def test_pause_holds_then_single_step_and_reset(tab, server):
    tab.wait_for_step(5)
    seen = tab.page.locator(".play").evaluate(_STATES)
    assert seen in (["playing", "pausing", "paused"], ["playing", "paused"])
    held = tab.step
    tab.page.get_by_role("button", name="One step").click()
    tab.wait_for_step(held + 1)
    assert tab.wait_for_state("paused") == held + 1
    tab.page.get_by_role("button", name="Play").click()
    tab.wait_for_step(held + 10)
    tab.page.get_by_role("button", name="Reset").click()
    server.wait(lambda: tab.step < 10, "the beginning")
    tab.wait_for_step(12)
    tab.page.get_by_role("button", name="Stop").click()
    tab.wait_for_state("stopped")


def test_a_bad_value_is_refused_beside_its_field_with_the_range(tab):
    tab.wait_for_step(1)
    width = field(tab, "network-width")
    width.fill("0")
    width.press("Enter")
    message = tab.page.locator("#m-network-width")
    expect(message).to_have_text("Enter a whole number from 1 to 4,096.")
    expect(width).to_have_attribute("aria-invalid", "true")
    assert not tab.page.get_by_role("button", name="Restart with these settings").is_visible()
    step = tab.step
    tab.wait_for_step(step + 5)
    width.fill("32")
    width.press("Enter")
    message.wait_for(state="hidden")
    restart = tab.page.get_by_role("button", name="Restart with these settings")
    expect(tab.page.locator(".restart p")).to_contain_text("width 16 → 32")
    restart.click()
    restart.wait_for(state="hidden")
    tab.wait_for_step(3)
    expect(width).to_have_value("32")


def test_step_size_and_smoothing_act_at_once(tab, server):
    tab.wait_for_step(5)
    rate = field(tab, "lr")
    rate.fill("0.02")
    rate.press("Enter")
    server.wait(
        lambda: any(
            '"lr": 0.02' in kept.read_text() for kept in server.temporary.glob("**/changes.jsonl")
        ),
        "the change to be kept",
    )
    pause(tab)
    canvas = tab.page.locator(".figures canvas").first
    before = canvas.screenshot()
    slider = tab.page.get_by_label("Smoothing")
    slider.focus()
    slider.press("End")
    server.wait(lambda: canvas.screenshot() != before, "smoother curves")


def test_every_view_opens(open_tab):
    tab = open_tab("?task=moons&schemes=full_precision,bnn,lab&network.width=16&speed=20")
    tab.wait_for_step(5)
    for view in tab.page.get_by_role("tab").all():
        view.click()
        tab.page.locator(
            f"[data-view={view.get_attribute('data-view')}][aria-selected=true]"
        ).wait_for()
        tab.page.locator(".figures canvas").first.wait_for()


def is_valid(kind, data):
    if kind == "PDF":
        return data.startswith(b"%PDF-") and b"%%EOF" in data[-32:]
    if kind == "PNG":
        return data.startswith(b"\x89PNG\r\n\x1a\n")
    if kind == "SVG":
        return ElementTree.fromstring(data).tag.endswith("svg")
    return b"<html" in data[:2000].lower()


def test_figures_download_as_valid_files(tab):
    tab.wait_for_step(5)
    for what, kind in (
        ("This view", "PDF"),
        ("This view", "SVG"),
        ("This view", "PNG"),
        ("This view", "HTML"),
        ("Whole sheet", "PDF"),
    ):
        with tab.page.expect_download() as download:
            button = tab.page.get_by_role("button", name=f"{what} as {kind}")
            if not button.is_visible():
                tab.page.get_by_role("button", name="Export", exact=True).click()
            button.click()
        assert download.value.suggested_filename.endswith(kind.lower())
        assert is_valid(kind, download.value.path().read_bytes()), (what, kind)


def test_a_network_downloads_packed_long_before_its_first_checkpoint(tab, tmp_path):
    page = tab.page
    tab.wait_for_step(5)
    page.keyboard.press("Space")
    tab.wait_for_state("paused")
    page.get_by_role("button", name="Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Packed network as safetensors").click()
    assert download.value.suggested_filename == "bnnlab-bnn.safetensors"
    download.value.save_as(tmp_path / "bnn.safetensors")
    assert bnnlab.load_packed(tmp_path / "bnn.safetensors").outputs == 10
    page.locator(".notice").get_by_text("bnn.safetensors: ").wait_for()


def test_a_second_tab_is_independent(tab, open_tab):
    tab.wait_for_step(5)
    held = pause(tab)
    other = open_tab()
    other.wait_for_step(10)
    assert tab.step == held
    other.page.get_by_role("button", name="Pause").click()
    tab.page.get_by_role("button", name="Play").click()
    tab.wait_for_step(held + 5)


def test_a_killed_trainer_is_reported_and_resumes(open_tab, server):
    server.wait(lambda: not server.trainers(), "trainers of earlier pages to leave")
    tab = open_tab()
    tab.wait_for_step(5)
    os.kill(max(server.trainers()), signal.SIGKILL)
    notice = tab.page.locator(".notice")
    notice.get_by_text("A trainer died").wait_for()
    step = tab.step
    notice.get_by_role("button", name="Resume").click()
    tab.wait_for_state("playing")
    tab.wait_for_step(step + 5)
    notice.wait_for(state="hidden")


def test_a_comparison_is_named_reopened_and_downloaded(tab, server):
    tab.wait_for_step(5)
    tab.page.get_by_role("button", name="Untitled").click()
    name = tab.page.get_by_label("Name of this comparison")
    name.fill("../outside")
    name.press("Enter")
    tab.page.locator(".library .message").get_by_text("cannot be a name").wait_for()
    name.fill("first try")
    name.press("Enter")
    tab.page.locator(".name .title").get_by_text("first try").wait_for()
    assert (server.library / "first try.bnnlab" / "comparison.json").is_file()
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "first try.bnnlab.zip"
    archive = download.value.path()
    tab.page.locator("#library-file").set_input_files(
        {"name": "sent.bnnlab.zip", "mimeType": "application/zip", "buffer": archive.read_bytes()}
    )
    tab.page.get_by_role("button", name="Open sent").click()
    tab.page.locator(".name .title").get_by_text("sent").wait_for()
    tab.wait_for_state("paused")


def test_closing_pages_leaves_no_process_and_no_folder(server, open_tab):
    tab = open_tab()
    tab.wait_for_step(5)
    server.wait(server.trainers, "a trainer")
    tab.close()
    server.wait(lambda: not server.trainers(), "its trainers to leave")
    server.wait(lambda: not list(server.temporary.glob("bnnlab-*")), "its folder to go")
