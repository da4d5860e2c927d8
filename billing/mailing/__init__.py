"""E-mails to customers and staff: what each says, when it is sent, and what came of it."""
