"""What must always be true, and what came of a run, as queries."""
