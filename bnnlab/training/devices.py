"""Where lanes are trained: on the processor, or on a GPU.

The device is how a comparison is run, not part of what it is: a run may go on elsewhere, and its
checkpoints open on any machine. Lanes start from the same weights and see the same batches on every
device, but sums are rounded in another order, and stochastic schemes draw other numbers on a GPU:
results are the same to the last bit on the same device only. A run says which ones it was on.

Everything is computed in float32. Sums of products of -1 and +1 would be exact in 8 or 16 bits with
wide accumulators, but PyTorch rounds what a product of bfloat16 matrices gives to bfloat16, and the
gradients, two thirds of the work, are no small integers: in mixed precision the numbers would
change, so it is not offered. TF32, which rounds the factors, stays off for the same reason.
"""

import os

import torch

CPU = torch.device("cpu")


def available() -> list[str]:
    """The names of this machine's devices: "cpu", "cuda" (the first GPU), "cuda:0", ..."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]


def get(name: str) -> torch.device:
    """Return the device of a name.

    Raises ValueError where this machine has none of that name; it says what there is.
    """
    there = available()
    if name not in there:
        built = torch.version.cuda is not None or torch.version.hip is not None
        why = "" if built else "; this PyTorch was built without support for GPUs"
        raise ValueError(f"device is {name!r}; PyTorch finds {', '.join(there)} here{why}")
    return torch.device("cuda:0" if name == "cuda" else name)


def prepare(device: torch.device) -> None:
    """Have this process compute on a device as exactly, and as repeatably, as on the processor."""
    if device.type == "cpu":
        return
    torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS may sum in any order
    # What has no repeatable algorithm is said on standard error, and done nevertheless.
    torch.use_deterministic_algorithms(True, warn_only=True)


def describe(device: torch.device) -> str:
    """Return a device in words, for the record."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} ({torch.cuda.get_device_name(device)})"
