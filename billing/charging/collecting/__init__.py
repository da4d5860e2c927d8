"""The loops of a worker: what is due is armed, sent and settled; what lost its sender is swept."""
