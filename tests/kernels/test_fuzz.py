"""The fuzz program under AddressSanitizer and UBSan, and a planted error that it must find."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_wrong_tail_mask_is_found(tmp_path):
    program = build(tmp_path, "-DBNNLAB_FUZZ=ON", "-DBNNLAB_MUTANT=TAIL")
    done = fuzz(program, 5000)
    if done.stdout.startswith("instruction sets: scalar\n"):
        pytest.skip("this processor has no vector kernels to plant it in")
    assert done.returncode != 0
    assert "MISMATCH" in done.stdout
