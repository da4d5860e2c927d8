"""Found payments name their invoice; money of a recorded payment that went back; a quarantine whose clock was wrong."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
late_money = import_module("billing.migrations.0016_late_money")
ways_out = import_module("billing.migrations.0015_ways_out")

FROZEN_PAYMENT_COLUMNS = (*late_money.FROZEN_PAYMENT_COLUMNS, "invoice_id")
TRIGGERS = [
    ways_out.replaced("found_payments_never_change",
                      (promises.changed(FROZEN_PAYMENT_COLUMNS), "what was found stays as it was found")),
    promises.rule(
        "a_found_payment_is_of_its_accounts_invoice", "INSERT", "foundpayment",
        (
            """NEW.invoice_id IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_invoice i WHERE i.id = NEW.invoice_id AND i.account_id = NEW.account_id)""",
            "an invoice of the same account",
        ),
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0014_quarantine'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='foundpayment',
            name='found_payment_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='foundpayment',
            name='one_row_per_found_payment',
        ),
        migrations.AddField(
            model_name='foundpayment',
            name='invoice',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='found_payments', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantine_clock_doubted',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AlterField(
            model_name='foundpayment',
            name='kind',
            field=models.TextField(choices=[('after_the_end', 'after the end'), ('unknown_marker', 'unknown marker'), ('without_marker', 'without marker'), ('went_back', 'went back')]),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['after_the_end', 'unknown_marker', 'without_marker', 'went_back'])), name='found_payment_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'went_back'), _negated=True), fields=('account', 'gateway_transaction_id'), name='one_row_per_found_payment'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'went_back')), fields=('account', 'gateway_transaction_id', 'amount_minor'), name='one_row_per_amount_that_went_back'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'went_back'), _negated=True), ('invoice__isnull', False), _connector='OR'), name='money_that_went_back_had_paid_an_invoice'),
        ),
        migrations.AddConstraint(
            model_name='gatewayaccount',
            constraint=models.CheckConstraint(condition=models.Q(('quarantine_clock_doubted', False), ('quarantined_at__isnull', False), _connector='OR'), name='only_a_quarantine_doubts_its_clock'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
