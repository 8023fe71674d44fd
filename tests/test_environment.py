"""environment.yml says what pyproject.toml says, under conda's names; the Makefile installs it."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())

# What conda-forge calls by another name: PyPI -> conda-forge.
NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base", "playwright": "playwright-python"}
# What pip brings along or the system has, and conda must be asked for.
ONLY_CONDA = {"python", "pip", "c-compiler", "ninja"}
# What conda-forge does not have.
ONLY_PIP = {"axe-playwright-python"}


def pypi():
    project = PROJECT["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    texts = [*PROJECT["build-system"]["requires"], *project["dependencies"], *extras]
    requirements = map(Requirement, texts)
    return {NAMES.get(one.name, one.name): str(one.specifier) for one in requirements}


def conda():
    texts = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    return {one.name: str(one.specifier) for one in map(Requirement, texts)}


def test_conda_installs_what_pip_installs():
    here = {name: version for name, version in conda().items() if name not in ONLY_CONDA}
    assert here == {name: version for name, version in pypi().items() if name not in ONLY_PIP}


def test_conda_takes_a_python_that_pip_takes():
    assert conda()["python"] == PROJECT["project"]["requires-python"]


def test_conda_builds_the_kernels_with_its_own_tools():
    pip = next(entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict))
    assert pip.pop() == "--no-build-isolation --editable ."
    assert pip == [name + pypi()[name] for name in sorted(ONLY_PIP)]


def test_the_makefile_installs_a_torch_that_is_asked_for():
    pinned = re.search(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    torch = next(
        one for one in map(Requirement, PROJECT["project"]["dependencies"]) if one.name == "torch"
    )
    (version,) = Requirement(pinned).specifier
    assert torch.specifier.contains(version.version)


def test_every_dependency_says_why_it_is_here():
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)[1]
    assert all(re.search(r'",\s+# \S', line) for line in block.splitlines())
