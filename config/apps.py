"""Makes the Celery application known to every Django process, so that doorbells reach the right broker."""

from importlib import import_module

from django.apps import AppConfig


class KitaranConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        import_module("config.celery").app.set_default()
