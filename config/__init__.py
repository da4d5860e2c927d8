"""Settings, Celery, URLs and the embedded stack: the only place that reads the environment."""
