"""A subscription may be active only once its first charge is paid, and expires when it is not paid in time.

Plans and subscriptions from before stay as they are: active with a card."""

from importlib import import_module

from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")
replaced = import_module("billing.migrations.0015_ways_out").replaced

SUBSCRIPTION_MOVES = {
    **promises.SUBSCRIPTION_MOVES,
    "incomplete": (*promises.SUBSCRIPTION_MOVES["incomplete"], "completed", "expired"),
}
TRIGGERS = [
    replaced(
        "subscriptions_move_only_along_the_table",
        (promises.forbidden(SUBSCRIPTION_MOVES), "this move is not in the table"),
    ),
    replaced(
        "a_used_plan_is_not_edited",
        (
            f"({promises.changed((*promises.FROZEN_PLAN_COLUMNS, 'activates_on'))}) "
            "AND EXISTS (SELECT 1 FROM billing_subscription s WHERE s.plan_id = OLD.id)",
            "make a new version of the plan",
        ),
    ),
    # The engine closes an invoice too that was not paid in time.
    replaced(
        "no_invoice_is_closed_over_an_open_attempt",
        (
            """OLD.state <> NEW.state
               AND NEW.state_reason IN ('paid_elsewhere', 'voided', 'written_off', 'first_payment_overdue')
               AND NEW.state <> 'open'
               AND EXISTS (SELECT 1 FROM billing_paymentattempt a
                           WHERE a.invoice_id = NEW.id
                             AND a.state IN ('sending', 'unknown', 'in_process', 'needs_review'))""",
            "the outcome of an attempt comes first",
        ),
    ),
    # The subscription, its invoice and that one's attempts are locked by whoever lets it expire.
    promises.rule(
        "a_subscription_expires_unpaid", "UPDATE OF state", "subscription",
        (
            """NEW.state = 'expired' AND OLD.state <> 'expired'
               AND EXISTS (SELECT 1 FROM billing_invoice i WHERE i.subscription_id = NEW.id AND i.state <> 'void')""",
            "its first invoice is paid, or still owed",
        ),
    ).replace("FOR EACH ROW EXECUTE", "FOR EACH ROW WHEN (NEW.state = 'expired') EXECUTE"),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0021_webhooks'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='invoice',
            name='invoice_refusal_known',
        ),
        migrations.RemoveConstraint(
            model_name='subscription',
            name='subscription_state_known',
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='first_payment_hours',
            field=models.IntegerField(db_default=23),
        ),
        migrations.AddField(
            model_name='plan',
            name='activates_on',
            field=models.TextField(choices=[('card', 'card'), ('payment', 'payment')], db_default='card'),
        ),
        migrations.AddField(
            model_name='subscription',
            name='activates_on',
            field=models.TextField(choices=[('card', 'card'), ('payment', 'payment')], db_default='card'),
        ),
        migrations.AddField(
            model_name='subscription',
            name='first_payment_ends_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='invoice',
            name='refusal',
            field=models.TextField(blank=True, choices=[('subscription_not_usable', 'subscription not usable'), ('no_card', 'no card'), ('card_not_active', 'card not active'), ('card_held', 'card held'), ('card_has_gateway_schedule', 'card has gateway schedule'), ('card_has_unresolved_attempt', 'card has unresolved attempt'), ('invoice_has_holder', 'invoice has holder'), ('collected_by_gateway', 'collected by gateway'), ('environment_differs', 'environment differs'), ('above_limit', 'above limit'), ('already_refunded', 'already refunded'), ('preflight_missing', 'preflight missing'), ('preflight_found_money', 'preflight found money'), ('lists_may_lag', 'lists may lag'), ('card_unreadable', 'card unreadable'), ('request_impossible', 'request impossible'), ('constraint', 'constraint'), ('gateway_unavailable', 'gateway unavailable'), ('account_paused', 'account paused'), ('no_sender', 'no sender'), ('first_charge_declined', 'first charge declined')], null=True),
        ),
        migrations.AlterField(
            model_name='subscription',
            name='state',
            field=models.TextField(choices=[('incomplete', 'incomplete'), ('trialing', 'trialing'), ('active', 'active'), ('past_due', 'past due'), ('paused', 'paused'), ('canceled', 'canceled'), ('completed', 'completed'), ('expired', 'expired')]),
        ),
        migrations.AddIndex(
            model_name='subscription',
            index=models.Index(condition=models.Q(('first_payment_ends_at__isnull', False), ('state', 'incomplete')), fields=['first_payment_ends_at'], name='subscription_unpaid'),
        ),
        migrations.AddConstraint(
            model_name='gatewayaccount',
            constraint=models.CheckConstraint(condition=models.Q(('first_payment_hours__gte', 1), ('first_payment_hours__lte', 720)), name='account_first_payment_hours_known'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(('refusal__isnull', True), ('refusal__in', ['subscription_not_usable', 'no_card', 'card_not_active', 'card_held', 'card_has_gateway_schedule', 'card_has_unresolved_attempt', 'invoice_has_holder', 'collected_by_gateway', 'environment_differs', 'above_limit', 'already_refunded', 'preflight_missing', 'preflight_found_money', 'lists_may_lag', 'card_unreadable', 'request_impossible', 'constraint', 'gateway_unavailable', 'account_paused', 'no_sender', 'first_charge_declined']), _connector='OR'), name='invoice_refusal_known'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.CheckConstraint(condition=models.Q(('activates_on__in', ['card', 'payment'])), name='plan_activates_on_known'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled', 'completed', 'expired'])), name='subscription_state_known'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('activates_on__in', ['card', 'payment'])), name='subscription_activates_on_known'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('first_payment_ends_at__isnull', True), models.Q(('activates_on', 'payment'), ('anchor_date__isnull', False), ('charge_at_start', True), ('collector', 'engine'), ('occurrence__isnull', False), ('period_index__gte', 1), ('trial_ends_at__isnull', True)), _connector='OR'), name='only_a_first_payment_runs_out'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'expired'), _negated=True), ('first_payment_ends_at__isnull', False), _connector='OR'), name='only_an_unpaid_start_expires'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
