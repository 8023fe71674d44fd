"""Random streams that depend on what they are for, and on nothing else."""

import hashlib

import torch


def generator(*purpose: object) -> torch.Generator:
    """Return a generator seeded by the words and numbers that say what it is for.

    A lane's draws come from its seed and its scheme alone, so adding or removing a lane changes
    no other lane's numbers.
    """
    digest = hashlib.blake2b("/".join(map(str, purpose)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
