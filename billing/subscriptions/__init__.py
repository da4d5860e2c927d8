"""Customers, cards, plans and subscriptions: everything about who owes what, and when."""
