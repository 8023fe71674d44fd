"""The fuzz program under AddressSanitizer and UBSan, errors planted for it to find, and concurrent
callers under ThreadSanitizer.

Continuous integration takes ten million cases (kernels/fuzz/fuzz.c says what a case is). As many at
once, in a few minutes:

    cmake -S kernels -B build/fuzz -DBNNLAB_SANITIZE=ON
    cmake --build build/fuzz
    build/fuzz/fuzz 10000000
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bnnlab.packed import kernels

SOURCE = Path(__file__).parents[2] / "kernels"
CASES = 500_000
# In continuous integration ten million cases in all, elsewhere those of one seed.
SEEDS = range(1, 21 if "CI" in os.environ else 2)
FOUND_WITHIN = {False: 400_000, True: 40_000}  # networks are larger
KILLED = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT)


class Mutant(NamedTuple):
    """An error to plant.

    Attributes:
        file: of kernels/src.
        where: what stands there once, with @ for
        sound: the expression that is right, in the place of which comes
        wrong: this one.
        networks: whether it is looked for among networks alone.
        seeds: with how many it is looked for at most; several for what takes rare sizes.
    """

    file: str
    where: str
    sound: str
    wrong: str
    networks: bool = False
    seeds: int = 1


def network(where, sound, wrong, file="network.c"):
    return Mutant(file, where, sound, wrong, True)


MUTANTS = {
    "a wrong tail mask": Mutant(
        "vector.h", "((uint32_t)1 << @)", "count", "count + (count > 5)"
    ),
    "an over-read without effect": Mutant(
        "avx512.c", "v0 = _mm512_maskz_loadu_ps(@, x);", "low_mask",
        "(__mmask16)tail_mask(low + 1)",
    ),
    "a dropped carry": Mutant(
        "avx512_bits.c", "_mm512_add_epi32(sum[r][c], @);\n                    one",
        "_mm512_popcnt_epi32(carry)", "_mm512_setzero_si512()",
    ),
    "a single row's last words dropped": Mutant(
        "avx512_bits.c", "for (; @; w++, v +=", "w < words", "w + 1 < words"
    ),
    "planes of one weight": Mutant(
        "avx512_bits.c", "sum[r][c] = @;\n        count_plainly(0",
        "_mm512_add_epi32(sum[r][c], sum[r][c])", "sum[r][c]",
    ),
    "rows from the tile before": Mutant(
        "avx512_bits.c", "a + @ * walk->row_step, panels", "first", "(first - (first > 1))"
    ),
    "sums where the strip's second tile has them": Mutant(
        "avx512_bits.c", "t++, at += a_step, to += @)", "out_step", "(t ? 0 : out_step)"
    ),
    "the next run's weights right behind": Mutant(
        "avx512_bits.c", "b += (@) * BNNLAB_LANES;", "walk->b_step - walk->length", "0"
    ),
    "a line of windows where the first is": Mutant(
        "avx512_bits.c", "at = l * @, to", "of.line_step", "(of.line_step & -(size_t)(l < 2))"
    ),
    "all samples by the signs of the first": Mutant(
        "convolve.c", "bnnlab_pack_channels(isa, x + @, inputs", "s * inputs", "0 * inputs"
    ),
    "windows below as if beside": Mutant(
        "taps.h", ".out_line = @,", "along ? field->across : 1", "1"
    ),
    "taps of a border that goes on": Mutant(
        "taps.h", "taps.count = @;", "fit < places - place ? fit : places - place",
        "places - place",
    ),
    "a row by the largest of another": Mutant(
        "avx512.c", "_mm512_set1_pd(row_unit(exponent[@]))", "r", "0"
    ),
    "sums begun again with other tables": Mutant(
        "avx512.c", "BNNLAB_WORDS(inputs), outputs, @, sums);\n        }\n        for (size_t r",
        "from == 0", "1",
    ),
    "bytes that overflow": Mutant("avx2_bits.c", "#define BYTE_WORDS @ ", "31", "32", seeds=9),
    "bytes of looked up counts that overflow": Mutant(
        "avx2_bits.c", "const size_t last = smaller(block->words, first + @)", "FULL",
        "(first ? FULL : 2 * FULL)",
    ),
    "weights of panels that are not there": Mutant(
        "avx2_bits.c", "v[q] = @ ? _mm256", "q / 2 < there", "q / 2 <= there"
    ),
    "the next run's word beside the last": Mutant(
        "popcnt.c", "block->both[i] = @;", "w + 1 < walk->length", "1"
    ),
    "the second row of a pair for the first": Mutant(
        "popcnt.c", "(i + @) * walk->row_step", "r % rows", "(rows - 1)"
    ),
    "sums of bytes that overflow": Mutant("avx2_bytes.c", "#define GATHERED @ ", "256", "512"),
    "digits of bytes that overflow": Mutant(
        "avx2_bytes.c", "if (@ || w + 1 == words)", "w % 2", "w % 4 == 3"
    ),
    "sums of the other row's codes": Mutant(
        "avx2_bytes.c", "(tables + @ * ROW_TABLES + half", "r", "0"
    ),
    "a nibble that is not there": Mutant(
        "avx2_bytes.c", "for (size_t j = 0; j < @; j += 4) {\n        const uint8_t",
        "BNNLAB_WORDS(inputs) * 32", "inputs",
    ),
    "a block of others' sums": Mutant(
        "avx2_bits.c", "@, ones ? 1 : 2, outputs", "first ? NULL : from", "from"
    ),
    "flips of other columns": Mutant(
        "avx512.c", "(reached ^ flip[@]) & there", "j / 32", "j / 64"
    ),
    "codes of some columns that do not carry": Mutant(
        "avx512.c", "carry = @;", "sum[p] & bits", "sum[p] & bits & 0xffff"
    ),
    "a plane of another weight": Mutant(
        "avx512.c", "_mm256_set1_epi8((char)(1 << @))", "p", "(p & 3)"
    ),
    "other taps at the border": Mutant(
        "convolve.c", "panels + (rows.first * tap_row + @) * BNNLAB_LANES", "columns.first * words",
        "0 * words",
    ),
    "a sum beyond the border": Mutant(
        "amx_multiply.c", "if (@) {\n            for (size_t p = 0; p < 2", "x < kept",
        "x <= kept",
    ),
    "rows of a window from elsewhere": Mutant(
        "amx_convolve.c", "layout->quota + @) * layout->row +", "v / window->stride_down", "v"
    ),
    "a panel of others' weights": Mutant(
        "amx_multiply.c", "maker->panel += @ * BNNLAB_LANES;", "2 * maker->walk->panel_words",
        "maker->walk->panel_words",
    ),
    "a border of another width": Mutant(
        "convolve.c", "(i * (height + both_down) + @ + y)", "down", "across"
    ),
    "thresholds of another tile": Mutant(
        "fused.c", "to->thresholds + l * of->n + @, columns", "j", "0"
    ),
    "the shift of another tile": Mutant("fused.c", "scale[j + c] + shift[@];", "j + c", "c"),
    "a word that is not read": Mutant(
        "limits.c", "for (size_t j = 0; j < @; j++)\n        seen |=", "length",
        "length - (length > 0)",
    ),
    "a step too many": Mutant("limits.c", "*sum = found.run(@);", "steps", "steps + 1"),
    "the work of another loop": Mutant(
        "limits.c", "return loop_of(bnnlab_resolve_isa(isa), @).work;", "loop", "loop + 1"
    ),
    "the flips of other tiles": Mutant("amx_multiply.c", "to->flip[@];", "j / 32", "0"),
    "the last of tiles not stored": Mutant(
        "amx_multiply.c", "store(task, tile, (count - 1) / most * most, @, j);",
        "(count - 1) % most + 1", "1"
    ),
    "tiles stored from the place of others": Mutant(
        "amx_multiply.c", "store(task, tile, @, together, j);", "t - together", "t"
    ),
    "signs by the thresholds of others": Mutant(
        "amx_multiply.c", "thresholds[p] = @;\n        if (ones)",
        "_mm512_maskz_loadu_epi32(lanes, to->thresholds + at)",
        "_mm512_maskz_loadu_epi32(lanes, to->thresholds + at % 64)",
    ),
    "a least sum without what bytes leave out": network(
        "const int64_t left = least - @,", "(int64_t)grid->low * total", "0"
    ),
    "a workspace too small": network(
        "plus(plan.rows, @)", "plan.bits", "(size_t)0", "plan.h"
    ),
    "a part of the workspace within another": network(
        "run.rows = at += @;", "run.plan.aside", "run.plan.aside / 128 * 64"
    ),
    "signs of codes by other flips": network(
        "{layer->thresholds.at, 1, @, to->bits, to->words, 0}", "layer->flip.at",
        "(const uint32_t *)layer->thresholds.at",
    ),
    "a border's offsets left out": network(
        "for (size_t e = 0; @ && e < n; e++)\n            sums", "any", "(any && i)"
    ),
    "bits beyond the end of an image's row": network(
        "image->pad_across ? @ : SIZE_MAX", "image->wide - number % image->wide",
        "image->wide + 1 - number % image->wide",
    ),
    "pooling of other pixels": network(
        "+ @) * n; ", "e % across", "e % down"
    ),
    "pixels pooled last, of other rows": network(
        "pixel_at(from, s, y * down + @, x * across + e % across)", "e / across", "e / down"
    ),
    "the shift of batch norm with the wrong sign": network(
        "@;", "shift[shifts * j]", "-shift[shifts * j]"
    ),
    "the flips of other outputs": network(
        "layer->flip.at + @, bits)", "output / 32", "first_output / 32"
    ),
    "the thresholds of other outputs": network(
        "layer->thresholds.at + layer->levels * @,", "output", "first_output"
    ),
    "the last time step dropped": network(
        "for (size_t t = 0; t < @; t++)", "steps", "steps - (steps > 1)"
    ),
    "the state dropped between chunks of a text": network(
        "for (size_t e = 0; @ && e < all; e++)", "begin == 0", "1"
    ),
    "the forget gate of another": network("*f = i + @,", "cells", "2 * cells"),
    "the last sample of a chunk dropped": network(
        "const size_t some = smaller(run.plan.samples, @);", "samples - s", "samples - s - (s > 0)"
    ),
    "a border that is the same everywhere": network(
        "ways->layer->ways_across.at[@]", "ways->across", "0"
    ),
    "a half without its sign": network(
        "sums[e] >> 1 | @;", "(sums[e] & 0x80000000u)", "0u"
    ),
    "a grid of another unit": network("(uint32_t)sum << @)", "grid->shift", "0"),
    "a window's mean with the neighbour's pixels": network(
        "at < layer->height && side < @)", "layer->width", "layer->width + 1"
    ),
    "windows one row too high": network(
        "const size_t at = @; /* wraps above the image */", "top + y - window->padding_down",
        "top + y - window->padding_across",
    ),
    "a thread's share off by one": network(
        "out + first * given, @ * given,", "some", "(some - (first > 0))", "threads.c"
    ),
    "a thread that writes where another does": network(
        "out + @ * given,", "first", "(first - (first > 1))", "threads.c"
    ),
    "threads in one workspace": network(
        "(unsigned char *)workspace + @ * room, room", "count", "count / 2", "threads.c"
    ),
}  # fmt: skip
# Which of them is in effect is chosen when the program starts: all are compiled at once.
CHOICE = """
#include <stdlib.h>
int planted;
__attribute__((constructor)) static void choose(void)
{
    const char *given = getenv("BNNLAB_PLANTED");
    planted = given ? atoi(given) : 0;
}
"""


def find_cmake():
    beside = Path(sys.executable).with_name("cmake")
    return str(beside) if beside.exists() else shutil.which("cmake")


def run(*command, **environment):
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | environment,
    )


def build(source, folder, *options, target="fuzz"):
    """A program of kernels/fuzz."""
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


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The fuzz program under both sanitizers."""
    options = "-DBNNLAB_SANITIZE=ON", "-DCMAKE_C_FLAGS_RELEASE=-O1"
    return build(SOURCE, tmp_path_factory.mktemp("sanitized"), *options)


def test_every_entry_point_is_fuzzed():
    headers = [file.read_text() for file in (SOURCE / "include").glob("*.h")]
    declared = {name for text in headers for name in re.findall(r"\b(bnnlab_\w+)\(", text)}
    programs = "".join(file.read_text() for file in (SOURCE / "fuzz").glob("*.c"))
    assert len(declared) > 20
    assert declared - set(re.findall(r"\b(bnnlab_\w+)\(", programs)) == set()


@pytest.mark.xdist_group("fuzz")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_instruction_set_equals_the_scalar_one_under_sanitizers(
    sanitized, seed, record_property
):
    done = run(sanitized, CASES, seed)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{CASES} cases, no difference" in done.stdout
    record_property("fuzz_cases", CASES)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The fuzz program with every error in it."""
    folder = tmp_path_factory.mktemp("mutants")
    source = folder / "kernels"
    shutil.copytree(SOURCE, source)
    for number, (name, mutant) in enumerate(MUTANTS.items(), 1):
        file = source / "src" / mutant.file
        text, sound = file.read_text(), mutant.where.replace("@", mutant.sound)
        assert text.count(sound) == 1, f"say anew where {name} is planted: {sound!r}"
        either = f"(planted == {number} ? ({mutant.wrong}) : ({mutant.sound}))"
        file.write_text(text.replace(sound, mutant.where.replace("@", either)))
    (folder / "planted.h").write_text("extern int planted;\n")
    with (source / "fuzz" / "cases.c").open("a") as file:
        file.write(CHOICE)
    flags = f"-O1 -include {folder / 'planted.h'}"
    return build(source, folder / "build", "-DBNNLAB_FUZZ=ON", f"-DCMAKE_C_FLAGS_RELEASE={flags}")


@pytest.mark.xdist_group("mutants")
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_error_is_found(name, planted):
    """By a difference, or by the unreadable page behind an array (or what a stray write breaks)."""
    mutant, number = MUTANTS[name], [*MUTANTS].index(name) + 1
    if "avx512" not in kernels.isas() and mutant.file.startswith(("vector", "avx")):
        pytest.skip("this processor has no vector kernels to plant it in")
    if mutant.file.startswith("amx") and "amx" not in kernels.isas():
        pytest.skip("this processor has no AMX to plant it in")
    which = ["networks"] if mutant.networks else []
    for seed in range(1, mutant.seeds + 1):
        cases = FOUND_WITHIN[mutant.networks]
        done = run(planted, cases, seed, *which, BNNLAB_PLANTED=str(number))
        if done.returncode != 0:
            break
    killed = done.returncode in KILLED
    different = done.returncode == 1 and "MISMATCH" in done.stdout
    found = killed if name == "an over-read without effect" else killed or different
    assert found, (done.returncode, done.stdout)


@pytest.mark.xdist_group("mutants")
def test_where_none_is_planted_none_is_found(planted):
    done = run(planted, 100_000)
    assert done.returncode == 0, done.stdout
    done = run(planted, 5_000, 1, "networks")
    assert "5000 cases, no difference" in done.stdout


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
