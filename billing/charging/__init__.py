"""Charging: the way of every money request, from the due invoice to the last look.

The rooms read top-down: collecting, recovery, cases, reading, refunds, attempts, protocol."""
