"""A device that is not there: a tensor on it computes on the CPU, and meets no tensor of the CPU.

As on a GPU, an operation whose tensors lie on two devices is refused, and one that draws from the
other's generator; numbers of no dimension may come from the CPU where CUDA's element-wise kernels
take them. Indices may not, which CUDA would copy in every step. PyTorch's own "meta" device lends
its name, because it needs no driver.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
# What CUDA computes with a number that lies on the CPU.
_TAKE_NUMBERS = {"add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "copy_", "_to_copy"}


class There(torch.Tensor):
    """A tensor that says it lies on DEVICE, and keeps its numbers in a tensor of the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> "There":
        made = torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype, device=DEVICE,
            storage_offset=numbers.storage_offset(),
        )  # fmt: skip
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Draws(TorchFunctionMode):
    """Looks at calls from Python: below them, a generator has forgotten where it is."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        found, generator = func(*args, **(kwargs or {})), (kwargs or {}).get("generator")
        if generator is not None and generator.place != found.device:
            raise RuntimeError(f"{func} draws on {found.device} from one of {generator.place}")
        return found


def _run(func, args, kwargs):
    name = func._schema.name.removeprefix("aten::")
    tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, torch.Tensor)]
    there = {id(t.numbers): t for t in tensors if isinstance(t, There)}
    here = [t for t in tensors if not isinstance(t, There)]
    if there and name != "copy_":
        for t in here:
            if t.ndim or name not in _TAKE_NUMBERS:
                raise RuntimeError(f"{func} of tensors on two devices, {list(t.shape)} on the CPU")
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    stays = bool(there) if asked is None else torch.device(asked) == DEVICE
    found = func(*tree_map(_numbers, args), **tree_map(_numbers, kwargs))

    def placed(value):
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) in there:  # changed in place
            return there[id(value)]
        return There(value) if stays else value

    return tree_map(placed, found)


def _numbers(value):
    return value.numbers if isinstance(value, There) else value


class _Generator(torch.Generator):
    """Draws for DEVICE what it draws for the CPU."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made


@contextmanager
def pretended(monkeypatch) -> Iterator[None]:
    """Let "cuda" be DEVICE."""
    from bnnlab.training import devices

    optimizer = sys.modules["torch.optim.optimizer"]
    fused = optimizer._get_fused_kernels_supported_devices()
    with monkeypatch.context() as patch, _Draws(), _Mode(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # it copies
        patch.setattr(devices, "get", {"cuda": DEVICE}.__getitem__)
        patch.setattr(devices, "prepare", lambda device: None)
        patch.setattr(devices, "describe", str)
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(
            optimizer, "_get_fused_kernels_supported_devices", lambda: [*fused, DEVICE.type]
        )
        yield
