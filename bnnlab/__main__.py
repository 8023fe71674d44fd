"""`python -m bnnlab`: the `bnnlab` command."""

from bnnlab.cli import main

main(prog_name="bnnlab")
