"""Views over training, as films."""

import subprocess
import sys

import imageio_ffmpeg
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


def ffmpeg(path, *to):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, *to, "-"]
    return subprocess.run(command, capture_output=True, check=True)


def test_an_mp4_moves(log, tmp_path):
    path = figures.animate("weights", log, tmp_path / "film.mp4", width=3, dpi=50, lanes=["lab"])
    read = ffmpeg(path, "-f", "rawvideo", "-pix_fmt", "gray")
    assert b"Video: h264" in read.stderr and b"8 fps" in read.stderr
    frames = len(log.runs[0].array_steps) + 10  # the last one stays
    assert len(read.stdout) % frames == 0
    size = len(read.stdout) // frames
    pictures = {read.stdout[at : at + size] for at in range(0, len(read.stdout), size)}
    assert len(pictures) > 2


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_films_say_how_to_make_them_again(suffix, log, tmp_path):
    path = figures.animate("weights", log, tmp_path / f"film.{suffix}", width=3, lanes=["lab"])
    if suffix == "gif":
        with Image.open(path) as film:
            said = film.info["comment"].decode()
    else:
        said = ffmpeg(path, "-f", "ffmetadata").stdout.decode().replace("\\", "")
    assert "log = bnnlab.Comparison.from_dict(" in said
    assert f"bnnlab.figures.animate('weights', log, 'film.{suffix}', width=3, dpi=110" in said
    assert "lanes=['lab']" in said
    assert " · mlp, width 12" in said


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
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ValueError, match=r"which is not installed: pip install 'bnnlab\[mp4\]'"):
        figures.animate("weights", log, tmp_path / "film.mp4")
