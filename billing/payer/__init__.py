"""The door for customers: the page that a payment link leads to."""
