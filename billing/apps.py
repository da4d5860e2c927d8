from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Kitaran"

    def ready(self) -> None:
        from billing import checks

        checks.register_all()
