"""Throughput below the limit, from records alone."""

import json
import shutil

import numpy as np
import pytest

import bnnlab
from bnnlab import figures
from bnnlab.figures import throughput
from bnnlab.figures.marks import Line, Text


def timing(median):
    return {"median": median, "low": median * 0.9, "high": median * 1.1}


def row(m, n, packed=1e-3):
    times = {"packed": packed, "kernel": packed / 2, "torch": 10 * packed, "reading": 1e-9}
    return {
        "kernel": "bits", "shape": [m, n, n], "operations": 2 * m * n * n,
        "seconds": {name: timing(seconds) for name, seconds in times.items()},
        "limit": {"share": timing(0.5), "bound": "reading", "seconds": timing(packed / 4)},
    }  # fmt: skip


def record(*rows):
    return {
        "machine": "a machine", "isa": "avx2", "rounds": 3, "torch": "2", "bnnlab": "0",
        "date": "2026-01-01", "rows": list(rows),
    }  # fmt: skip


def drawn(panel):
    return {mark.label: mark for mark in panel.marks if isinstance(mark, Line)}


def words(panel):
    return [said for mark in panel.marks if isinstance(mark, Text) for said in mark.text]


def test_layers_against_samples_and_against_width():
    every = record(row(1, 64), row(4, 64), row(16, 64), row(1, 128), row(4, 128))
    drawing = throughput.drawing(every)
    assert [panel.heading for panel in drawing.panels] == [
        "64 inputs and outputs", "1 sample", "4 samples",
    ]  # fmt: skip
    first = drawing.panels[0]
    assert [name for _, name in first.x_ticks] == ["1", "4", "16"]
    packed, limit = drawn(first)["packed"], drawn(first)["limit"]
    np.testing.assert_allclose(packed.x, np.log10([1, 4, 16]))
    np.testing.assert_allclose(packed.y, [2 * m * 64 * 64 / 1e6 for m in (1, 4, 16)])
    np.testing.assert_allclose(limit.y, 4 * packed.y)
    assert not len(drawn(first)["oneDNN"].x)
    assert sorted(words(first)) == ["F.linear", "kernel", "limit", "packed"]
    assert "avx2 kernels" in drawing.caption and "a machine" in drawing.caption


def test_without_a_product_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="no product of signs"):
        throughput.drawing(record())


def test_labels_stay_apart():
    curves = {name: [(1.0, 10.0, 9.0, 11.0), (2.0, 10.0, 9.0, 11.0)] for name in throughput.NAMES}
    panel = throughput.panel("", "", "", curves, (1.0, 100.0))
    at = np.log(sorted(y for mark in panel.marks if isinstance(mark, Text) for y in mark.y))
    assert len(at) == len(throughput.NAMES) - 1  # packed and kernel have one
    assert np.diff(at).min() > 0.05 * np.log(100.0)


def test_networks_are_drawn_from_their_cost_also_from_before_there_were_limits(
    trained_folder, tmp_path
):
    folder = shutil.copytree(trained_folder, tmp_path / "measured.bnnlab")
    batches = [{"batch": batch, "packed_s": timing(batch * 1e-6), "torch_s": timing(batch * 1e-5),
                "packing_s": None} for batch in (1, 100)]  # fmt: skip
    old = {"batches": batches, "isa": "avx2"}
    limit = {"share": timing(0.25), "bound": "counting", "seconds": timing(2.5e-7)}
    new = {"batches": [batch | {"limit": limit} for batch in batches], "isa": "avx512"}
    log = bnnlab.open(folder)
    assert not figures.get("roofline").applies(log)
    for lane, cost in (("bnn", old), ("lab", new)):
        (log.run(lane).folder / "cost.json").write_text(json.dumps(cost))
    log.refresh()
    view = figures.get("roofline", lanes=["bnn", "lab", "full_precision"])
    assert view.applies(log)
    before, now, none = view.panels(log)
    assert before.heading == "BNN · avx2" and now.heading == "LAB · 25 % of the limit · avx512"
    assert none.empty == "not measured yet"
    np.testing.assert_allclose(drawn(before)["packed"].y, [1.0, 1.0])
    assert not len(drawn(before)["limit"].y) and len(drawn(now)["limit"].y) == 2
