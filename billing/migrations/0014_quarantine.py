"""Which database this is, the hosts that charge with it, and quarantine: nothing is armed in a database that may have
forgotten charges. What is found of them at the gateway is written down as recovered attempts."""

from importlib import import_module

import django.contrib.postgres.fields
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")


def again(name, table, *conditions):
    """The function behind a trigger that is there already, with other conditions."""
    whole = promises.rule(name, "", table, *conditions)
    return whole[: whole.index("CREATE TRIGGER")].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


IN_QUARANTINE = "EXISTS (SELECT 1 FROM billing_gatewayaccount g WHERE g.id = NEW.account_id AND g.quarantined_at IS NOT NULL)"
BEFORE = [
    again(
        "attempts_are_born_sending", "paymentattempt",
        (
            "NEW.state <> 'sending' AND NOT (NEW.recovered_at IS NOT NULL AND NEW.state = 'not_charged')",
            "an attempt is born sending, or found at the gateway with its money still to be written down",
        ),
    ),
    again(
        "attempts_ask_for_what_is_owed", "paymentattempt",
        (
            """NOT EXISTS (SELECT 1 FROM billing_invoice i JOIN billing_paymentmethod c ON c.id = NEW.payment_method_id
                           WHERE i.id = NEW.invoice_id AND (i.state = 'open' OR NEW.recovered_at IS NOT NULL)
                             AND i.amount_minor = NEW.amount_minor AND i.currency = NEW.currency
                             AND i.account_id = NEW.account_id AND c.account_id = NEW.account_id
                             AND c.customer_id = i.customer_id)""",
            "an open invoice of this amount, and a card of its customer",
        ),
    ),
    again(
        "armed_requests_never_change", "paymentattempt",
        (promises.changed((*promises.FROZEN_ATTEMPT_COLUMNS, "recovered_at")), "what was armed is frozen"),
    ),
]
TRIGGERS = [
    promises.rule(
        "nothing_is_armed_in_quarantine", "INSERT", "paymentattempt",
        (f"NEW.recovered_at IS NULL AND {IN_QUARANTINE}", "this database may have forgotten charges"),
    ),
    promises.rule(
        "nothing_is_given_back_in_quarantine", "UPDATE OF state", "refund",
        (
            f"NEW.state = 'sending' AND OLD.state <> 'sending' AND {IN_QUARANTINE}",
            "this database may have forgotten what was given back",
        ),
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0012_pace'),
    ]

    operations = [
        migrations.CreateModel(
            name='Host',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('host_id', models.TextField(unique=True)),
                ('first_seen_at', models.DateTimeField()),
                ('last_seen_at', models.DateTimeField()),
                ('admitted_at', models.DateTimeField(blank=True, null=True)),
                ('armed_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='preflight_until',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantine_detail',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantine_point_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantine_reason',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantine_reports',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='quarantined_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='installation',
            name='database_name',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='installation',
            name='database_oid',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='installation',
            name='epoch',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='installation',
            name='past_epochs',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='installation',
            name='system_identifier',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='installation',
            name='timeline',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='paymentattempt',
            name='recovered_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='quarantine_read_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='gatewayaccount',
            constraint=models.CheckConstraint(condition=models.Q(('quarantined_at__isnull', True), ('quarantine_reason__in', ['database_differs', 'attempts_forgotten', 'witness_differs', 'host_unknown', 'order_of_another']), _connector='OR'), name='quarantined_account_says_why'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (*BEFORE, *TRIGGERS)),
    ]
