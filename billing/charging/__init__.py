"""Arm, send, settle: the one way by which money is asked for, and everything that finds out what came of it."""
