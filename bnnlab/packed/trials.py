"""Timing single kernels on shapes: a product, a convolution, beside PyTorch and the limit."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bnnlab import __version__
from bnnlab.packed import images, kernels, limits
from bnnlab.packed.benchmark import in_threads, machine, ratio, samples, share, timing
from bnnlab.packed.twins import linear, missing_int8, ways

Call = Callable[[], object]
# Inputs and weights: signs by signs; bytes by signs; real numbers by signs.
OPERANDS = ("bits", "bytes", "floats")
_TYPES = {"bits": ("uint32_t[]", "int32_t[]"), "bytes": ("uint8_t[]", "int32_t[]"),
          "floats": ("float[]", "float[]")}  # fmt: skip
_LOOPS = {"bits": "bits", "bytes": "bytes", "floats": "reals"}

# Samples, outputs, inputs.
PRODUCTS = (
    (64, 4096, 4096),
    (256, 1024, 1024),
    (1024, 1024, 1024),
    (100, 2048, 2048),
    (4096, 256, 2304),
    (1, 4096, 4096),
    (1, 1024, 1024),
)
OTHERS = ((1, 4096, 4096), (1, 1024, 1024), (64, 1024, 1024), (100, 2048, 2048))
# Channels in and out, pixels on a side; 3 x 3 taps with zeros around.
LAYERS = ((64, 56), (128, 28), (256, 14), (512, 7), (128, 32), (256, 16), (512, 8), (256, 64))

# Of the figure: samples at one width, widths with few and with many samples.
WIDTH = 1024
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (128, 256, 512, 1024, 2048, 4096)
FEW_AND_MANY = (1, 64)
Trial = tuple[str, tuple[int, ...]]  # kind and shape, see `run`


def bare(operands: str, x: np.ndarray, panels: np.ndarray, n: int, k: int) -> Call:
    """A product with nothing of Python around it but the call, on memory that is there."""
    given, made = _TYPES[operands]
    m = len(x)
    out = kernels.aligned((m, n), kernels.FLOAT32 if operands == "floats" else kernels.INT32)
    arguments = [
        kernels.isa_number(None),
        *kernels.buffer(given, x),
        *kernels.buffer("uint32_t[]", panels),
        m,
        n,
        k,
        *kernels.buffer(made, out),
    ]
    call = {
        "bits": kernels.lib.bnnlab_xnor_matmul,
        "bytes": kernels.lib.bnnlab_bytes_matmul,
        "floats": kernels.lib.bnnlab_sign_matmul,
    }[operands]
    return lambda: kernels.check(call(*arguments))


def bare_convolution(bits: np.ndarray, convolve: images.SignConvolution) -> Call:
    """A convolution of packed images as `bare` has products; what it gives is as large as these."""
    samples, height, width = bits.shape[:3]
    out = kernels.aligned((samples, height, width, convolve.n), kernels.INT32)
    settings = (*convolve.kernel, *convolve.stride, *convolve.padding)
    arguments = [
        kernels.isa_number(None),
        *kernels.buffer("uint32_t[]", bits),
        samples,
        height,
        width,
        convolve.channels,
        kernels.ffi.new("struct bnnlab_window *", settings),
        *kernels.buffer("uint32_t[]", convolve.panels),
        convolve.n,
        *kernels.buffer("int32_t[]", out),
    ]
    return lambda: kernels.check(kernels.lib.bnnlab_xnor_convolve(*arguments))


def drawn(m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random float32 inputs (m, k) and weights (n, k), and the panels of these."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(m, k)).astype(np.float32)
    weights = generator.normal(size=(n, k)).astype(np.float32)
    return x, weights, kernels.pack_panels(kernels.pack_signs(weights), k)


@in_threads()
@torch.inference_mode()
def product(
    operands: str, shape: tuple[int, int, int], rounds: int = 31, *, beside_torch: bool = True
) -> dict[str, Any]:
    """Time one product in one thread: the kernel, PyTorch in every way it has, and the limit.

    Args:
        operands: one of `OPERANDS`.
        shape: samples, outputs, inputs.
        rounds: samples of each time.
        beside_torch: time PyTorch, too.

    Returns:
        Plain data. "seconds", of each contender {"median", "low", "high"}: "packed" (as one calls
        it, packing counted), "packing" (of that, making bits; only where there is some), "kernel"
        (without packing, on memory that is there), and those of `twins.WAYS`. "faster": how many
        times as long as "packed" each of these takes. "limit": what share of the limit "kernel"
        reaches, and what "bound" it is, "counting" or "reading". "traffic": bytes in and out.
    """
    m, n, k = shape
    x, weights, panels = drawn(m, n, k)
    given, contenders = x, {}
    if operands == "bits":
        given = kernels.pack_signs(x)
        contenders["packed"] = lambda: kernels.xnor_matmul(kernels.pack_signs(x), panels, n, k)
        contenders["packing"] = lambda: kernels.pack_signs(x)
    elif operands == "bytes":
        given = np.random.default_rng(1).integers(0, 256, (m, k)).astype(np.uint8)
        contenders["packed"] = lambda: kernels.bytes_matmul(given, panels, n)
    else:
        contenders["packed"] = lambda: kernels.sign_matmul(x, panels, n)
    contenders["kernel"] = bare(operands, given, panels, n, k)
    if beside_torch:
        contenders |= _beside(x, weights)
    inside = limits.loop(_LOOPS[operands])
    contenders |= {"reading": limits.reading(panels)}
    if inside is not None:
        contenders["counting"] = inside[0]
    taken = samples(contenders, rounds)
    work = 1.0 if inside is None else m * n * k / inside[1]
    taken["counting"] = [seconds * work for seconds in taken.get("counting", [0.0] * rounds)]
    moved = {
        "packed": given.nbytes + panels.nbytes + 4 * m * n,
        "float32": 4 * (m * k + n * k + m * n),
    }
    return _record(operands, shape, 2 * m * n * k, taken, moved)


def _beside(x: np.ndarray, weights: np.ndarray) -> dict[str, Call]:
    """The same product by PyTorch, in every way it has."""

    def call(way: str) -> Call:
        run = linear(way, dense, None, len(x))
        own = given.bfloat16() if way == "bfloat16" else given
        return lambda: run(own)

    given, dense = torch.from_numpy(x), torch.from_numpy(weights)
    return {way: call(way) for way in ways()}


@in_threads()
@torch.inference_mode()
def convolution(channels: int, size: int, rounds: int = 31) -> dict[str, Any]:
    """Time a convolution of one image by 3 x 3 taps, as many channels out as in.

    Args:
        channels: in and out.
        size: pixels on a side.
        rounds: samples of each time.

    Returns:
        As `product` does; PyTorch's `conv2d` in the faster of its two layouts, in float32
        ("torch") and in bfloat16. It has no dynamically quantized one.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, channels, size, size, generator=generator)
    weights = torch.randn(channels, channels, 3, 3, generator=generator)
    convolve = images.SignConvolution(weights, padding=(1, 1))
    given = x.numpy()
    bits = images.pack_channels(given)

    def dense(kind: torch.dtype, layout: torch.memory_format) -> Call:
        own, taps = (t.to(kind).to(memory_format=layout) for t in (x, weights))
        return lambda: F.conv2d(own, taps, None, 1, 1)

    contenders = {
        "packed": lambda: convolve(given),
        "packing": lambda: images.pack_channels(given),
        "kernel": bare_convolution(bits, convolve),
        "reading": limits.reading(convolve.panels),
    }
    kinds = {"torch": torch.float32, "bfloat16": torch.bfloat16}
    layouts = {"first": torch.contiguous_format, "last": torch.channels_last}
    both = {(way, name): dense(kind, layout)
            for way, kind in kinds.items() for name, layout in layouts.items()}  # fmt: skip
    contenders |= {f"{way} {name}": call for (way, name), call in both.items()}
    inside = limits.loop("bits")
    assert inside is not None
    taken = samples(contenders | {"counting": inside[0]}, rounds)
    for way in kinds:
        pair = [taken.pop(f"{way} {name}") for name in layouts]
        taken[way] = min(pair, key=np.median)
    macs = 9 * channels**2 * size**2
    on_image = channels**2 * (3 * size - 2) ** 2  # of the taps, the others add nothing
    taken["counting"] = [seconds * on_image / inside[1] for seconds in taken["counting"]]
    pixels = channels * size**2
    moved = {
        "packed": bits.nbytes + convolve.panels.nbytes + 4 * pixels,
        "float32": 4 * (2 * pixels + weights.numel()),
    }
    return _record("convolution", (channels, size, size), 2 * macs, taken, moved)


def _record(
    kind: str,
    shape: tuple[int, ...],
    operations: int,
    taken: Mapping[str, list[float]],
    moved: dict[str, int],
) -> dict[str, Any]:
    bounds = {name: taken[name] for name in ("counting", "reading")}
    others = [way for way in taken if way not in ("packed", "packing", "kernel", *bounds)]
    return {
        "kernel": kind,
        "shape": list(shape),
        "isa": kernels.isa(),
        "operations": operations,
        "seconds": {name: timing(taken[name]) for name in taken},
        "faster": {way: ratio(taken["packed"], taken[way]) for way in others},
        "limit": share(taken["kernel"], **bounds),
        "traffic": moved,
    }


def standard(quick: bool = False) -> Sequence[Trial]:
    """The trials that the kernels are judged by, or a few of them: kind and shape."""
    if quick:
        return [("bits", PRODUCTS[-1]), ("bits", (64, 1024, 1024)), ("bytes", (64, 1024, 1024)),
                ("floats", (64, 1024, 1024)), ("convolution", LAYERS[2])]  # fmt: skip
    others = [(kind, shape) for kind in ("floats", "bytes") for shape in OTHERS]
    return [("bits", shape) for shape in PRODUCTS] + others + [
        ("convolution", layer) for layer in LAYERS
    ]  # fmt: skip


def sweep(batches: Sequence[int] = (), quick: bool = False) -> Sequence[Trial]:
    """The trials of a figure: square layers against samples and against width."""
    batches = sorted(set(batches)) or (BATCHES[::3] if quick else BATCHES)
    widths = WIDTHS[:4:3] if quick else WIDTHS
    shapes = [(m, WIDTH, WIDTH) for m in batches]
    shapes += [(m, width, width) for m in FEW_AND_MANY for width in widths]
    return [("bits", shape) for shape in dict.fromkeys(shapes)]


def run(kind: str, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """A trial by its kind: one of `OPERANDS`, or "convolution" of channels and pixels."""
    if kind == "convolution":
        return convolution(*shape, rounds=rounds)
    m, n, k = shape
    return product(kind, (m, n, k), rounds)


def conditions() -> dict[str, Any]:
    """What trials are made on and with, now."""
    return {
        "machine": machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "isa": kernels.isa(),
        "threads": 1,
        "torch": torch.__version__,
        "int8_missing": missing_int8(),
        "bnnlab": __version__,
        "date": date.today().isoformat(),
    }
