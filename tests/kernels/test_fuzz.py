"""The fuzz program under AddressSanitizer and UBSan, and a planted error that it must find."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bnnlab.packed import kernels

SOURCE = Path(__file__).parents[2] / "kernels"
CASES = 200_000


def find_cmake():
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else shutil.which("cmake")


def build(folder, *options):
    cmake = find_cmake()
    if cmake is None:
        message = "cmake is needed to build the fuzz program"
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            pytest.fail(message)
        pytest.skip(message)
    flags = ["-DCMAKE_C_FLAGS_RELEASE=-O1", *options]
    for command in (["-S", SOURCE, "-B", folder, *flags], ["--build", folder]):
        done = subprocess.run([cmake, *command], capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout + done.stderr
    return folder / "fuzz"


def fuzz(program, cases):
    return subprocess.run(
        [program, str(cases)], capture_output=True, text=True, timeout=250, check=False
    )


def test_every_instruction_set_equals_the_scalar_one_under_sanitizers(tmp_path, record_property):
    done = fuzz(build(tmp_path, "-DBNNLAB_SANITIZE=ON"), CASES)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{CASES} cases, no difference" in done.stdout
    record_property("fuzz_cases", CASES)


@pytest.mark.parametrize("mutant", ["TAIL", "OVERREAD", "CARRY"])
def test_a_planted_error_is_found(mutant, tmp_path):
    """A wrong tail mask, a read beyond an array without effect on the result, a dropped carry."""
    done = fuzz(build(tmp_path, "-DBNNLAB_FUZZ=ON", f"-DBNNLAB_MUTANT={mutant}"), 20_000)
    if kernels.isas() == ["scalar"]:
        pytest.skip("this processor has no vector kernels to plant it in")
    # The fuzz program puts an unreadable page behind some arrays; a wrong mask may also write.
    overread = done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)
    aborted = done.returncode == -signal.SIGABRT
    different = done.returncode == 1 and "MISMATCH" in done.stdout
    found = {"TAIL": overread or aborted or different, "OVERREAD": overread, "CARRY": different}
    assert found[mutant], (done.returncode, done.stdout)
