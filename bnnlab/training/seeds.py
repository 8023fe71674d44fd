"""Random streams that depend on what they are for, and on nothing else."""

import hashlib

import torch


def seed(*purpose: object) -> int:
    """Return the seed that the words and numbers which say what it is for make."""
    digest = hashlib.blake2b("/".join(map(str, purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*purpose: object) -> torch.Generator:
    """Return a generator seeded by the words and numbers that say what it is for.

    A lane's draws come from its seed and its scheme alone, so adding or removing a lane changes
    no other lane's numbers.
    """
    return torch.Generator().manual_seed(seed(*purpose))
