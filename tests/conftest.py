"""What all tests share."""

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Results differ between one thread and two, and tests run side by side.
torch.set_num_threads(1)

# A shell has what it starts in its background ignore Ctrl-C, and so what the tests start, of which
# they interrupt some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples take what they take on a busy machine; in continuous integration they are the same ones
# every time.
settings.register_profile("bnnlab", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("bnnlab")


def pytest_collection_modifyitems(items):
    """Run the browser tests one after the other, whatever else runs beside them."""
    browser = Path(__file__).parent / "browser"
    for item in items:
        if browser in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """The folder of a small comparison, trained to its end: ten schemes, two seeds, moons.

    Shared: tests read it, and copy it before they change anything.
    """
    from bnnlab import Comparison
    from bnnlab.training.trainer import Trainer

    comparison = Comparison(
        task="moons",
        network={"name": "mlp", "width": 12, "depth": 2},
        schemes=[
            "full_precision",
            "binary_connect",
            "binary_connect_stochastic",
            "bwn",
            "bnn",
            "xnor_net",
            "dorefa",
            "lab",
            "lab2",
            "lat",
        ],
        seeds=2,
        steps=40,
        batch_size=32,
        probe_every=10,
        evaluate_every=10,
        checkpoint_every=20,
    )
    folder = comparison.create(tmp_path_factory.mktemp("trained") / "moons.bnnlab").path
    with Trainer(folder) as trainer:
        for _ in trainer:
            pass
    return folder


@pytest.fixture
def trained_log(trained_folder):
    """The same comparison, opened."""
    import bnnlab

    return bnnlab.open(trained_folder)
