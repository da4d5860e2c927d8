"""The life of an invoice in sentences, read from rows: why a customer was charged, or was not."""
