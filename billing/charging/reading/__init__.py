"""Looking at the gateway: cards, orders, transactions and reports, and which attempt explains what they show."""
