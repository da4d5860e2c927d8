"""What the merchant's systems learn: events in one order, each with a body that never changes, and their webhooks."""
