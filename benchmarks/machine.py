"""What the figures were measured on: printed above every table."""

import os
import platform
from datetime import date

import torch

from bnnlab.packed.benchmark import machine as processor


def machine() -> str:
    """Return the processor, cores, versions and the date, in a line."""
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {date.today()}"
    )
