"""What can go wrong with packed networks."""


class KernelsMissing(RuntimeError):
    """The compiled kernels are not installed, and something needs them."""


class ExtraMissing(RuntimeError):
    """An optional package is not installed; the message says how to get it."""


class NotPackable(ValueError):
    """The network cannot be run as packed bits; the message says why."""


class PackedFileError(ValueError):
    """A file is not a packed network, or is damaged; the message says where."""
