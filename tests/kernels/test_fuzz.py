"""The fuzz program under AddressSanitizer and UBSan, errors planted for it to find, and concurrent
callers under ThreadSanitizer.

Ten million cases take a few minutes (kernels/fuzz/fuzz.c says what a case is):

    cmake -S kernels -B build/fuzz -DBNNLAB_SANITIZE=ON
    cmake --build build/fuzz
    build/fuzz/fuzz 10000000
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bnnlab.packed import kernels

SOURCE = Path(__file__).parents[2] / "kernels"
CASES = 2_000_000
FOUND_WITHIN = 400_000
# What is planted: in which files to look, what is replaced by what.
MUTANTS = {
    "a wrong tail mask": ("vector.h", "#ifdef BNNLAB_MUTANT_TAIL", "#if 1"),
    "an over-read without effect": ("vector.h", "#ifdef BNNLAB_MUTANT_OVERREAD", "#if 1"),
    "a dropped carry": ("avx512.c", "#ifndef BNNLAB_MUTANT_CARRY", "#if 0"),
    "bytes that overflow": ("avx2.c", "#ifdef BNNLAB_MUTANT_CARRY", "#if 1"),
    "a flip the wrong way": (
        "avx512.c",
        "_mm512_mask_sub_epi32(code, flipped, top, code)",
        "_mm512_mask_sub_epi32(code, lanes ^ flipped, top, code)",
    ),
    "a plane of another weight": ("avx512.c", "_mm256_set1_epi8((char)(1 << p))",
                                  "_mm256_set1_epi8((char)(1 << (p & 3)))"),
    "a tap beyond the border": (
        "*.c", "at < size + padding ? size + padding - at : 0", "size + padding"
    ),
    "a workspace too small": (
        "plan.h", "plus(plan.rows, plan.bits)", "plus(plan.rows, 0)"
    ),
}  # fmt: skip


def find_cmake():
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else shutil.which("cmake")


def run(*command):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=280, check=False
    )


def build(source, folder, *options, target="fuzz"):
    """A program of kernels/fuzz, built anew where something changed."""
    cmake = find_cmake()
    if cmake is None:
        message = "cmake is needed to build the fuzz program"
        if os.environ.get("BNNLAB_REQUIRE_KERNELS"):
            pytest.fail(message)
        pytest.skip(message)
    for command in (
        ["-S", source, "-B", folder, *options],
        ["--build", folder, "--target", target, "-j", "2"],
    ):
        done = run(cmake, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stdout + done.stderr
    return folder / target


def test_every_instruction_set_equals_the_scalar_one_under_sanitizers(tmp_path, record_property):
    program = build(SOURCE, tmp_path, "-DBNNLAB_SANITIZE=ON", "-DCMAKE_C_FLAGS_RELEASE=-O2")
    done = run(program, CASES)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{CASES} cases, no difference" in done.stdout
    record_property("fuzz_cases", CASES)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Builds the fuzz program with an error: what the error is not in is compiled once."""
    folder = tmp_path_factory.mktemp("mutants")
    source = folder / "kernels"
    shutil.copytree(SOURCE, source)

    def plant(mutant):
        names, old, new = MUTANTS[mutant]
        files = [file for file in (source / "src").glob(names) if old in file.read_text()]
        assert len(files) == 1, f"{len(files)} files to plant {mutant} in: say {old!r} anew"
        file, sound = files[0], files[0].read_text()
        assert sound.count(old) == 1
        file.write_text(sound.replace(old, new))
        try:
            options = ["-DBNNLAB_FUZZ=ON", "-DCMAKE_C_FLAGS_RELEASE=-O1"]
            return build(source, folder / "build", *options)
        finally:
            file.write_text(sound)

    return plant


@pytest.mark.xdist_group("mutants")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_error_is_found(mutant, planted):
    """By a difference, or by the unreadable page behind an array (or what a stray write breaks)."""
    if "avx512" not in kernels.isas() and MUTANTS[mutant][0] not in ("*.c", "plan.h"):
        pytest.skip("this processor has no vector kernels to plant it in")
    done = run(planted(mutant), FOUND_WITHIN)
    killed = done.returncode in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT)
    different = done.returncode == 1 and "MISMATCH" in done.stdout
    found = killed if mutant == "an over-read without effect" else killed or different
    assert found, (done.returncode, done.stdout)


def test_concurrent_callers_under_thread_sanitizer(tmp_path):
    """Networks in two threads each, called from four at once on the same weights."""
    flags = "-fsanitize=thread -g1 -O1"
    program = build(
        SOURCE, tmp_path, "-DBNNLAB_FUZZ=ON", f"-DCMAKE_C_FLAGS_RELEASE={flags}", target="threads"
    )
    # Its shadow memory does not fit every layout of addresses.
    setarch = shutil.which("setarch")
    done = run(*([setarch, "-R"] if setarch else []), program, 300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "300 rounds of 4 callers, no difference" in done.stdout
