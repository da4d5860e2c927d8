"""Kills workers by the thousand and counts what is left.

`python -m tests.faults.harness` starts servers of its own and prints what it found; `--full` does the long run,
`--save` keeps its figures in `tests/faults/results`. A failure prints the one command that repeats it from its seed.
"""
