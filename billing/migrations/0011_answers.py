"""Answers that no row accounts for, one invoice for each due date, and what could not be opened."""

from importlib import import_module

from django.db import migrations, models

_promises = import_module("billing.migrations.0002_promises")
changed, refuse, rule, trigger = (getattr(_promises, name) for name in ("changed", "refuse", "rule", "trigger"))

WHAT_WAS_ANSWERED = (
    "account_id", "kind", "marker", "nonce", "gateway_customer_id", "amount_minor", "currency", "title", "description",
    "source", "verdict", "reason", "transaction_id", "order_id", "content", "digest", "recorded_at",
)
MOST_NAMED = 20

TRIGGERS = [
    rule(
        "orphan_answers_never_change", "UPDATE", "orphananswer",
        (changed(WHAT_WAS_ANSWERED), "what was answered stays as it was recorded"),
        ("OLD.matched_at IS NOT NULL", "it is matched once"),
    ),
    rule("orphananswer_is_never_deleted", "DELETE", "orphananswer", ("true", "money leaves a trace")),
    trigger(
        "orphananswer_is_never_truncated", "TRUNCATE", "orphananswer",
        refuse(
            "current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'",
            "orphananswer_is_never_truncated", "money leaves a trace",
        ),
        level="STATEMENT",
    ),
]


def refuse_two_invoices_of_one_due_date(apps, schema_editor):
    """Nothing is deleted: invoices are money that was asked for. A person decides which of two is owed."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            """SELECT s.public_id, i.due_at, string_agg(i.public_id || ' (' || i.state || ')', ', ' ORDER BY i.id)
               FROM billing_invoice i JOIN billing_subscription s ON s.id = i.subscription_id
               GROUP BY s.public_id, i.due_at HAVING count(*) > 1 ORDER BY s.public_id, i.due_at LIMIT %s""",
            [MOST_NAMED + 1],
        )
        found = cursor.fetchall()
    if found:
        named = "\n".join(f"  {subscription}, due {due_at:%Y-%m-%d %H:%M:%S%z}: {invoices}"
                          for subscription, due_at, invoices in found[:MOST_NAMED])
        more = "\n  and more" if len(found) > MOST_NAMED else ""
        raise RuntimeError(
            "one_invoice_per_due_date: these subscriptions have more than one invoice for one due date. Find out for "
            "each which of them the customer owes, give back what was paid twice, void what is not owed, and move the "
            "due_at of the invoice that is not owed by a second as the database's owner (trigger "
            f"issued_invoices_never_change). Then migrate again; nothing was changed.\n{named}{more}"
        )


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0010_looks'),
    ]

    operations = [
        migrations.RunPython(refuse_two_invoices_of_one_due_date, migrations.RunPython.noop),
        migrations.CreateModel(
            name='OrphanAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account_id', models.BigIntegerField()),
                ('kind', models.TextField(choices=[('charge', 'charge'), ('refund', 'refund')])),
                ('marker', models.TextField()),
                ('nonce', models.TextField()),
                ('gateway_customer_id', models.TextField(blank=True)),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.TextField()),
                ('title', models.TextField(blank=True)),
                ('description', models.TextField(blank=True)),
                ('source', models.TextField()),
                ('verdict', models.TextField()),
                ('reason', models.TextField(blank=True)),
                ('transaction_id', models.TextField(blank=True)),
                ('order_id', models.TextField(blank=True)),
                ('content', models.JSONField()),
                ('digest', models.TextField()),
                ('recorded_at', models.DateTimeField()),
                ('matched_at', models.DateTimeField(blank=True, null=True)),
                ('matched_how', models.TextField(blank=True, choices=[('no_money', 'no money'), ('row', 'row'), ('transaction', 'transaction'), ('person', 'person')], null=True)),
                ('matched_id', models.BigIntegerField(blank=True, null=True)),
                ('matched_by', models.TextField(blank=True, db_default='')),
                ('matched_note', models.TextField(blank=True, db_default='')),
            ],
        ),
        migrations.AddField(
            model_name='subscription',
            name='open_again_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='subscription',
            name='open_error',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='subscription',
            name='open_failed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('open_again_at__isnull', False)), fields=['open_again_at'], name='subscription_not_opened'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('subscription', 'due_at'), name='one_invoice_per_due_date'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('open_again_at__isnull', True), ('open_error', ''), ('open_failed_at__isnull', True)), models.Q(('open_again_at__isnull', False), ('open_failed_at__isnull', False), models.Q(('open_error', ''), _negated=True)), _connector='OR'), name='what_could_not_be_opened_says_why'),
        ),
        migrations.AddIndex(
            model_name='orphananswer',
            index=models.Index(condition=models.Q(('matched_at__isnull', True)), fields=['id'], name='orphan_answer_unmatched'),
        ),
        migrations.AddConstraint(
            model_name='orphananswer',
            constraint=models.UniqueConstraint(fields=('account_id', 'nonce', 'digest'), name='an_orphan_answer_is_recorded_once'),
        ),
        migrations.AddConstraint(
            model_name='orphananswer',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['charge', 'refund'])), name='orphan_answer_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='orphananswer',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('matched_at__isnull', True), ('matched_how__isnull', True)), models.Q(('matched_at__isnull', False), ('matched_how__in', ['no_money', 'person', 'row', 'transaction']), ('matched_how__isnull', False)), _connector='OR'), name='a_matched_orphan_answer_says_how'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
