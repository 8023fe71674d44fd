"""Bits and what they stand for: unpacking, panels back to rows, floats as ordered integers."""

import numpy as np

from bnnlab.packed import kernels

NEVER, ALWAYS = 2**31 - 1, -(2**31)  # thresholds that no sum reaches, and that every one does
_BYTE = 8  # planes that one call of a kernel takes


def unpack_bits(bits: np.ndarray, k: int) -> np.ndarray:
    """uint32 (..., words) -> uint8 (..., k) of zeros and ones."""
    raw = np.ascontiguousarray(bits, dtype="<u4").view(np.uint8)
    return np.unpackbits(raw, axis=-1, bitorder="little")[..., :k]


def unpack_codes(planes: np.ndarray, k: int) -> np.ndarray:
    """Bit planes, uint32 (planes, ..., words) -> uint8 (..., k), int32 if the planes are many."""
    dtype = np.uint8 if len(planes) <= _BYTE else np.int32
    codes = unpack_bits(planes[0], k).astype(dtype, copy=False)
    for p in range(1, len(planes)):
        codes = codes | (unpack_bits(planes[p], k).astype(dtype, copy=False) << dtype(p))
    return codes


def pack_codes(codes: np.ndarray, planes: int) -> np.ndarray:
    """Integers from 0 to 2**planes - 1, (..., k), as bit planes, uint32 (planes, ..., words)."""
    rows = np.ascontiguousarray(codes.reshape(-1, codes.shape[-1]))
    groups = [
        kernels.pack_codes(
            np.ascontiguousarray((rows >> first) & 255, np.uint8), min(_BYTE, planes - first)
        )
        for first in range(0, planes, _BYTE)
    ]
    packed = groups[0] if len(groups) == 1 else np.concatenate(groups)
    return packed.reshape(planes, *codes.shape[:-1], packed.shape[-1])


def pack_flags(flags: np.ndarray) -> np.ndarray:
    """Flags, bool (n,), as bits, uint32 (words,)."""
    bits = np.zeros(kernels.words(len(flags)) * 4, np.uint8)
    packed = np.packbits(flags, bitorder="little")
    bits[: len(packed)] = packed
    return bits.view("<u4").astype(np.uint32)


def rows_of(panels: np.ndarray, n: int) -> np.ndarray:
    """Panels, uint32 (ceil(n / 16), words, 16) -> the packed rows, uint32 (n, words)."""
    rows = panels.transpose(0, 2, 1).reshape(-1, panels.shape[1])
    return np.ascontiguousarray(rows[:n])


def tail_is_clear(bits: np.ndarray, k: int) -> bool:
    """Whether the bits beyond the k-th of every row are zero."""
    if k % kernels.WORD == 0:
        return True
    return not bool((bits[..., -1] >> np.uint32(k % kernels.WORD)).any())


def keys(x: np.ndarray) -> np.ndarray:
    """float32 -> int32 in the same order: x < y exactly if key(x) < key(y), but -0.0 below +0.0."""
    bits = x.astype(np.float32, copy=False).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def from_keys(keys: np.ndarray) -> np.ndarray:
    """The float32 whose keys these int32 are."""
    return (keys ^ ((keys >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)
