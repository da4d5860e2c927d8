"""A message for a subscription that expired; an unknown message that a person has sent again."""

from importlib import import_module

from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
before = import_module("billing.migrations.0023_messages")
replaced = import_module("billing.migrations.0015_ways_out").replaced

MESSAGE_MOVES = {**before.MESSAGE_MOVES, "unknown": ("bounced", "pending")}
TO_CUSTOMERS = [
    "enrolled", "notice", "receipt", "payment_failed", "last_warning", "paused", "ended", "expired", "card_needed",
    "card_switched_off", "refunded",
]
KINDS = [*TO_CUSTOMERS, "staff"]
TRIGGERS = [
    replaced(
        "messages_move_only_along_the_table", (promises.forbidden(MESSAGE_MOVES), "this move is not in the table"),
    ),
    promises.rule(
        "only_a_person_sends_an_unknown_message_again", "UPDATE OF state", "message",
        (
            "OLD.state = 'unknown' AND NEW.state = 'pending' "
            "AND (NEW.sent_again_at IS NULL OR NEW.sent_again_at IS NOT DISTINCT FROM OLD.sent_again_at)",
            "it may have arrived: say when a person decided",
        ),
    ),
]


class Migration(migrations.Migration):
    dependencies = (("billing", "0025_deliveries_end"),)

    operations = (
        migrations.RemoveConstraint(model_name="mailsettings", name="mail_kinds_known"),
        migrations.RemoveConstraint(model_name="message", name="message_kind_known"),
        migrations.AddField(
            model_name="message", name="sent_again_at", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AlterField(
            model_name="message",
            name="kind",
            field=models.TextField(choices=[(kind, kind.replace("_", " ")) for kind in KINDS]),
        ),
        migrations.AddConstraint(
            model_name="mailsettings",
            constraint=models.CheckConstraint(
                condition=models.Q(("kinds_off__contained_by", TO_CUSTOMERS)), name="mail_kinds_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.CheckConstraint(condition=models.Q(("kind__in", KINDS)), name="message_kind_known"),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    )
