"""The door for staff: Django admin."""
