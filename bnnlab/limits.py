"""What one machine is asked to do at most: the same for Python, the command line, a URL or a file.

Sizes are counts unless their name says bytes. `check_*` raise ValueError with what was given and
what is allowed.
"""

import math

STEPS = 1_000_000
BATCH_SIZE = 4096
PARAMETERS = 50_000_000  # of one network
RUNS = 128  # lanes times seeds of one comparison
STUDY_RUNS = 10_000  # runs of a study
PROCESSES = 64  # trainers of one comparison
POINTS = 1000  # of a 2-D task, kept to be drawn
ARCHIVE_BYTES = 4 * 2**30  # of an unpacked NAME.bnnlab.zip
MESSAGE_BYTES = 8 * 2**20  # of one WebSocket message
UPLOAD_BYTES = 256 * 2**20

# Of a text, a table or arrays that the user names.
TEXT_BYTES = 16 * 2**20
TABLE_BYTES = 256 * 2**20
ARRAYS_BYTES = 2**30  # as they are read, whatever the file is packed to
ROWS = 1_000_000
INPUTS = 16_384  # numbers a sample
CATEGORIES = 100  # different values of a column that is no number
CLASSES = 1000


def check_runs(count: int) -> None:
    """Refuse a comparison of more lanes times seeds than RUNS."""
    if count > RUNS:
        raise ValueError(
            f"lanes times seeds make {count} runs, at most {RUNS} are allowed; "
            "take fewer schemes or seeds"
        )


def check_processes(count: int) -> None:
    """Refuse more trainers than PROCESSES, or none."""
    if not 1 <= count <= PROCESSES:
        raise ValueError(f"processes is {count}; give 1 to {PROCESSES}")


def check_steps(steps: int, made: int) -> None:
    """Refuse to end before a step that was made already."""
    if steps < made:
        raise ValueError(f"steps is {steps}, but {made} have been made; give more")


def check_network(sizes: dict[str, tuple[int, ...]]) -> None:
    """Refuse a network of more weights than PARAMETERS, given their shapes by layer."""
    counts = {name: math.prod(shape) for name, shape in sizes.items()}
    weights = sum(counts.values())
    if weights > PARAMETERS:
        largest = max(counts, key=lambda name: counts[name])
        raise ValueError(
            f"the network has {weights:,} weights, {counts[largest]:,} of them in {largest}; at "
            f"most {PARAMETERS:,} are allowed; make it narrower or shallower"
        )
