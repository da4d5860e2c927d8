"""Refunds remember what was given back before them; invoices are closed by people; proposals about invoices and cards."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
refunds = import_module("billing.migrations.0007_refunds")
second_person = import_module("billing.migrations.0008_second_person")

FROZEN_REFUND_COLUMNS = (*refunds.FROZEN_REFUND_COLUMNS, "refunded_before_minor")


def replaced(name, *conditions):
    """A function of that name with other conditions; its trigger stays."""
    body = "\n".join(promises.refuse(condition, name, message) for condition, message in conditions)
    return f"""
    CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
    {body}
    RETURN COALESCE(NEW, OLD);
    END $$;
    """


# Those that wait to be sent were asked for on the books as they are; of the others nobody asks any more.
WHAT_WAITS = """
    UPDATE billing_refund r SET refunded_before_minor = a.amount_refunded_minor
    FROM billing_paymentattempt a WHERE a.id = r.attempt_id AND r.state = 'requested';
"""
REFUND_TRIGGERS = [
    replaced("what_was_asked_back_never_changes",
             (promises.changed(FROZEN_REFUND_COLUMNS), "what was asked for is frozen")),
    # The attempt is locked by whoever counts what goes back, and by whoever arms.
    promises.rule(
        "a_refund_is_sent_only_for_what_is_owed", "UPDATE OF state", "refund",
        (
            """NEW.state = 'sending' AND OLD.state = 'requested'
               AND (SELECT a.amount_refunded_minor FROM billing_paymentattempt a WHERE a.id = NEW.attempt_id)
                   <> NEW.refunded_before_minor""",
            "something was given back since it was asked for",
        ),
    ),
]
INVOICE_MOVES = {**promises.INVOICE_MOVES, "uncollectible": ("paid", "open", "void")}
FROZEN_PROPOSAL_COLUMNS = (*second_person.FROZEN_PROPOSAL_COLUMNS, "invoice_id", "payment_method_id", "details")
OPEN_ATTEMPTS = "('sending', 'unknown', 'in_process', 'needs_human')"
TRIGGERS = [
    replaced("invoices_move_only_along_the_table", (promises.forbidden(INVOICE_MOVES), "this move is not in the table")),
    replaced("proposals_never_change",
             (promises.changed(FROZEN_PROPOSAL_COLUMNS), "what was proposed stays as it was proposed")),
    replaced(
        "proposals_are_about_a_case",
        (
            """NEW.outcome <> 'open'
               OR NEW.attempt_id IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_paymentattempt a
                 WHERE a.id = NEW.attempt_id AND a.account_id = NEW.account_id AND a.state = 'needs_human')
               OR NEW.invoice_id IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_invoice i
                 WHERE i.id = NEW.invoice_id AND i.account_id = NEW.account_id
                   AND i.state IN ('open', 'uncollectible'))
               OR NEW.payment_method_id IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_paymentmethod c
                 WHERE c.id = NEW.payment_method_id AND c.account_id = NEW.account_id AND c.held_at IS NOT NULL)""",
            "an attempt that is with a person, an invoice that is owed, or a card that is held, of this account",
        ),
    ),
    # The invoice and its attempts are locked by whoever closes it.
    promises.rule(
        "an_outside_payment_pays_what_is_owed", "INSERT", "outsidepayment",
        (
            """NOT EXISTS (SELECT 1 FROM billing_invoice i
                           WHERE i.id = NEW.invoice_id AND i.account_id = NEW.account_id
                             AND i.state IN ('open', 'uncollectible')
                             AND i.amount_minor = NEW.amount_minor AND i.currency = NEW.currency)""",
            "an invoice of this account and amount that is owed",
        ),
    ),
    promises.rule(
        "an_outside_payment_excludes_a_charge", "INSERT", "outsidepayment",
        (
            """EXISTS (SELECT 1 FROM billing_paymentattempt a
                       WHERE a.invoice_id = NEW.invoice_id
                         AND a.state IN ('sending', 'unknown', 'in_process', 'needs_human', 'succeeded'))""",
            "an attempt took the money, or still may",
        ),
        (
            """EXISTS (SELECT 1 FROM billing_paymentattempt a
                       WHERE a.account_id = NEW.account_id
                         AND a.gateway_transaction_id = NEW.gateway_transaction_id)""",
            "the transaction explains an attempt",
        ),
    ),
    promises.rule(
        "what_was_paid_outside_is_not_charged", "UPDATE OF state", "paymentattempt",
        (
            """NEW.state = 'succeeded' AND OLD.state <> 'succeeded'
               AND EXISTS (SELECT 1 FROM billing_outsidepayment p WHERE p.invoice_id = NEW.invoice_id)""",
            "the invoice was paid elsewhere",
        ),
    ),
    promises.rule(
        "what_was_paid_outside_stays_paid", "UPDATE OF state", "invoice",
        (
            """OLD.state = 'paid' AND NEW.state <> 'paid'
               AND EXISTS (SELECT 1 FROM billing_outsidepayment p WHERE p.invoice_id = NEW.id)""",
            "it was paid elsewhere",
        ),
    ),
    promises.rule(
        "paid_elsewhere_names_its_payment", "UPDATE OF state", "invoice",
        (
            """NEW.state = 'paid' AND OLD.state <> 'paid' AND (NEW.state_reason = 'paid_elsewhere')
               <> EXISTS (SELECT 1 FROM billing_outsidepayment p WHERE p.invoice_id = NEW.id)""",
            "who paid it how is recorded first",
        ),
    ),
    # While one attempt may still have taken the money, nobody closes the invoice by hand.
    promises.rule(
        "no_invoice_is_closed_over_an_open_attempt", "UPDATE OF state", "invoice",
        (
            f"""OLD.state <> NEW.state AND NEW.state_reason IN ('paid_elsewhere', 'voided', 'written_off')
                AND NEW.state <> 'open'
                AND EXISTS (SELECT 1 FROM billing_paymentattempt a
                            WHERE a.invoice_id = NEW.id AND a.state IN {OPEN_ATTEMPTS})""",
            "the outcome of an attempt comes first",
        ),
    ),
    promises.rule("outsidepayment_is_append_only", "UPDATE OR DELETE", "outsidepayment", ("true", "rows are only added")),
    promises.trigger(
        "outsidepayment_is_never_truncated", "TRUNCATE", "outsidepayment",
        promises.refuse(
            "current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'",
            "outsidepayment_is_never_truncated", "money leaves a trace",
        ),
        level="STATEMENT",
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ("billing", "0013_isolation"),
    ]

    operations = [
        migrations.AddField(
            model_name="refund",
            name="refunded_before_minor",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.CreateModel(
            name='OutsidePayment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('method', models.TextField(choices=[('cash', 'cash'), ('bank_transfer', 'bank transfer'), ('other', 'other'), ('gateway', 'gateway')])),
                ('reference', models.TextField(blank=True, db_default='')),
                ('gateway_transaction_id', models.TextField(blank=True, null=True)),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.TextField()),
                ('paid_date', models.DateField()),
                ('reason', models.TextField()),
                ('recorded_by', models.TextField()),
                ('confirmed_by', models.TextField(blank=True, db_default='')),
                ('recorded_at', models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_hold_known',
        ),
        migrations.RemoveConstraint(
            model_name='proposal',
            name='proposal_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='proposal',
            name='a_proposed_charge_names_its_transaction',
        ),
        migrations.AddField(
            model_name='proposal',
            name='details',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='proposal',
            name='invoice',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='proposals', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='proposal',
            name='payment_method',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='proposals', to='billing.paymentmethod'),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='hold',
            field=models.TextField(blank=True, choices=[('catch_up', 'catch up'), ('reversed', 'reversed'), ('subscription_canceled', 'subscription canceled'), ('proposal', 'proposal')], null=True),
        ),
        migrations.AlterField(
            model_name='proposal',
            name='attempt',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='proposals', to='billing.paymentattempt'),
        ),
        migrations.AlterField(
            model_name='proposal',
            name='kind',
            field=models.TextField(choices=[('charged', 'charged'), ('declined', 'declined'), ('not_charged', 'not charged'), ('charged_and_given_back', 'charged and given back'), ('release', 'release'), ('paid_elsewhere', 'paid elsewhere'), ('void', 'void'), ('write_off', 'write off'), ('clear_hold', 'clear hold')]),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('hold__isnull', True), ('hold__in', ['catch_up', 'reversed', 'subscription_canceled', 'proposal']), _connector='OR'), name='invoice_hold_known'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['charged', 'declined', 'not_charged', 'charged_and_given_back', 'release', 'paid_elsewhere', 'void', 'write_off', 'clear_hold'])), name='proposal_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.UniqueConstraint(condition=models.Q(('outcome', 'open')), fields=('invoice',), name='one_open_proposal_per_invoice'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.UniqueConstraint(condition=models.Q(('outcome', 'open')), fields=('payment_method',), name='one_open_proposal_per_card'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('attempt__isnull', False), ('invoice__isnull', True), ('payment_method__isnull', True)), models.Q(('attempt__isnull', True), ('invoice__isnull', False), ('payment_method__isnull', True)), models.Q(('attempt__isnull', True), ('invoice__isnull', True), ('payment_method__isnull', False)), _connector='OR'), name='a_proposal_is_about_one_thing'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['charged', 'charged_and_given_back']), models.Q(('transaction_id', ''), _negated=True)), models.Q(models.Q(('kind__in', ['charged', 'charged_and_given_back']), _negated=True), ('transaction_id', '')), _connector='OR'), name='a_proposed_charge_names_its_transaction'),
        ),
        migrations.AddField(
            model_name='outsidepayment',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='outsidepayment',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outside_payments', to='billing.invoice'),
        ),
        migrations.AddConstraint(
            model_name='outsidepayment',
            constraint=models.CheckConstraint(condition=models.Q(('method__in', ['cash', 'bank_transfer', 'other', 'gateway'])), name='outside_payment_method_known'),
        ),
        migrations.AddConstraint(
            model_name='outsidepayment',
            constraint=models.UniqueConstraint(fields=('invoice',), name='one_outside_payment_per_invoice'),
        ),
        migrations.AddConstraint(
            model_name='outsidepayment',
            constraint=models.UniqueConstraint(fields=('account', 'gateway_transaction_id'), name='a_found_transaction_pays_one_invoice'),
        ),
        migrations.AddConstraint(
            model_name='outsidepayment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('gateway_transaction_id__isnull', False), ('method', 'gateway')), models.Q(models.Q(('method', 'gateway'), _negated=True), ('gateway_transaction_id__isnull', True), models.Q(('reference', ''), _negated=True)), _connector='OR'), name='an_outside_payment_names_where_it_is_found'),
        ),
        migrations.AddConstraint(
            model_name='outsidepayment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('recorded_by', ''), _negated=True), models.Q(('reason', ''), _negated=True)), name='an_outside_payment_says_who_and_why'),
        ),
        migrations.RunSQL(WHAT_WAITS, migrations.RunSQL.noop),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (*REFUND_TRIGGERS, *TRIGGERS)),
    ]
