"""What watching costs: recording beside bare training, and what the page sustains.

    python benchmarks/live.py

Runs `live_recording.py` and `live_page.py` one after the other. The goals: recording under 10 %,
10 updates a second with eight lanes, clicks that take effect within 100 ms (95th percentile).
"""

import live_page
import live_recording
from machine import machine


def main() -> None:
    """Print both tables."""
    print(machine())
    live_recording.report(blocks=15, steps=100, task="digits", width=128)
    live_page.report()


if __name__ == "__main__":
    main()
