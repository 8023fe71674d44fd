"""What the README says is run, with fewer steps; what it lists is there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bnnlab import schemes, tasks
from bnnlab.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def fewer(text):
    """Ask for ten steps: a test need not learn anything."""
    shorter, count = re.subn(r"(steps[= ])300", r"\g<1>10", text)
    assert count == 1
    return shorter


def run(command, folder):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_begins_with_the_two_commands_and_they_are_there():
    first, _, rest = README.partition("```sh\n")
    assert first.strip() == "# bnnlab"
    lines = rest.partition("```")[0].strip().splitlines()
    assert [line.partition("#")[0].strip() for line in lines] == ["make app", "make test"]
    # This may itself be run by make, which tells its children how.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    plan = subprocess.run(
        ["make", "--dry-run", "app"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert plan.rstrip().endswith("/bin/bnnlab serve")


def test_the_commands_work_one_after_the_other(tmp_path):
    _, commands = blocks("sh")
    for line in fewer(commands).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "bnnlab"
        run([sys.executable, "-m", "bnnlab", *arguments], tmp_path)
    assert (tmp_path / "figures" / "sheet.pdf").is_file()
    assert (tmp_path / "bnn.safetensors").is_file()
    assert (tmp_path / "digits.bnnlab.zip").is_file()


def test_the_python_works(tmp_path):
    (code,) = blocks("python")
    printed = run([sys.executable, "-c", fewer(code)], tmp_path)
    assert "hidden1" in printed
    assert (tmp_path / "weights.pdf").is_file() and (tmp_path / "bnn.safetensors").is_file()


@pytest.mark.parametrize("name", [*schemes.names(), *tasks.names()])
def test_schemes_and_tasks_are_named(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_is_linked_is_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    for path in re.findall(r"`((?:bnnlab|tests|docs|kernels)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_commands_that_are_named_exist():
    named = set(re.findall(r"`bnnlab (\w+)[^`\n]*`", README))
    assert "serve" in named and named <= set(main.list_commands(None))
