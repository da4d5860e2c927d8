"""Money after the end: cards that are read again, the gateway's daily reports, and payments that a person decides."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")

FROZEN_PAYMENT_COLUMNS = (
    "account_id", "gateway_transaction_id", "gateway_order_id", "kind", "amount_minor", "currency", "marker",
    "attempt_id", "found_at",
)
TRIGGERS = [
    promises.rule(
        "found_payments_never_change", "UPDATE", "foundpayment",
        (promises.changed(FROZEN_PAYMENT_COLUMNS), "what was found stays as it was found"),
    ),
    promises.rule(
        "a_found_payment_is_decided_once", "UPDATE", "foundpayment",
        ("OLD.decided_at IS NOT NULL", "its decision is final"),
    ),
    promises.rule("foundpayment_is_never_deleted", "DELETE", "foundpayment", ("true", "money leaves a trace")),
    promises.trigger(
        "foundpayment_is_never_truncated", "TRUNCATE", "foundpayment",
        promises.refuse(
            "current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'",
            "foundpayment_is_never_truncated", "money leaves a trace",
        ),
        level="STATEMENT",
    ),
]
# Cards on which an attempt ended without money before this existed are read once, soon, and then by their schedule.
WATCH_OLD_CARDS = """
    UPDATE billing_paymentmethod c
    SET watch_from_at = ended.at, next_watch_at = ended.at + interval '1 hour'
    FROM (SELECT payment_method_id, max(settled_at) AS at FROM billing_paymentattempt
          WHERE state IN ('declined', 'not_sent', 'not_charged', 'surplus', 'reversed') AND settled_at IS NOT NULL
          GROUP BY payment_method_id) ended
    WHERE ended.payment_method_id = c.id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0011_answers'),
    ]

    operations = [
        migrations.CreateModel(
            name='FoundPayment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('gateway_transaction_id', models.TextField()),
                ('gateway_order_id', models.TextField(blank=True, db_default='')),
                ('kind', models.TextField(choices=[('after_the_end', 'after the end'), ('unknown_marker', 'unknown marker'), ('without_marker', 'without marker')])),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.TextField()),
                ('marker', models.TextField(blank=True, db_default='')),
                ('found_at', models.DateTimeField()),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_by', models.TextField(blank=True, db_default='')),
                ('decided_reason', models.TextField(blank=True, db_default='')),
            ],
        ),
        migrations.CreateModel(
            name='ReportDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('next_read_at', models.DateTimeField(null=True)),
                ('read_at', models.DateTimeField(null=True)),
                ('complete_at', models.DateTimeField(null=True)),
                ('payments', models.IntegerField(db_default=0)),
                ('explained', models.IntegerField(db_default=0)),
                ('unexplained', models.IntegerField(db_default=0)),
                ('failures', models.IntegerField(db_default=0)),
                ('failure', models.TextField(blank=True, db_default='')),
            ],
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='reads_reports',
            field=models.BooleanField(db_default=True),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='next_watch_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='watch_from_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='watches_failed',
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddIndex(
            model_name='paymentmethod',
            index=models.Index(condition=models.Q(('next_watch_at__isnull', False)), fields=['account', 'next_watch_at'], name='card_to_watch'),
        ),
        migrations.AddConstraint(
            model_name='paymentmethod',
            constraint=models.CheckConstraint(condition=models.Q(('next_watch_at__isnull', True), ('watch_from_at__isnull', False), _connector='OR'), name='a_watched_card_says_since_when'),
        ),
        migrations.AddField(
            model_name='foundpayment',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='foundpayment',
            name='attempt',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='found_payments', to='billing.paymentattempt'),
        ),
        migrations.AddField(
            model_name='reportday',
            name='account',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddIndex(
            model_name='foundpayment',
            index=models.Index(condition=models.Q(('decided_at__isnull', True)), fields=['id'], name='found_payment_to_decide'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['after_the_end', 'unknown_marker', 'without_marker'])), name='found_payment_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.UniqueConstraint(fields=('account', 'gateway_transaction_id'), name='one_row_per_found_payment'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by', ''), ('decided_reason', '')), models.Q(('decided_at__isnull', False), models.Q(('decided_by', ''), _negated=True), models.Q(('decided_reason', ''), _negated=True)), _connector='OR'), name='a_decided_payment_says_by_whom_and_why'),
        ),
        migrations.AddIndex(
            model_name='reportday',
            index=models.Index(condition=models.Q(('next_read_at__isnull', False)), fields=['account', 'next_read_at'], name='report_day_to_read'),
        ),
        migrations.AddIndex(
            model_name='reportday',
            index=models.Index(condition=models.Q(('complete_at__isnull', True)), fields=['day'], name='report_day_not_complete'),
        ),
        migrations.AddConstraint(
            model_name='reportday',
            constraint=models.UniqueConstraint(fields=('account', 'day'), name='one_row_per_report_day'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
        migrations.RunSQL(WATCH_OLD_CARDS, migrations.RunSQL.noop),
    ]
