"""One charge: permits, arming, settling, and what follows for invoice, subscription, card and account."""
