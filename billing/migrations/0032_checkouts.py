"""Checkouts: pages of the gateway's on which an invoice is paid, and attempts that are payments made there, of no card.

While a page may be being paid no card is charged for its invoice, and while a charge may have taken the money no page
is opened; each of the two is written under the invoice's lock."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
quarantine = import_module("billing.migrations.0014_quarantine")
ways_out = import_module("billing.migrations.0015_ways_out")

CHECKOUT_MOVES = {
    "creating": ("open", "paid", "closed"),
    "open": ("paid", "closed"),
    "closed": ("paid",),
}
FROZEN_CHECKOUT_COLUMNS = (
    "public_id", "account_id", "invoice_id", "order_id", "marker", "amount_minor", "currency", "title", "description",
    "return_url", "requested_by", "created_at", "expires_at", "excludes_until",
)
HOLDS_PLACE = "('sending', 'unknown', 'in_process', 'needs_review', 'succeeded')"
REPLACED = [
    ways_out.replaced(
        "attempts_are_born_sending",
        (
            """NEW.state <> 'sending'
               AND NOT (NEW.state = 'not_charged' AND (NEW.recovered_at IS NOT NULL OR NEW.checkout_id IS NOT NULL))""",
            "an attempt is born sending, or found at the gateway with its money still to be written down",
        ),
    ),
    ways_out.replaced(
        "attempts_ask_for_what_is_owed",
        (
            """NEW.checkout_id IS NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_invoice i JOIN billing_paymentmethod c ON c.id = NEW.payment_method_id
                 WHERE i.id = NEW.invoice_id AND (i.state = 'open' OR NEW.recovered_at IS NOT NULL)
                   AND i.amount_minor = NEW.amount_minor AND i.currency = NEW.currency
                   AND i.account_id = NEW.account_id AND c.account_id = NEW.account_id
                   AND c.customer_id = i.customer_id)""",
            "an open invoice of this amount, and a card of its customer",
        ),
        (
            """NEW.checkout_id IS NOT NULL AND NOT EXISTS (
                 SELECT 1 FROM billing_checkout p
                 WHERE p.id = NEW.checkout_id AND p.invoice_id = NEW.invoice_id AND p.account_id = NEW.account_id
                   AND p.amount_minor = NEW.amount_minor AND p.currency = NEW.currency)""",
            "a checkout of this invoice and of this amount",
        ),
    ),
    ways_out.replaced(
        "armed_requests_never_change",
        (
            promises.changed((*promises.FROZEN_ATTEMPT_COLUMNS, "recovered_at", "checkout_id")),
            "what was armed is frozen",
        ),
    ),
    ways_out.replaced(
        "nothing_is_armed_in_quarantine",
        (
            f"NEW.recovered_at IS NULL AND NEW.checkout_id IS NULL AND {quarantine.IN_QUARANTINE}",
            "this database may have forgotten charges",
        ),
    ),
]
TRIGGERS = [
    promises.rule(
        "no_card_is_charged_while_a_checkout_is_open", "INSERT", "paymentattempt",
        (
            """NEW.payment_method_id IS NOT NULL AND NEW.recovered_at IS NULL AND EXISTS (
                 SELECT 1 FROM billing_checkout p
                 WHERE p.invoice_id = NEW.invoice_id AND p.state IN ('creating', 'open'))""",
            "somebody may be paying the invoice on a page",
        ),
    ),
    promises.rule(
        "a_checkout_is_for_what_is_owed", "INSERT", "checkout",
        (
            """NOT EXISTS (SELECT 1 FROM billing_invoice i
                           WHERE i.id = NEW.invoice_id AND i.account_id = NEW.account_id
                             AND i.state IN ('open', 'uncollectible')
                             AND i.amount_minor = NEW.amount_minor AND i.currency = NEW.currency)""",
            "an open or uncollectible invoice of this amount",
        ),
    ),
    promises.rule(
        "no_checkout_is_opened_while_a_charge_is_open", "INSERT", "checkout",
        (
            f"""EXISTS (SELECT 1 FROM billing_paymentattempt a
                        WHERE a.invoice_id = NEW.invoice_id AND a.state IN {HOLDS_PLACE})""",
            "an attempt has taken the money of the invoice, or may have",
        ),
    ),
    promises.rule(
        "checkouts_are_born_creating", "INSERT", "checkout",
        ("NEW.state <> 'creating'", "a checkout is on record before its page is asked for"),
    ),
    promises.rule(
        "no_checkout_is_opened_in_quarantine", "INSERT", "checkout",
        (quarantine.IN_QUARANTINE, "this database may have forgotten payments"),
    ),
    promises.rule(
        "checkouts_move_only_along_the_table", "UPDATE OF state", "checkout",
        (promises.forbidden(CHECKOUT_MOVES), "this move is not in the table"),
    ),
    promises.rule(
        "checkouts_never_change", "UPDATE", "checkout",
        (promises.changed(FROZEN_CHECKOUT_COLUMNS), "what a page was made for is frozen"),
    ),
    promises.rule(
        "a_paid_checkout_has_its_attempt", "UPDATE OF state", "checkout",
        (
            """NEW.state = 'paid' AND OLD.state <> 'paid' AND NOT EXISTS (
                 SELECT 1 FROM billing_paymentattempt a
                 WHERE a.checkout_id = NEW.id AND a.state IN ('succeeded', 'surplus', 'reversed'))""",
            "its payment is an attempt",
        ),
    ),
    promises.rule("checkout_is_never_deleted", "DELETE", "checkout", ("true", "money leaves a trace")),
    promises.trigger(
        "checkout_is_never_truncated", "TRUNCATE", "checkout",
        promises.refuse(
            "current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'",
            "checkout_is_never_truncated", "money leaves a trace",
        ),
        level="STATEMENT",
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0031_payment_links'),
    ]

    operations = [
        migrations.CreateModel(
            name='Checkout',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('state', models.TextField(choices=[('creating', 'creating'), ('open', 'open'), ('paid', 'paid'), ('closed', 'closed')])),
                ('state_reason', models.TextField(blank=True, db_default='')),
                ('order_id', models.TextField()),
                ('marker', models.TextField(unique=True)),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.TextField()),
                ('title', models.TextField()),
                ('description', models.TextField()),
                ('return_url', models.TextField(blank=True, db_default='')),
                ('gateway_checkout_id', models.TextField(blank=True, db_default='')),
                ('url', models.TextField(blank=True, db_default='')),
                ('requested_by', models.TextField()),
                ('created_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('excludes_until', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('next_check_at', models.DateTimeField(blank=True, null=True)),
                ('looked_at', models.DateTimeField(blank=True, null=True)),
                ('failures', models.IntegerField(db_default=0)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='foundpayment',
            name='found_payment_kind_known',
        ),
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_refusal_known',
        ),
        migrations.RemoveConstraint(
            model_name='paymentattempt',
            name='attempt_charge_path_known',
        ),
        migrations.AlterField(
            model_name='foundpayment',
            name='kind',
            field=models.TextField(choices=[('after_the_end', 'after the end'), ('unknown_marker', 'unknown marker'), ('without_marker', 'without marker'), ('checkout_differs', 'checkout differs'), ('went_back', 'went back')]),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='refusal',
            field=models.TextField(blank=True, choices=[('subscription_not_usable', 'subscription not usable'), ('no_card', 'no card'), ('card_not_active', 'card not active'), ('card_held', 'card held'), ('card_has_gateway_schedule', 'card has gateway schedule'), ('card_has_unresolved_attempt', 'card has unresolved attempt'), ('invoice_has_holder', 'invoice has holder'), ('checkout_open', 'checkout open'), ('collected_by_gateway', 'collected by gateway'), ('environment_differs', 'environment differs'), ('above_limit', 'above limit'), ('already_refunded', 'already refunded'), ('preflight_missing', 'preflight missing'), ('preflight_found_money', 'preflight found money'), ('lists_may_lag', 'lists may lag'), ('card_unreadable', 'card unreadable'), ('request_impossible', 'request impossible'), ('constraint', 'constraint'), ('gateway_unavailable', 'gateway unavailable'), ('account_paused', 'account paused'), ('card_frozen', 'card frozen'), ('card_rests', 'card rests'), ('no_sender', 'no sender'), ('first_charge_declined', 'first charge declined')], null=True),
        ),
        migrations.AlterField(
            model_name='paymentattempt',
            name='payment_method',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='billing.paymentmethod'),
        ),
        migrations.AddConstraint(
            model_name='foundpayment',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['after_the_end', 'unknown_marker', 'without_marker', 'checkout_differs', 'went_back'])), name='found_payment_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('refusal__isnull', True), ('refusal__in', ['subscription_not_usable', 'no_card', 'card_not_active', 'card_held', 'card_has_gateway_schedule', 'card_has_unresolved_attempt', 'invoice_has_holder', 'checkout_open', 'collected_by_gateway', 'environment_differs', 'above_limit', 'already_refunded', 'preflight_missing', 'preflight_found_money', 'lists_may_lag', 'card_unreadable', 'request_impossible', 'constraint', 'gateway_unavailable', 'account_paused', 'card_frozen', 'card_rests', 'no_sender', 'first_charge_declined']), _connector='OR'), name='invoice_refusal_known'),
        ),
        migrations.AddField(
            model_name='checkout',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='checkout',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='checkouts', to='billing.invoice'),
        ),
        migrations.AddField(
            model_name='paymentattempt',
            name='checkout',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='attempts', to='billing.checkout'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(('charge_path__in', ['customer_order', 'recurring_charge', 'checkout'])), name='attempt_charge_path_known'),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('checkout__isnull', True), ('payment_method__isnull', False)), models.Q(('charge_path', 'checkout'), ('checkout__isnull', False), ('payment_method__isnull', True)), _connector='OR'), name='an_attempt_is_of_a_card_or_a_checkout'),
        ),
        migrations.AddIndex(
            model_name='checkout',
            index=models.Index(condition=models.Q(('next_check_at__isnull', False)), fields=['account', 'next_check_at', 'id'], name='checkout_to_look_at'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['creating', 'open', 'paid', 'closed'])), name='checkout_state_known'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.UniqueConstraint(fields=('account', 'order_id'), name='an_order_id_is_used_once'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['creating', 'open'])), fields=('invoice',), name='one_open_checkout_per_invoice'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='checkout_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(('currency__in', ['MYR'])), name='checkout_currency_known'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(('order_id__regex', '^[0-9A-Z]{1,24}$')), name='order_id_is_well_formed'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'open'), _negated=True), models.Q(models.Q(('url', ''), _negated=True), models.Q(('gateway_checkout_id', ''), _negated=True)), _connector='OR'), name='an_open_checkout_has_its_page'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['creating', 'open']), _negated=True), ('next_check_at__isnull', False), _connector='OR'), name='an_open_checkout_is_looked_at'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('state__in', ['creating', 'open'])), models.Q(models.Q(('state__in', ['creating', 'open']), _negated=True), ('closed_at__isnull', False)), _connector='OR'), name='a_closed_checkout_says_when'),
        ),
        migrations.AddConstraint(
            model_name='checkout',
            constraint=models.CheckConstraint(condition=models.Q(('excludes_until__gte', models.F('expires_at')), ('expires_at__gt', models.F('created_at'))), name='checkout_times_follow_each_other'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (*REPLACED, *TRIGGERS)),
    ]
