"""An explicit-state model of the charging protocol: every state that a small world can reach, looked at one by one.

`python -m tests.model` prints what was explored, and the shortest way to harm for every guard that is taken away.
The decisions (`decide`, `match`, `refusal`) are the project's own; what is around them is told again here, small.
"""
