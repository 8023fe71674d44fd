"""The house's rules that no single part can hold: what is loaded when, what is never used."""

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import bnnlab

ROOT = Path(__file__).parent.parent
FOLDERS = ("bnnlab", "apps", "benchmarks", "kernels", "tests")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
OURS = [path for path in SOURCES if path.is_relative_to(ROOT / "bnnlab")]
SCREEN = ("panel", "bokeh", "holoviews", "matplotlib")


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("bnnlab", ("torch", "pandas", "param", "numpy", "sklearn", *SCREEN)),
        ("bnnlab.cli", ("torch", "pandas", "param", "numpy", "sklearn", *SCREEN)),
        ("bnnlab.training.store", ("torch", "pandas", *SCREEN)),
        ("bnnlab.tasks", ("torch", "sklearn", "pandas", *SCREEN)),
        ("bnnlab.schemes", ("pandas", "sklearn", *SCREEN)),
        ("bnnlab.training.worker", ("pandas", *SCREEN)),
        ("bnnlab.packed", ("pandas", *SCREEN)),
        ("bnnlab.figures", ("torch", "panel")),
    ],
)
def test_importing_a_part_loads_only_what_it_needs(module, heavy):
    script = f"import sys, {module}; print(*set({heavy!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_drawing_a_figure_loads_no_torch(trained_folder):
    script = (
        "import sys, bnnlab; log = bnnlab.open(sys.argv[1])\n"
        "for name in bnnlab.figures.names(): getattr(bnnlab.figures, name)(log)\n"
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", script, str(trained_folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", bnnlab.__all__)
def test_public_names_are_there(name):
    assert getattr(bnnlab, name) is not None
    assert name in dir(bnnlab)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing_like_this"):
        bnnlab.nothing_like_this  # noqa: B018


# What runs code that a file or a message brings along.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("torch", "load"), ("torch", "save"), ("torch.jit", "load"), ("torch.package", "*"),
    ("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"),
    ("numpy", "load"), ("np", "load"), ("pandas", "read_pickle"), ("pd", "read_pickle"),
    ("os", "system"), ("os", "popen"), ("multiprocessing", "*"),
}  # fmt: skip


def dangers(tree):
    """Yield the line and the name of whatever could run code that comes from outside."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] in MODULES | {"multiprocessing"}:
                        yield node.lineno, alias.name
            case ast.ImportFrom(module=str(module), names=names):
                if module.split(".")[0] in MODULES | {"multiprocessing"}:
                    yield node.lineno, module
                for alias in names:
                    if (module, alias.name) in ATTRIBUTES:
                        yield node.lineno, f"{module}.{alias.name}"
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                yield node.lineno, name
            case ast.Attribute(value=ast.expr() as owner, attr=attribute):
                if (ast.unparse(owner), attribute) in ATTRIBUTES:
                    yield node.lineno, f"{ast.unparse(owner)}.{attribute}"
            case ast.keyword(arg="allow_pickle" | "shell", value=ast.Constant(value=True)):
                yield node.value.lineno, node.arg


@pytest.mark.parametrize("path", [p for p in SOURCES if "tests" not in p.parts], ids=relative)
def test_nothing_runs_code_that_comes_from_outside(path):
    found = [f"line {line}: {name}" for line, name in dangers(ast.parse(path.read_text()))]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from pickle import loads", "import torch; torch.load('x')",
        "from torch import load", "eval('1')", "exec('1')", "import yaml; yaml.load(x)",
        "np.load('x', allow_pickle=True)", "subprocess.run('ls', shell=True)",
        "import os; os.system('ls')", "from multiprocessing import Pipe", "pd.read_pickle('x')",
    ],
)  # fmt: skip
def test_the_search_for_such_code_finds_it(code):
    assert list(dangers(ast.parse(code)))


def code_lines(path):
    """Count the lines that hold code: not blank, not a comment, not a docstring."""
    text = path.read_text()
    lines = set()
    docstrings = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and ast.get_docstring(node) is not None
    }
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        docstring = token.type == tokenize.STRING and token.start[0] in docstrings
        if token.type not in silent and not docstring:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def test_files_can_be_read_at_a_sitting():
    sizes = {relative(path): code_lines(path) for path in SOURCES}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
    ours = [sizes[relative(path)] for path in OURS]
    assert sum(ours) / len(ours) <= 150


def test_every_part_has_tests_of_its_own():
    parts = {path.parent.name for path in OURS if path.parent.parent == ROOT / "bnnlab"}
    missing = [
        part
        for part in parts - {"cli", "assets"}
        if not list((ROOT / "tests" / part).glob("test_*.py"))
    ]
    assert not missing


def test_files_speak_of_no_particular_machine():
    """Paths below somebody's home or working folder do not belong into a published file."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split("\0")
    private = re.compile(r"/(home|Users|work)/\w")
    suffixes = {".py", ".md", ".toml", ".yml", ".yaml", ".c", ".h", ".txt", ".js", ".css"}
    found = [
        name
        for name in filter(None, tracked)
        if Path(name).suffix in suffixes
        and (ROOT / name).is_file()
        and name != relative(Path(__file__))
        and private.search((ROOT / name).read_text())
    ]
    assert not found
