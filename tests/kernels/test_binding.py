"""The typed wrapper: what it refuses, what it chooses, and what it does without the kernels."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from bnnlab.packed import kernels


def python(code, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_environment_chooses_the_instruction_set():
    code = "from bnnlab.packed import kernels; print(kernels.isa())"
    for name in kernels.isas():
        assert python(code, BNNLAB_ISA=name).stdout.strip() == name
    best = python(code, BNNLAB_ISA="").stdout.strip()
    assert best == kernels.isas()[-1] or ("avx512_carry" in kernels.isas() and best == "avx512")
    refused = python(code, BNNLAB_ISA="mmx")
    assert refused.returncode != 0
    assert "BNNLAB_ISA is 'mmx'; this processor runs scalar" in refused.stderr


def test_without_the_module_it_imports_and_says_what_to_do():
    code = """
import sys
sys.modules["bnnlab._kernels"] = None
import numpy as np
import bnnlab
from bnnlab.packed import KernelsMissing, kernels
assert not kernels.available()
for use in [
    lambda: kernels.isa(),
    lambda: kernels.pack_signs(np.zeros((1, 1), np.float32)),
    lambda: bnnlab.load_packed("nowhere"),
    lambda: bnnlab.pack(None),
]:
    try:
        use()
    except KernelsMissing as error:
        assert "C compiler" in str(error) and "pip install" in str(error)
    else:
        raise SystemExit("used without kernels")
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_the_packed_package_does_not_import_torch():
    done = python("import sys, bnnlab.packed; assert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_arguments_are_refused_with_what_was_given_and_what_is_allowed():
    x = np.zeros((2, 40), np.float32)
    bits, panels = np.zeros((3, 2), np.uint32), np.zeros((1, 2, 16), np.uint32)
    for error, message, call in [
        (TypeError, "x is a list", lambda: kernels.pack_signs([[1.0]])),
        (TypeError, "float64; it must be float32", lambda: kernels.pack_signs(x.astype(float))),
        (ValueError, r"shape \(40,\); it must be \(any, any\)", lambda: kernels.pack_signs(x[0])),
        (ValueError, "x is not contiguous", lambda: kernels.pack_signs(x[:, ::2])),
        (ValueError, "x is not contiguous", lambda: kernels.pack_signs(torch.zeros(3, 2).T)),
        (ValueError, "device meta", lambda: kernels.pack_signs(torch.zeros(3, 2, device="meta"))),
        (ValueError, "isa is 'mmx'", lambda: kernels.pack_signs(x, isa="mmx")),
        (ValueError, "planes is 9", lambda: kernels.pack_codes(np.zeros((1, 1), np.uint8), 9)),
        (ValueError, "a code is 4", lambda: kernels.pack_codes(np.full((1, 1), 4, np.uint8), 2)),
        (ValueError, r"bits has shape", lambda: kernels.pack_panels(bits, 65)),
        (ValueError, "a has shape", lambda: kernels.xnor_matmul(bits, panels, 16, 65)),
        (ValueError, "panels has shape", lambda: kernels.xnor_matmul(bits, panels, 17, 64)),
        (ValueError, "panels has shape", lambda: kernels.sign_matmul(x, panels, 17)),
        (
            ValueError,
            "there are 0 thresholds",
            lambda: kernels.threshold(x, np.zeros((0, 40), np.int32), np.zeros(2, np.uint32)),
        ),
        (
            ValueError,
            "flip has shape",
            lambda: kernels.threshold(x, np.zeros((1, 40), np.int32), np.zeros(1, np.uint32)),
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_the_c_functions_check_sizes_themselves():
    """Straight through the binding: wrong lengths, overflowing products, unknown sets."""
    lib, ffi = kernels.lib, kernels.ffi
    floats, bits = ffi.new("float[64]"), ffi.new("uint32_t[64]")
    ints, null = ffi.new("int32_t[64]"), ffi.NULL
    bad_length, too_large, no_such_isa = 1, 2, 4
    huge = 2**64 - 1
    assert lib.bnnlab_pack_signs(0, floats, 64, 2, 32, bits, 2) == 0
    assert lib.bnnlab_pack_signs(0, floats, 63, 2, 32, bits, 2) == bad_length
    assert lib.bnnlab_pack_signs(0, floats, 64, 2, 32, bits, 3) == bad_length
    assert lib.bnnlab_pack_signs(0, null, 64, 2, 32, bits, 2) == bad_length
    assert lib.bnnlab_pack_signs(9, floats, 64, 2, 32, bits, 2) == no_such_isa
    assert lib.bnnlab_pack_signs(-1, floats, 64, 2, 32, bits, 2) == no_such_isa
    assert lib.bnnlab_pack_signs(0, floats, 64, 2**33, 2**33, bits, 2) == too_large
    # A size beside a zero is bounded by no array, and must cost no time.
    assert lib.bnnlab_pack_signs(0, null, 0, huge, 0, null, 0) == 0
    assert lib.bnnlab_pack_codes(0, null, 0, 2**60, 0, 8, null, 0) == 0
    assert lib.bnnlab_xnor_matmul(0, null, 0, null, 0, huge, 0, 0, null, 0) == 0
    assert lib.bnnlab_sign_matmul(0, null, 0, null, 0, huge, 0, 0, null, 0) == 0
    assert lib.bnnlab_sign_matmul(0, null, 0, null, 0, 0, 0, huge, null, 0) == too_large
    for k, status in [(2**31 - 1, 0), (2**31, too_large)]:
        assert lib.bnnlab_xnor_matmul(0, null, 0, null, 0, 0, 0, k, null, 0) == status
    for k, status in [((2**31 - 1) // 255, 0), ((2**31 - 1) // 255 + 1, too_large)]:
        assert lib.bnnlab_planes_matmul(0, null, 0, 8, null, 0, null, 0, 0, 0, k, null, 0) == status
        assert lib.bnnlab_bytes_matmul(0, null, 0, null, 0, 0, 0, k, null, 0) == status
    assert lib.bnnlab_bytes_matmul(0, null, 0, null, 0, 2**40, 2**40, 1, null, 0) == too_large
    assert lib.bnnlab_planes_matmul(0, null, 0, 9, null, 0, null, 0, 0, 0, 1, null, 0) == too_large
    assert lib.bnnlab_pack_panels(bits, 64, 2**60, 2**10, bits, 64) == too_large
    for levels in (0, 256):
        status = lib.bnnlab_threshold(0, ints, 1, 0, 1, 1, ints, levels, levels, bits, 1, bits, 1)
        assert status == too_large
    assert lib.bnnlab_threshold(0, ints, 2, 0, 1, 1, ints, 1, 1, bits, 1, bits, 1) == bad_length


def test_tensors_are_taken_without_a_copy_and_gradients_are_no_obstacle():
    x = torch.randn(5, 70, requires_grad=True)
    assert np.array_equal(kernels.pack_signs(x), kernels.pack_signs(x.detach().numpy()))


def test_the_gil_is_released():
    """While one thread is in a kernel, another one runs Python."""
    rng = np.random.default_rng(0)
    n = k = 2048
    panels = kernels.pack_panels(rng.integers(0, 2**32, (n, k // 32), np.uint32), k)
    a = rng.integers(0, 2**32, (1000, k // 32), np.uint32)
    started, done = threading.Event(), threading.Event()

    def work():
        started.set()
        kernels.xnor_matmul(a, panels, n, k, isa="scalar")
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    ticks = 0
    while not done.is_set():
        ticks += 1
    thread.join()
    assert ticks > 1000


def test_two_threads_do_not_disturb_each_other():
    rng = np.random.default_rng(1)
    n, k = 200, 500
    panels = kernels.pack_panels(kernels.pack_signs(rng.normal(size=(n, k)).astype("f4")), k)
    inputs = [kernels.pack_signs(rng.normal(size=(50, k)).astype("f4")) for _ in range(2)]
    expected = [kernels.xnor_matmul(a, panels, n, k) for a in inputs]
    wrong = []

    def work(which):
        for _ in range(200):
            if not np.array_equal(
                kernels.xnor_matmul(inputs[which], panels, n, k), expected[which]
            ):
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
