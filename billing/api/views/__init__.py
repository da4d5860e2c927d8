"""The addresses, per noun: parse, call one use case, render."""
