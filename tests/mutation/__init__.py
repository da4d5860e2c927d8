"""What the tests are worth: each guard is taken away in turn, and some test must fail.

`python -m tests.mutation` does all of it and adds a line to docs/mutation.md; `python -m tests.mutation NAME ...` some.
"""
