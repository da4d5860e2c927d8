"""`make bench`: the engine beside the bare limit program, in one run, on a durable PostgreSQL of its own.

The limit program does what no engine can leave out: a durable intent before, a signature, one POST, a durable result
after. The ratio of the two is what the engine's promises cost; absolute figures belong to one machine and one hour.
"""
