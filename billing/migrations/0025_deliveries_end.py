"""Deliveries that ended are deleted after a while; what is pending stays."""

from importlib import import_module

from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")

KEPT = promises.rule(
    "a_pending_webhook_delivery_is_kept", "DELETE", "webhookdelivery",
    ("OLD.state = 'pending'", "it is delivered, fails or is canceled first"),
)


class Migration(migrations.Migration):
    dependencies = (("billing", "0024_oldest_first"),)

    operations = (
        migrations.AddIndex(
            model_name="webhookdelivery",
            index=models.Index(
                fields=("closed_at", "id"), condition=models.Q(("closed_at__isnull", False)), name="delivery_ended"
            ),
        ),
        migrations.RunSQL(KEPT, migrations.RunSQL.noop),
    )
