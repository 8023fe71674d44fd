import os

import pytest

from bnnlab.packed import kernels


@pytest.fixture(autouse=True)
def compiled():
    """Skips without the compiled kernels, or fails where BNNLAB_REQUIRE_KERNELS asks for them."""
    if not kernels.available():
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            kernels.require()
        pytest.skip("the compiled kernels are not installed")


def pytest_generate_tests(metafunc):
    """Every test that takes `isa` runs by force on every instruction set of this processor."""
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", kernels.isas() if kernels.available() else ["scalar"])
