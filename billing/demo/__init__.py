"""Everything at once on one machine: the supervisor behind `manage.py up`, and the demonstration on top of it."""
