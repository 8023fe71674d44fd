"""The compiled kernels: every argument checked, nothing copied, the GIL released while they run.

Arrays are numpy arrays or CPU tensors, contiguous and of exactly the stated type. Signs are packed
32 to a word (bit 1 is +1, the bits beyond the last are zero); kernels/include/bnnlab_kernels.h has
the layouts and the formulas. Without the compiled module everything here can still be imported, and
`available()` is False.

The instruction set is the best of this processor, or the one the environment variable `BNNLAB_ISA`
names ("scalar", "popcnt", "avx2", "avx512"; "avx512_carry", which counts bits in the way that suits
Intel; "amx", which adds to that AMX for several rows; "neon" on Arm), or the one a call names.
"""

import math
import os
from functools import cache
from typing import Any

import numpy as np

from bnnlab.packed.errors import KernelsMissing

ffi: Any = None
lib: Any = None
try:
    from bnnlab._kernels import ffi, lib  # pyright: ignore[reportMissingImports]
except ImportError:  # no compiler when bnnlab was installed
    pass

WORD = 32
LANES = 16  # outputs side by side in a panel
LINE = 64  # bytes of a cache line
FLOAT32, INT32 = np.dtype(np.float32), np.dtype(np.int32)
UINT32, UINT8 = np.dtype(np.uint32), np.dtype(np.uint8)
_ADDRESS: Any = ffi and ffi.typeof("uintptr_t")
_ISAS = {
    "scalar": 1, "popcnt": 7, "avx2": 2, "avx512": 3, "avx512_carry": 4, "amx": 5, "neon": 6,
}  # fmt: skip
STATUS = {
    1: "an array does not have the length that the sizes ask for",
    2: "the sizes are too large for a 32-bit accumulator",
    3: "NaN has no sign: there is a NaN among the values",
    4: "the instruction set is not available on this processor",
    5: "the window stands nowhere on the image",
    6: "the layers of the network do not fit one another",
    7: "x has values that are not finite, or no symbols of the network",
}


def available() -> bool:
    """Whether the compiled kernels are installed."""
    return lib is not None


def require() -> None:
    """Raise unless the compiled kernels are installed.

    Raises:
        KernelsMissing: with what to do about it.
    """
    if lib is None:
        raise KernelsMissing(
            "the compiled kernels of bnnlab are not installed. They need a C compiler (gcc or "
            "clang) when bnnlab is installed: get one (on Debian: apt install build-essential), "
            "then run `pip install --force-reinstall --no-deps .` in bnnlab's folder"
        )


def isas() -> list[str]:
    """The instruction sets that this processor can run, the plainest first."""
    require()
    return [name for name, number in _ISAS.items() if lib.bnnlab_resolve_isa(number)]


@cache
def isa() -> str:
    """The instruction set in use: `BNNLAB_ISA`, or the best of this processor.

    Raises:
        KernelsMissing: no compiled kernels.
        ValueError: `BNNLAB_ISA` names none that this processor can run.
    """
    allowed = isas()
    best = {number: name for name, number in _ISAS.items()}[lib.bnnlab_resolve_isa(0)]
    name = os.environ.get("BNNLAB_ISA") or best
    if name not in allowed:
        raise ValueError(f"BNNLAB_ISA is {name!r}; this processor runs {', '.join(allowed)}")
    return name


def isa_number(name: str | None) -> int:
    """The number of an instruction set in C; without a name, of the one in use."""
    require()
    try:
        return _ISAS[name or isa()]
    except KeyError:
        raise ValueError(f"isa is {name!r}; it can be {', '.join(_ISAS)}") from None


def words(k: int) -> int:
    """How many words a row of k bits takes."""
    return -(-k // WORD)


def as_array(what: str, given: Any, dtype: np.dtype, *shape: int | None) -> np.ndarray:
    """`given` as a numpy array on the same memory, once it is what the kernel expects.

    A call of a small layer takes microseconds, and several times as long where a large one has
    emptied the caches of what Python needs: so this looks at each thing once, the plainest way.
    """
    if not isinstance(given, np.ndarray):
        array = array_of(what, given)
        if array is None:
            raise TypeError(f"{what} is a {type(given).__name__}; it must be an array or a tensor")
        given = array
    if given.dtype is not dtype and given.dtype != dtype:
        raise TypeError(f"{what} has dtype {given.dtype}; it must be {dtype}")
    has = given.shape
    fits = len(has) == len(shape)
    for size, asked in zip(has, shape):  # noqa: B905, both are as long where this counts
        if asked is not None and asked != size:
            fits = False
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{what} has shape {has}; it must be ({wanted})")
    if not given.flags.c_contiguous:
        raise ValueError(f"{what} is not contiguous")
    return given


def array_of(what: str, given: Any) -> np.ndarray | None:
    """A tensor as a numpy array on the same memory; None of what is no tensor.

    Raises:
        ValueError: it is not on the CPU.
    """
    if not hasattr(given, "data_ptr"):  # a tensor has it: torch need not be imported to ask
        return None
    if not given.is_cpu:
        raise ValueError(f"{what} is on device {given.device}; it must be on the CPU")
    return (given.detach() if given.requires_grad else given).numpy()


def buffer(kind: str, array: np.ndarray) -> tuple[Any, int]:
    """An array as C takes it: where it begins, and how long it is."""
    return ffi.from_buffer(kind, array), array.size


def check(status: int) -> None:
    """Raise a ValueError that says what a status of the kernels means, unless it is 0."""
    if status:
        raise ValueError(STATUS[status])


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialized array that begins at a cache line, which wide loads then never straddle."""
    memory = np.empty(math.prod(shape) * dtype.itemsize + LINE, UINT8)
    return np.ndarray(shape, dtype, memory, to_line(ffi.from_buffer(memory)))


def to_line(start: Any) -> int:
    """Bytes from a pointer to the next cache line."""
    return -int(ffi.cast(_ADDRESS, start)) % LINE


def _rows(m: int, n: int, dtype: np.dtype) -> np.ndarray:
    """What a product gives. A single row is written faster than a cache line is found for it."""
    return aligned((m, n), dtype) if m > 1 else np.empty((m, n), dtype)


def pack_signs(x: Any, *, isa: str | None = None) -> np.ndarray:
    """Signs of float32 (rows, k) as bits, uint32 (rows, words); sign(-0.0) is +1.

    Raises:
        ValueError: there is a NaN.
    """
    number = isa_number(isa)
    x = as_array("x", x, FLOAT32, None, None)
    rows, k = x.shape
    bits = np.empty((rows, words(k)), UINT32)
    check(
        lib.bnnlab_pack_signs(number, *buffer("float[]", x), rows, k, *buffer("uint32_t[]", bits))
    )
    return bits


def pack_codes(codes: Any, planes: int, *, isa: str | None = None) -> np.ndarray:
    """Codes below 2**planes, uint8 (rows, k), as bit planes, uint32 (planes, rows, words)."""
    number = isa_number(isa)
    codes = as_array("codes", codes, UINT8, None, None)
    if not 1 <= planes <= 8:
        raise ValueError(f"planes is {planes}; it can be 1 to 8")
    if codes.size and int(codes.max()) >> planes:
        raise ValueError(f"a code is {codes.max()}; {planes} planes hold 0 to {2**planes - 1}")
    rows, k = codes.shape
    bits = np.empty((planes, rows, words(k)), np.uint32)
    check(
        lib.bnnlab_pack_codes(
            number, *buffer("uint8_t[]", codes), rows, k, planes, *buffer("uint32_t[]", bits)
        )
    )
    return bits


def pack_panels(bits: Any, k: int, *, out: np.ndarray | None = None) -> np.ndarray:
    """Packed rows of k signs, uint32 (n, words), as panels, uint32 (ceil(n / 16), words, 16)."""
    require()
    bits = as_array("bits", bits, UINT32, None, words(k))
    n = len(bits)
    size = (-(-n // LANES), words(k), LANES)
    panels = aligned(size, UINT32) if out is None else as_array("out", out, UINT32, *size)
    check(lib.bnnlab_pack_panels(*buffer("uint32_t[]", bits), n, k, *buffer("uint32_t[]", panels)))
    return panels


def xnor_matmul(a: Any, panels: Any, n: int, k: int, *, isa: str | None = None) -> np.ndarray:
    """Signs times signs: a uint32 (m, words), panels of n rows of k signs -> int32 (m, n)."""
    number = isa_number(isa)
    a = as_array("a", a, UINT32, None, words(k))
    panels = as_array("panels", panels, UINT32, -(-n // LANES), words(k), LANES)
    out = _rows(len(a), n, INT32)
    check(
        lib.bnnlab_xnor_matmul(
            number,
            *buffer("uint32_t[]", a),
            *buffer("uint32_t[]", panels),
            len(a),
            n,
            k,
            *buffer("int32_t[]", out),
        )
    )
    return out


def planes_matmul(a: Any, panels: Any, ones: Any, k: int, *, isa: str | None = None) -> np.ndarray:
    """Codes times signs: a uint32 (planes, m, words) -> int32 (m, n), exact.

    Args:
        a: the codes' bit planes, as `pack_codes` gives them.
        panels: panels of n rows of k signs.
        ones: int32 (n,), how many +1 each row has.
        k: inputs.
        isa: the instruction set to use.
    """
    number = isa_number(isa)
    a = as_array("a", a, UINT32, None, None, words(k))
    ones = as_array("ones", ones, INT32, None)
    planes, m, n = len(a), a.shape[1], len(ones)
    panels = as_array("panels", panels, UINT32, -(-n // LANES), words(k), LANES)
    out = _rows(m, n, INT32)
    check(
        lib.bnnlab_planes_matmul(
            number,
            *buffer("uint32_t[]", a),
            planes,
            *buffer("uint32_t[]", panels),
            *buffer("int32_t[]", ones),
            m,
            n,
            k,
            *buffer("int32_t[]", out),
        )
    )
    return out


def bytes_matmul(codes: Any, panels: Any, n: int, *, isa: str | None = None) -> np.ndarray:
    """Bytes times signs: codes uint8 (m, k), panels of n rows of k signs -> int32 (m, n), exact."""
    number = isa_number(isa)
    codes = as_array("codes", codes, UINT8, None, None)
    m, k = codes.shape
    panels = as_array("panels", panels, UINT32, -(-n // LANES), words(k), LANES)
    out = _rows(m, n, INT32)
    check(
        lib.bnnlab_bytes_matmul(
            number,
            *buffer("uint8_t[]", codes),
            *buffer("uint32_t[]", panels),
            m,
            n,
            k,
            *buffer("int32_t[]", out),
        )
    )
    return out


def sign_matmul(x: Any, panels: Any, n: int, *, isa: str | None = None) -> np.ndarray:
    """Real inputs times signs: x float32 (m, k), panels of n rows of k signs -> float32 (m, n).

    In fixed point: inputs are rounded to 2**-28 of the power of two at or below the largest
    magnitude of their row, which no float32 within a factor of 32 of it notices; their sum is exact
    and rounded once. So every instruction set gives the same bits, and a row's result does not
    depend on the other rows.

    Raises:
        ValueError: there is a NaN in x.
    """
    number = isa_number(isa)
    x = as_array("x", x, FLOAT32, None, None)
    m, k = x.shape
    panels = as_array("panels", panels, UINT32, -(-n // LANES), words(k), LANES)
    out = _rows(m, n, FLOAT32)
    check(
        lib.bnnlab_sign_matmul(
            number,
            *buffer("float[]", x),
            *buffer("uint32_t[]", panels),
            m,
            n,
            k,
            *buffer("float[]", out),
        )
    )
    return out


def threshold(values: Any, thresholds: Any, flip: Any, *, isa: str | None = None) -> np.ndarray:
    """How many thresholds each value reaches, as bit planes: uint32 (planes, m, words(n)).

    Args:
        values: (m, n), int32, or float32, which is compared by its ordered key (`packing.keys`).
        thresholds: int32 (levels, n), 1 to 255 levels; planes is the number of bits of `levels`.
        flip: uint32 (words(n),), a bit for each column: count the thresholds not reached instead.
        isa: the instruction set to use.

    Raises:
        ValueError: there is a NaN among the values.
    """
    number = isa_number(isa)
    real = getattr(values, "dtype", None) != INT32
    values = as_array("values", values, FLOAT32 if real else INT32, None, None)
    m, n = values.shape
    thresholds = as_array("thresholds", thresholds, INT32, None, n)
    flip = as_array("flip", flip, UINT32, words(n))
    levels = len(thresholds)
    if not 1 <= levels <= 255:
        raise ValueError(f"there are {levels} thresholds for each column; there can be 1 to 255")
    bits = np.empty((levels.bit_length(), m, words(n)), np.uint32)
    check(
        lib.bnnlab_threshold(
            number,
            *buffer("float[]" if real else "int32_t[]", values),
            real,
            m,
            n,
            *buffer("int32_t[]", thresholds),
            levels,
            *buffer("uint32_t[]", flip),
            *buffer("uint32_t[]", bits),
        )
    )
    return bits


def _product(a: Any, panels: Any, ones: Any, n: int, k: int) -> tuple[list[Any], int]:
    """What a fused product is given, in C's order up to k, and the rows."""
    a = as_array("a", a, UINT32, None, None, words(k))
    panels = as_array("panels", panels, UINT32, -(-n // LANES), words(k), LANES)
    if ones is None and len(a) != 1:
        raise ValueError(f"a has {len(a)} planes; codes of more than one need `ones`")
    counts = (ffi.NULL, 0)
    if ones is not None:
        counts = buffer("int32_t[]", as_array("ones", ones, INT32, n))
    m = a.shape[1]
    given = [*buffer("uint32_t[]", a), len(a), *buffer("uint32_t[]", panels), *counts, m, n, k]
    return given, m


def product_threshold(
    a: Any,
    panels: Any,
    k: int,
    thresholds: Any,
    flip: Any,
    ones: Any = None,
    *,
    isa: str | None = None,
) -> np.ndarray:
    """A product and `threshold` in one: its sums never lie in memory as a whole.

    Args:
        a: uint32 (planes, m, words), signs in one plane or codes in several.
        panels: panels of n rows of k signs.
        k: inputs.
        thresholds: int32 (levels, n), 1 to 255 levels.
        flip: uint32 (words(n),).
        ones: for codes, int32 (n,), how many +1 each row has; without it, a holds signs.
        isa: the instruction set to use.

    Returns:
        uint32 (planes of levels, m, words(n)).
    """
    number = isa_number(isa)
    thresholds = as_array("thresholds", thresholds, INT32, None, None)
    levels, n = thresholds.shape
    if not 1 <= levels <= 255:
        raise ValueError(f"there are {levels} thresholds for each column; there can be 1 to 255")
    flip = as_array("flip", flip, UINT32, words(n))
    given, m = _product(a, panels, ones, n, k)
    bits = np.empty((levels.bit_length(), m, words(n)), np.uint32)
    check(
        lib.bnnlab_product_threshold(
            number,
            *given,
            *buffer("int32_t[]", thresholds),
            levels,
            *buffer("uint32_t[]", flip),
            *buffer("uint32_t[]", bits),
        )
    )
    return bits


def product_affine(
    a: Any, panels: Any, k: int, scale: Any, shift: Any, ones: Any = None, *, isa: str | None = None
) -> np.ndarray:
    """A product's sums times `scale` plus `shift`, both float32 (n,) -> float32 (m, n).

    The other arguments are those of `product_threshold`.
    """
    number = isa_number(isa)
    scale = as_array("scale", scale, FLOAT32, None)
    n = len(scale)
    shift = as_array("shift", shift, FLOAT32, n)
    given, m = _product(a, panels, ones, n, k)
    out = _rows(m, n, FLOAT32)
    check(
        lib.bnnlab_product_affine(
            number,
            *given,
            *buffer("float[]", scale),
            *buffer("float[]", shift),
            *buffer("float[]", out),
        )
    )
    return out
