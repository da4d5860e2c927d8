"""What the tests are worth: each guard is taken away in turn, and some test must fail.

`python -m tests.mutation` does all of it and writes `results/latest.json`; `python -m tests.mutation NAME ...` some.
"""
