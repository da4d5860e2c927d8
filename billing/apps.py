from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig, apps


class BillingConfig(AppConfig):
    name = "billing"
    verbose_name = "Kitaran"

    def ready(self) -> None:
        from billing import checks
        from billing.mailing import bounces
        from billing.notifying import bodies

        checks.register_all()
        bodies.show_objects_with(_show)
        if apps.is_installed("anymail"):
            bounces.connect()


def _show(account_id: int, object_type: str, ids: Sequence[int]) -> Mapping[int, dict[str, Any]]:
    """Imported when it is first needed: most processes never publish."""
    from billing.api.objects import show

    return show(account_id, object_type, ids)
