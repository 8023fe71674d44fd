"""Views over training, as films."""

import shutil

import pytest
from click.testing import CliRunner
from PIL import Image

from bnnlab import figures
from bnnlab.cli import main


@pytest.mark.parametrize("name", ["weights", "boundary"])
def test_a_gif_moves(name, log, tmp_path):
    path = figures.animate(name, log, tmp_path / "film.gif", width=3, dpi=50, lanes=["bnn", "lab"])
    with Image.open(path) as film:
        assert film.n_frames > len(log.runs[0].array_steps) - 1
        frames = []
        for number in range(len(log.runs[0].array_steps)):
            film.seek(number)
            assert film.width == 150
            frames.append(film.convert("RGB").tobytes())
    assert len(set(frames)) == len(frames)


def test_the_command_line_animates(trained_folder, tmp_path):
    arguments = ["figures", str(trained_folder), "--out", str(tmp_path), "--animate", "bits"]
    done = CliRunner().invoke(main, [*arguments, "--width", "80mm"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(tmp_path / "bits.gif")]
    refused = CliRunner().invoke(main, [*arguments, "--format", "pdf"])
    assert refused.exit_code == 2 and "the formats are .gif, .mp4" in refused.output


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("curves", "film.gif", "'curves' does not go back in time; these do: boundary, weights"),
        ("weights", "film.avi", r"cannot write 'film.avi'; the formats are .gif, .mp4"),
    ],
)
def test_what_does_not_move_is_refused(name, file, message, log, tmp_path):
    with pytest.raises(ValueError, match=message):
        figures.animate(name, log, tmp_path / file)


def test_a_film_needs_two_steps(empty_log, tmp_path):
    with pytest.raises(ValueError, match="fewer than two recorded steps"):
        figures.animate("weights", empty_log, tmp_path / "film.gif")


def test_without_ffmpeg_an_mp4_is_refused_in_words(log, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("ffmpeg") is None
    with pytest.raises(ValueError, match=r"ffmpeg, which is not installed; take \.gif"):
        figures.animate("weights", log, tmp_path / "film.mp4")
