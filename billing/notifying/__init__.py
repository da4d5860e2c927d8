"""What the merchant's system learns: events in one order, each with a body that never changes."""
