"""The set-based SQL of the hot path: open, arm and settle, one module each.

One row is a batch of one; there is no second path beside these. Every function runs inside the caller's
transaction. Locks are taken in one order everywhere: installation and account, cards, subscriptions, invoices,
attempts, refunds; within a table by id. `arming.due_invoices` takes invoices first, which is safe because arm
never waits for a lock after the account's: it skips what others hold.
"""
