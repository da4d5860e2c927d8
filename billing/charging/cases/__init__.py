"""What a person decides: open cases, held cards, invoices that are closed without a charge, approvals."""
