"""Trainers in processes of their own, led by the conductor."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from waiting import wait_for

from bnnlab import Comparison, Conductor
from bnnlab.training import checkpoint, files
from bnnlab.training.conductor import TrainerDied
from bnnlab.training.recorder import Recorder, RunIsBusy

SMALL = {
    "task": "moons",
    "network": {"name": "mlp", "width": 12, "depth": 2},
    "batch_size": 32,
    "probe_every": 10,
    "evaluate_every": 10,
    "checkpoint_every": 20,
}


def create(folder, **settings):
    return Comparison(**SMALL | settings).create(folder)


def test_play_pause_step_and_what_they_do_to_the_lanes(tmp_path):
    log = create(tmp_path / "a", schemes=["full_precision", "bnn", "lab"], steps=100_000)
    with Conductor(log.path, processes=2) as conductor:
        assert conductor.status().state == "paused"
        conductor.play()
        wait_for(lambda: conductor.status().step > 20)
        apart = []
        for _ in range(30):
            steps = [files.last_step(run.folder) for run in log.runs]
            apart.append(max(steps) - min(steps))
            time.sleep(0.01)
        conductor.pause()
        wait_for(lambda: conductor.status().state == "paused")
        stood = conductor.status().step
        time.sleep(0.3)
        assert conductor.status() == ("paused", stood, log.steps, "")
        assert {files.last_step(run.folder) for run in log.runs} == {stood}
        for _ in range(3):  # each counts, however quickly they follow one another
            conductor.step()
        wait_for(lambda: conductor.status() == ("paused", stood + 3, log.steps, ""))
        assert {files.last_step(run.folder) for run in log.runs} == {stood + 3}
        pids = conductor.pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert all(checkpoint.read(run.folder).step == files.last_step(run.folder) for run in log.runs)
    # Three lanes in two processes stay within what is trained between two drawings.
    assert sorted(apart)[len(apart) // 2] < 200


def test_checkpoints_are_written_when_asked_for(tmp_path):
    log = create(tmp_path / "a", schemes=["full_precision", "bnn"], checkpoint_every=50_000)

    def saved():
        return [checkpoint.newest_step(run.folder) for run in log.runs]

    with Conductor(log.path, processes=2) as conductor:
        conductor.save()
        assert saved() == [0, 0]
        conductor.play(until=7)
        wait_for(lambda: conductor.status() == ("paused", 7, log.steps, ""))
        conductor.save()
        assert saved() == [7, 7]
        os.kill(conductor.pids[0], signal.SIGKILL)
        conductor.step()
        wait_for(lambda: conductor.status().state == "crashed")
        with pytest.raises(TrainerDied, match="the trainers did not write checkpoints"):
            conductor.save()


def test_speed_limits_the_pace(tmp_path):
    log = create(tmp_path / "a", schemes=["bnn"], steps=100_000)
    with Conductor(log.path) as conductor:
        conductor.speed = 20
        conductor.play()
        wait_for(lambda: conductor.status().step >= 1)
        began, first = time.monotonic(), conductor.status().step
        time.sleep(1)
        made = conductor.status().step - first
        assert made <= 20 * (time.monotonic() - began) + 5
        conductor.speed = None
        wait_for(lambda: conductor.status().step > first + 200)
        with pytest.raises(ValueError, match="steps is 3, but"):
            conductor.set(steps=3)
    with pytest.raises(ValueError, match="speed is 0; give steps a second above 0"):
        conductor.speed = 0
    with pytest.raises(ValueError, match="processes is 0; give 1 to 64"):
        Conductor(log.path, processes=0)


def test_a_step_size_set_while_it_runs_is_kept_and_reproduced(tmp_path):
    log = create(tmp_path / "a", schemes=["bnn", "lab"], steps=400)
    with Conductor(log.path, processes=2) as conductor:
        conductor.speed = 200
        conductor.play()
        wait_for(lambda: conductor.status().step > 40)
        conductor.set(lr=0.05)
        wait_for(lambda: conductor.status().state == "finished")
        with pytest.raises(ValueError, match="lr is -1"):
            conductor.set(lr=-1)
    [change] = log.changes.lines
    assert change["lr"] == 0.05 and change["at"] > 40
    again = create(tmp_path / "b", schemes=["bnn", "lab"], steps=400)
    files.append_line(again.path / "changes.jsonl", change)
    with Conductor(again.path, processes=1) as conductor:
        conductor.play()
        wait_for(lambda: conductor.status().state == "finished")
    assert recorded(log) == recorded(again)


def recorded(log):
    return {run.id: (run.folder / "scalars.jsonl").read_bytes() for run in log.runs}


def left(log):
    """What a run leaves: every recorded byte, its end, and its last state."""
    found = {}
    for run in log.runs:
        state = checkpoint.read(run.folder)
        found[run.lane] = (
            (run.folder / "scalars.jsonl").read_bytes(),
            {path.name: path.read_bytes() for path in (run.folder / "arrays").iterdir()},
            files.read_json(run.folder / "end.json"),
            state.step,
            {name: tensor.numpy().tobytes() for name, tensor in state.tensors.items()},
        )
    return found


def test_twenty_kills_at_random_moments_leave_no_trace(tmp_path):
    lanes = ["binary_connect_stochastic", "lab"]
    steps = 3000
    undisturbed = create(tmp_path / "whole", schemes=lanes, steps=steps).path
    with Conductor(undisturbed, processes=1) as conductor:
        conductor.play()
        wait_for(lambda: conductor.status().state == "finished")
    log = create(tmp_path / "killed", schemes=lanes, steps=steps)
    moments = random.Random(7)
    with Conductor(log.path, processes=1) as conductor:
        conductor.speed = 1000
        for kill in range(20):
            before = conductor.status().step
            conductor.play()
            if kill % 4:  # every fourth is killed while it starts
                wait_for(lambda step=before: conductor.status().step > step)
            time.sleep(moments.uniform(0, 0.1))
            os.kill(conductor.pids[0], signal.SIGKILL)
            wait_for(lambda: conductor.status().state == "crashed")
            assert "signal 9" in conductor.status().why
            conductor.resume()
            assert conductor.status().state == "paused"
        assert conductor.status().step < steps
        conductor.play()
        wait_for(lambda: conductor.status().state == "finished")
    assert left(log) == left(type(log)(undisturbed))


def test_a_reader_follows_a_run_across_a_kill(tmp_path):
    log = create(tmp_path / "a", schemes=["bnn"], steps=100)
    [run] = log.runs
    with Conductor(log.path) as conductor:
        conductor.play(until=35)
        wait_for(lambda: conductor.status().step == 35)
        log.refresh()
        assert run.step == 35
        os.kill(conductor.pids[0], signal.SIGKILL)
        wait_for(lambda: conductor.status().state == "crashed")
        conductor.resume()
        conductor.play(until=50)
        wait_for(lambda: conductor.status().step == 50)
        log.refresh()
        steps, _ = run.column("train_loss")
        assert steps.tolist() == list(range(1, 51))


STARTER = """
import sys, time
from bnnlab import Conductor
conductor = Conductor(sys.argv[1]).start()
conductor.play()
print(*conductor.pids, flush=True)
time.sleep(600)
"""


def test_when_its_starter_dies_a_trainer_saves_and_leaves(tmp_path):
    log = create(tmp_path / "a", schemes=["bnn"], steps=100_000)
    command = [sys.executable, "-c", STARTER, str(log.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        pid = int(starter.stdout.readline())
        wait_for(lambda: files.last_step(log.runs[0].folder) > 5)
        starter.kill()
    wait_for(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
    assert checkpoint.read(log.runs[0].folder).step == files.last_step(log.runs[0].folder)


def test_markers_that_come_and_go_do_not_disturb_whoever_looks(tmp_path):
    """Runs that are extended lose the markers of their ends at any moment."""
    log = create(tmp_path / "a", schemes=["lab"], steps=10)
    marker = log.runs[0].folder / "end.json"
    leave = threading.Event()

    def come_and_go():
        while not leave.is_set():
            files.write_json(marker, {"state": "done", "step": 5})
            marker.unlink()

    with Conductor(log.path) as conductor:
        trainer = threading.Thread(target=come_and_go)
        trainer.start()
        try:
            assert {conductor.status().state for _ in range(3000)} == {"paused"}
        finally:
            leave.set()
            trainer.join()


def test_two_trainers_cannot_write_one_run(tmp_path):
    log = create(tmp_path / "a", schemes=["bnn"], steps=100)
    holder = Recorder(log.runs[0].folder)
    with pytest.raises(RunIsBusy, match="another trainer"):
        Recorder(log.runs[0].folder)
    with Conductor(log.path) as conductor:
        conductor.play()
        wait_for(lambda: conductor.status().state == "crashed")
        assert "another trainer" in conductor.status().why
    holder.close()


def test_a_run_with_a_progress_bar_resumes_and_extends(tmp_path, capfd):
    comparison = Comparison(**SMALL, schemes=["bnn", "lab"], seeds=2, steps=60)
    log = comparison.run(tmp_path / "a", processes=2)
    assert "60/60" in capfd.readouterr().err
    assert [run.end["state"] for run in log.runs] == ["done"] * 4
    before = recorded(log)
    assert recorded(comparison.run(tmp_path / "a", progress=False)) == before
    longer = Comparison(**SMALL, schemes=["bnn", "lab"], seeds=2, steps=80)
    log = longer.run(tmp_path / "a", progress=False)
    assert all(run.step == 80 for run in log.runs)
