"""What the figures were measured on: printed above every table."""

import os
import platform
from datetime import date
from pathlib import Path

import torch


def machine() -> str:
    """Return the processor, cores, versions and the date, in a line."""
    processor = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in information.read_text().splitlines()
            if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {date.today()}"
    )
