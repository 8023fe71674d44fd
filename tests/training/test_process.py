"""A process that trains has no use for PyTorch's compiler, and can be asked for it all the same."""

import subprocess
import sys

TRAINING = """
import sys
from pathlib import Path
from bnnlab import Comparison
from bnnlab.training import process
from bnnlab.training.trainer import Trainer

process.prepare()
process.prepare()
task = {"name": "moons", "samples": 200}
comparison = Comparison(task=task, schemes="all", batch_size=20, steps=3)
with Trainer(comparison.create(Path(sys.argv[1])).path) as trainer:
    assert [*trainer][-1] == 3
loaded = [name for name in sys.modules if name.startswith("torch._dynamo.")]
assert not loaded, loaded
"""
COMPILING = """
import inspect, sys, torch
from bnnlab.training import process

process.prepare()
weight = torch.nn.Parameter(torch.ones(3))
adam = torch.optim.Adam([weight], lr=0.5)
for module in list(sys.modules.values()):
    hasattr(module, "__file__")
assert "torch._dynamo.eval_frame" not in sys.modules

@torch.compile(backend="eager")
def loss(x):
    return (x * weight).sum()

loss(torch.ones(3)).backward()
adam.step()
assert torch.allclose(weight, torch.full((3,), 0.5))
assert "torch._dynamo.eval_frame" in sys.modules and torch._dynamo.__file__
import torch._dynamo.config
"""


def _run(code: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_scheme_loads_the_compiler(tmp_path):
    _run(TRAINING, str(tmp_path / "all.bnnlab"))


def test_whoever_compiles_gets_it():
    _run(COMPILING)
