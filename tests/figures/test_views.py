import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import bnnlab
from bnnlab import figures
from bnnlab.figures.marks import Band, Empty, Image, Line, Points, Spikes, Text
from bnnlab.figures.views.bits import unpack
from bnnlab.figures.views.boundary import LEVELS
from bnnlab.figures.views.cost import engineering
from bnnlab.figures.views.line_scan import _limits as line_limits

VIEWS = ["curves", "boundary", "weights", "bits", "flips", "scale", "estimator", "gradients",
         "time", "spectrum", "hessian", "line_scan", "cost", "roofline"]  # fmt: skip


def panels(name, log, **options):
    return figures.get(name, **options).panels(log)


def shape(drawn):
    return [(p.lane, p.title, [type(mark) for mark in p.marks]) for p in drawn]


def test_the_views_in_order():
    assert figures.names() == VIEWS


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_says_what_it_is_for(name):
    kind = figures.kinds()[name]
    assert kind.title
    assert kind.question.endswith(".")
    assert kind.__doc__
    assert all(kind.param[option].doc for option in kind.param if option != "name")


@pytest.mark.parametrize("name", VIEWS)
def test_panels_are_the_same_ones_whatever_was_recorded(name, growing):
    before = shape(panels(name, growing.log))
    assert before
    assert shape(panels(name, growing())) == before


@pytest.mark.parametrize("name", VIEWS)
def test_a_log_without_records_has_a_designed_picture(name, empty_log):
    for panel in panels(name, empty_log):
        assert isinstance(panel.marks[-1], Empty)
        assert panel.x_range[0] < panel.x_range[1]
        assert panel.y_range[0] < panel.y_range[1]
    said = {words for panel in panels(name, empty_log) for words in panel.marks[-1].text}
    if name in ("time", "spectrum"):
        assert said == {"no network here is recurrent: take the task text"}
    elif name != "estimator":  # its curves are known before anything is recorded
        assert said & {"no steps recorded yet", "nothing recorded yet", "not measured yet"}


@pytest.mark.parametrize("name", VIEWS)
def test_numbers_are_finite_and_ranges_hold(name, log):
    for panel in panels(name, log):
        assert np.isfinite([*panel.x_range, *panel.y_range]).all()
        for mark in panel.marks:
            columns = mark.columns()
            if isinstance(mark, Image):
                assert columns["image"].max() < mark.levels
            else:
                assert len({len(values) for values in columns.values()}) == 1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("weights", {"lanes": ["labb"]}, r"no lane 'labb'; the lanes are full_precision"),
        ("weights", {"layers": ["hidden9"]}, r"no layer 'hidden9'; the layers are hidden1"),
        ("weights", {"layers": []}, r"no layer given; the layers are hidden1"),
        ("flips", {"layers": ["hidden9"]}, r"no layer 'hidden9'"),
        ("curves", {"lanes": ["x", "lab"]}, r"no lane 'x'"),
        ("weights", {"seed": 7}, r"lane 'full_precision' has no seed 7; its seeds are 0, 1"),
        ("weights", {"step": 3}, r"recorded no arrays at step 3"),
    ],
)
def test_what_a_log_does_not_have_is_refused(name, options, message, log):
    with pytest.raises(ValueError, match=message):
        panels(name, log, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("curvess", {}, r"no view is called 'curvess'; there are curves, boundary"),
        ("curves", {"smooth": 1}, r"view 'curves' has no option 'smooth'; it takes .*smoothing"),
        ("curves", {"smoothing": 1.5}, r"smoothing"),
        ("curves", {"metrics": ["loss"]}, r"metrics"),
        ("estimator", {"of": "biases"}, r"of"),
        ("cost", {"batch": 0}, r"batch"),
    ],
)
def test_options_are_checked_at_the_door(name, options, message):
    with pytest.raises(ValueError, match=message):
        figures.get(name, **options)


def test_curves_show_each_lane_where_it_stands(log):
    loss, _, accuracy, _ = panels("curves", log, smoothing=0.0)
    lines = [mark for mark in loss.marks if isinstance(mark, Line)]
    assert [line.label for line in lines] == [log.run(lane).title for lane in log.lanes]
    runs = [run for run in log.runs if run.title == lines[0].label]
    expected = np.mean([run.column("train_loss")[1] for run in runs], axis=0)
    np.testing.assert_allclose(lines[0].y, expected)
    bands = [mark for mark in loss.marks if isinstance(mark, Band)]
    assert len(bands) == len(lines)  # two seeds
    assert accuracy.y_range[1] >= 100
    assert loss.y_log
    assert not panels("curves", log, log_axis=False)[0].y_log


def test_a_diverged_lane_is_marked_at_its_step(diverged_log):
    for panel in panels("curves", diverged_log):
        crosses = [m for m in panel.marks if isinstance(m, Points) and len(m.x)]
        assert len(crosses) == 1
        assert "BNN ×" in [words for m in panel.marks if isinstance(m, Text) for words in m.text]
    headings = [p.heading for p in panels("weights", diverged_log, layers=["hidden2"])]
    assert "BNN · diverged at 20 · latent" in headings
    assert sum("diverged" in heading for heading in headings) == 1


def test_weights_mark_walls_and_alpha(log):
    latent, binary = panels("weights", log, lanes=["lab"], layers=["hidden2"])
    arrays = log.run("lab").arrays()
    alpha = float(arrays["binary_values/hidden2"][1])
    walls, alphas, _ = [mark for mark in latent.marks if isinstance(mark, Spikes)]
    reach = float(arrays["latent_edges/hidden2"][-1])
    assert walls.x.tolist() == ([-1, 1] if reach >= 1 else [])
    np.testing.assert_allclose(alphas.x, [-alpha, alpha])
    (stems,) = [mark for mark in binary.marks if isinstance(mark, Spikes)]
    counts = arrays["binary_counts/hidden2"]
    np.testing.assert_allclose(stems.height, counts / counts.sum())


def test_full_precision_has_no_binary_weights(log):
    _, binary = panels("weights", log, lanes=["full_precision"], layers=["hidden2"])
    assert binary.empty == "kept in 32 bits"


def test_weights_have_the_same_axes_in_every_lane(log):
    drawn = panels("weights", log, layers=["hidden2"])
    assert len({panel.x_range for panel in drawn[::2]}) == 1
    assert len({panel.x_range for panel in drawn[1::2]}) == 1


def test_weights_go_back_in_time(log):
    now, then = (panels("weights", log, lanes=["lab"], layers=["hidden2"], step=step)
                 for step in (None, 0))  # fmt: skip
    assert not np.array_equal(now[0].marks[0].high, then[0].marks[0].high)


def test_bits_are_those_recorded(log):
    (panel,) = panels("bits", log, lanes=["bnn"], layers=["hidden2"])
    arrays = log.run("bnn").arrays()
    signs = unpack(arrays["bits/hidden2"], arrays["bits_shape/hidden2"])
    flipped = unpack(arrays["flipped/hidden2"], arrays["bits_shape/hidden2"])
    image = panel.marks[0].columns()["image"][::-1]  # drawn from the bottom
    np.testing.assert_array_equal(image % 2, signs)
    np.testing.assert_array_equal(image // 2, flipped)


@pytest.mark.parametrize("of", ["activations", "weights"])
def test_estimator_draws_what_training_uses(of, log):
    (panel,) = panels("estimator", log, of=of, lanes=["bnn"], layers=["hidden2"])
    forward, pseudo = [mark for mark in panel.marks if isinstance(mark, Line)]
    curve = log.run("bnn").description["estimators"][of]
    np.testing.assert_allclose(forward.y, curve["forward"], rtol=1e-6)
    np.testing.assert_allclose(pseudo.y, curve["pseudo_gradient"], rtol=1e-6)
    share = log.run("bnn").column(f"blocked_{of}/hidden2")[1][-1]
    words = [w for mark in panel.marks if isinstance(mark, Text) for w in mark.text]
    assert any(w.endswith("% blocked") and f"{100 * share:.0f}"[0] == w[0] for w in words)


def test_lanes_without_an_estimator_are_not_drawn(log):
    lanes = {panel.lane for panel in panels("estimator", log)}
    assert "bnn" in lanes
    assert not lanes & {"full_precision", "bwn", "lab"}
    (only,) = panels("gradients", log, lanes=["full_precision"])
    assert only.empty == "no lane here estimates gradients of activations"


def test_gradients_share_one_scale(log):
    (panel,) = panels("gradients", log, lanes=["bnn"], layers=["hidden2"])
    arrays = log.run("bnn").arrays()
    before, after = (arrays[f"gradient_activations_{when}/hidden2"] for when in ("before", "after"))
    after_band, before_line = panel.marks[:2]
    ratio = after_band.high.sum() / before_line.y.sum()
    assert ratio == pytest.approx(after.sum() / before.sum(), rel=1e-5)


def test_hessian_shows_lab_beside_bwn(log):
    drawn = panels("hessian", log, lanes=["lab"], layers=["hidden2"])
    assert [panel.title for panel in drawn] == ["hidden2 d", "hidden2 |w| d", "hidden2 α",
                                                "hidden2 error"]  # fmt: skip
    for key, panel in (("alpha", drawn[2]), ("error", drawn[3])):
        own, plain = [mark for mark in panel.marks if isinstance(mark, Line)]
        np.testing.assert_allclose(own.y, log.run("lab").column(f"{key}/hidden2")[1])
        np.testing.assert_allclose(plain.y, log.run("lab").column(f"{key}_bwn/hidden2")[1])
    assert np.all(own.y <= plain.y * (1 + 1e-5))


def test_hessian_of_other_schemes_says_so(log):
    (only,) = panels("hessian", log, lanes=["bwn"])
    assert "add lab or lab2" in only.empty


def test_line_scan_marks_each_choice(log):
    (panel,) = panels("line_scan", log, lanes=["lab"], layers=["hidden2"])
    arrays, run = log.run("lab").arrays(), log.run("lab")
    losses = arrays["line_scan/hidden2"]
    (curve,) = [mark for mark in panel.marks if isinstance(mark, Line)]
    np.testing.assert_allclose(curve.y, losses)
    np.testing.assert_allclose(curve.x, np.linspace(-2, 2, 13), atol=1e-5)
    plain, best, own = [mark for mark in panel.marks if isinstance(mark, Points)]
    assert (own.x[0], own.y[0]) == (0, losses[6])
    assert (best.x[0], best.y[0]) == (curve.x[losses.argmin()], losses.min())
    constant, chosen = (run.column(f"{key}/hidden2")[1][-1] for key in ("alpha_bwn", "alpha"))
    assert plain.x[0] == pytest.approx(np.log2(constant / chosen), abs=1e-4)
    assert losses.min() <= plain.y[0] <= losses.max()
    said = next(mark.text for mark in panel.marks if isinstance(mark, Text))
    assert said[1] == f"○  BWN {figures.view.number(constant)}" and len(said) == 3
    assert panel.y_range[0] <= losses.min() and losses.max() <= panel.y_range[1]


def test_line_scan_goes_back_in_time(log):
    then = panels("line_scan", log, lanes=["lab"], layers=["hidden2"], step=0)[0]
    plain, _, own = [mark for mark in then.marks if isinstance(mark, Points)]
    assert plain.x[0] == pytest.approx(own.x[0], abs=1e-5)  # the curvature is constant at first


def test_line_scan_is_there_for_loss_aware_lanes_alone(log, empty_log, tmp_path):
    view = figures.get("line_scan")
    assert view.applies(log) and view.applies(empty_log)
    scanned = {panel.lane for panel in panels("line_scan", log)}
    assert {"lab", "lab2"} <= scanned and not scanned & {"full_precision", "bwn", "bnn"}
    (only,) = panels("line_scan", log, lanes=["bwn"])
    assert "add lab or lab2" in only.empty
    comparison = bnnlab.Comparison(
        task="moons", schemes=[{"name": "lab", "granularity": "channel"}], steps=2, probe_every=1
    )
    channels = comparison.run(tmp_path / "channels.bnnlab", progress=False)
    assert not view.applies(channels)
    assert all("one scaling factor" in p.empty for p in view.panels(channels))


@pytest.mark.parametrize(
    ("losses", "limits"),
    [
        ([], (0.01, 1.0)),
        ([0.0, np.nan], (0.01, 1.0)),
        ([0.03, 0.4], (0.02, 0.5)),
        ([0.5, 0.5], (0.25, 0.5)),
        ([1e-9, 3.0, np.inf], (0.0005, 5.0)),
        ([1.0, 1e30], (1.0, 1e4)),
    ],
)
def test_the_axis_of_a_line_scan_is_round_and_holds_what_it_can(losses, limits):
    assert line_limits(np.array(losses, dtype=np.float32)) == pytest.approx(limits)


def test_boundary_keeps_the_sign_of_the_score(log):
    (panel,) = panels("boundary", log, lanes=["bnn"])
    score = log.run("bnn").arrays()["boundary"]
    np.testing.assert_array_equal(panel.marks[0].values >= LEVELS // 2, score >= 0)


def test_boundary_needs_a_plane(digits_log):
    (only,) = panels("boundary", digits_log)
    assert "does not lie in a plane" in only.empty
    assert not figures.get("boundary").applies(digits_log)


def test_cost_says_how_many_times_less(trained_folder, tmp_path):
    folder = shutil.copytree(trained_folder, tmp_path / "measured.bnnlab")
    cost = {
        "weights_1bit": 1000, "weights_32bit": 0, "other_32bit": 20, "bytes_float32": 4000,
        "bytes_packed": 200, "macs": {"xnor": 900, "sign_float": 100, "float": 0},
        "predictions": 50, "predictions_equal": 49,
        "memory_packed_bytes": 150, "memory_float32_bytes": 4080,
        "batches": [{"batch": 1, "packed_s": {"median": 1e-5}, "torch_s": {"median": 5e-5},
                     "onednn_s": {"median": 2e-5}}],
    }  # fmt: skip
    (bnnlab.open(folder).run("bnn").folder / "cost.json").write_text(json.dumps(cost))
    log = bnnlab.open(folder)
    words = {
        panel.title: [w for mark in panel.marks[:-2] if isinstance(mark, Text) for w in mark.text]
        for panel in panels("cost", log)
    }
    assert words["parameters"] == ["1.00 k / 20"]
    assert words["file · times smaller"] == ["200 B · 20×"]
    assert words["time, batch of 1 · speed-up"] == ["10.0 µs · 5× / 2×"]
    legends = {panel.title: panel.marks[-2].text[0] for panel in panels("cost", log)}
    assert legends["time, batch of 1 · speed-up"] == (
        "■ packed   ○ torch   △ oneDNN   ◇ bf16   ▽ int8"
    )
    assert legends["parameters"].startswith("■ 1-bit")
    assert words["multiply-accumulates"] == ["900 / 100"]
    with pytest.raises(ValueError, match="no times for batches of 7; there are some for 1"):
        panels("cost", log, batch=7)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(284, "", "284"), (25_856, "", "25.9 k"), (5480, "B", "5.48 kB"), (7.35e-5, "s", "73.5 µs"),
     (1.5, "s", "1.50 s"), (12e6, "", "12.0 M")],
)  # fmt: skip
def test_quantities_are_said_in_three_digits(value, unit, said):
    assert engineering(value, unit) == said


def test_views_need_neither_torch_nor_a_plotting_library(trained_folder):
    code = (
        "import sys, bnnlab; from bnnlab import figures;"
        f"log = bnnlab.open({str(trained_folder)!r});"
        "[figures.get(name).panels(log) for name in figures.names()];"
        "print([m for m in ('torch', 'panel', 'holoviews', 'bokeh', 'matplotlib', 'pandas')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_live_views_and_files_need_no_torch():
    code = (
        "import sys, bnnlab.figures.live, bnnlab.figures.export;"
        "print([m for m in ('torch', 'panel', 'holoviews', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
