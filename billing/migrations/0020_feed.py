"""Events are published: each gets its place in the feed of its account and of its object, and its body, once."""

from importlib import import_module

from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
ways_out = import_module("billing.migrations.0015_ways_out")

WRITTEN = (
    "id", "public_id", "account_id", "kind", "subject_type", "subject_id", "occasion", "payload", "created_at",
)
PUBLISHED = ("sequence", "object_sequence", "published_at", "body")
TRIGGERS = [
    ways_out.replaced(
        "event_is_append_only",
        (
            f"TG_OP = 'DELETE' OR OLD.sequence IS NOT NULL OR NEW.sequence IS NULL OR {promises.changed(WRITTEN)}",
            "rows are only added, and published once",
        ),
    ),
    promises.rule(
        "events_are_born_unpublished", "INSERT", "event",
        ("NEW.sequence IS NOT NULL", "an event is numbered after its transaction has committed"),
    ),
]
# A card is a payment method to the merchant's system, as in the API.
RENAMED = """
    ALTER TABLE billing_event DISABLE TRIGGER USER;
    UPDATE billing_event SET kind = 'payment_method.' || substr(kind, 6) WHERE kind LIKE 'card.%';
    ALTER TABLE billing_event ENABLE TRIGGER USER;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0019_needs_review'),
    ]

    operations = [
        migrations.RunSQL(RENAMED, migrations.RunSQL.noop),
        migrations.AddField(
            model_name='event',
            name='body',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='object_sequence',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='published_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='event',
            name='sequence',
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('sequence__isnull', True)), fields=['account_id', 'id'], name='event_not_published'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(condition=models.Q(('sequence__isnull', False)), fields=('account_id', 'sequence'), name='one_event_per_place_in_the_feed'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.UniqueConstraint(condition=models.Q(('sequence__isnull', False)), fields=('subject_type', 'subject_id', 'object_sequence'), name='one_event_per_place_of_its_object'),
        ),
        migrations.AddConstraint(
            model_name='event',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('body__isnull', True), ('object_sequence__isnull', True), ('published_at__isnull', True), ('sequence__isnull', True)), models.Q(('body__isnull', False), ('object_sequence__isnull', False), ('published_at__isnull', False), ('sequence__isnull', False), ('object_sequence__gte', 1), ('sequence__gte', 1)), _connector='OR'), name='a_published_event_is_whole'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
