"""Of what is due at one moment the oldest row comes first, by the index itself: nothing is sorted."""

from django.db import migrations, models

WORK_LISTS = (
    ("invoice", "invoice_work_list", ("account", "next_attempt_at")),
    ("paymentattempt", "attempt_to_check", ("next_check_at",)),
    ("paymentmethod", "card_to_watch", ("account", "next_watch_at")),
    ("refund", "refund_to_look_at", ("next_check_at",)),
    ("subscription", "subscription_due", ("next_due_at",)),
    ("subscription", "subscription_not_opened", ("open_again_at",)),
)


def index(name: str, columns: tuple[str, ...]) -> models.Index:
    condition = models.Q((f"{columns[-1]}__isnull", False))
    return models.Index(fields=(*columns, "id"), condition=condition, name=name)


class Migration(migrations.Migration):
    dependencies = (("billing", "0023_messages"),)

    operations = (
        *(migrations.RemoveIndex(model_name=model, name=name) for model, name, _ in WORK_LISTS),
        *(migrations.AddIndex(model_name=model, index=index(name, columns)) for model, name, columns in WORK_LISTS),
    )
