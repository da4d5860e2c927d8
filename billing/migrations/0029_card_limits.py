"""What a card's declines say about the next try, tries that are not made, and what staff decided about codes."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0028_one_off_retry_days"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeclineRuling",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.TextField()),
                ("kind", models.TextField(choices=[("hard", "hard"), ("soft", "soft"), ("unknown", "unknown")])),
                ("decided_by", models.TextField()),
                ("reason", models.TextField()),
                ("decided_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="invoice",
            name="invoice_refusal_known",
        ),
        migrations.AddField(
            model_name="invoice",
            name="asked_for",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name="invoice",
            name="tries_avoided",
            field=models.IntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="capped_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="declined_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="frozen_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="frozen_by",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="paymentmethod",
            name="rests_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="invoice",
            name="refusal",
            field=models.TextField(
                blank=True,
                choices=[
                    ("subscription_not_usable", "subscription not usable"),
                    ("no_card", "no card"),
                    ("card_not_active", "card not active"),
                    ("card_held", "card held"),
                    ("card_has_gateway_schedule", "card has gateway schedule"),
                    ("card_has_unresolved_attempt", "card has unresolved attempt"),
                    ("invoice_has_holder", "invoice has holder"),
                    ("collected_by_gateway", "collected by gateway"),
                    ("environment_differs", "environment differs"),
                    ("above_limit", "above limit"),
                    ("already_refunded", "already refunded"),
                    ("preflight_missing", "preflight missing"),
                    ("preflight_found_money", "preflight found money"),
                    ("lists_may_lag", "lists may lag"),
                    ("card_unreadable", "card unreadable"),
                    ("request_impossible", "request impossible"),
                    ("constraint", "constraint"),
                    ("gateway_unavailable", "gateway unavailable"),
                    ("account_paused", "account paused"),
                    ("card_frozen", "card frozen"),
                    ("card_rests", "card rests"),
                    ("no_sender", "no sender"),
                    ("first_charge_declined", "first charge declined"),
                ],
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="paymentattempt",
            index=models.Index(
                condition=models.Q(("state", "declined")), fields=["account", "armed_at"], name="attempt_declined"
            ),
        ),
        migrations.AddIndex(
            model_name="paymentmethod",
            index=models.Index(
                condition=models.Q(("frozen_at__isnull", False)), fields=["frozen_at"], name="card_frozen"
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(("tries_avoided__gte", 0), ("tries_avoided__lte", models.F("tries"))),
                name="avoided_tries_are_tries",
            ),
        ),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refusal__isnull", True),
                    (
                        "refusal__in",
                        [
                            "subscription_not_usable",
                            "no_card",
                            "card_not_active",
                            "card_held",
                            "card_has_gateway_schedule",
                            "card_has_unresolved_attempt",
                            "invoice_has_holder",
                            "collected_by_gateway",
                            "environment_differs",
                            "above_limit",
                            "already_refunded",
                            "preflight_missing",
                            "preflight_found_money",
                            "lists_may_lag",
                            "card_unreadable",
                            "request_impossible",
                            "constraint",
                            "gateway_unavailable",
                            "account_paused",
                            "card_frozen",
                            "card_rests",
                            "no_sender",
                            "first_charge_declined",
                        ],
                    ),
                    _connector="OR",
                ),
                name="invoice_refusal_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentmethod",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("frozen_at__isnull", True), ("frozen_by__isnull", True)),
                    models.Q(("frozen_at__isnull", False), models.Q(("frozen_by", ""), _negated=True)),
                    _connector="OR",
                ),
                name="frozen_card_says_why",
            ),
        ),
        migrations.AddField(
            model_name="declineruling",
            name="account",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="billing.gatewayaccount"),
        ),
        migrations.AddConstraint(
            model_name="declineruling",
            constraint=models.UniqueConstraint(fields=("account", "code"), name="one_ruling_per_decline_code"),
        ),
        migrations.AddConstraint(
            model_name="declineruling",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["hard", "soft", "unknown"])), name="decline_ruling_kind_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="declineruling",
            constraint=models.CheckConstraint(
                condition=models.Q(models.Q(("code", ""), _negated=True), models.Q(("reason", ""), _negated=True)),
                name="decline_ruling_says_what_and_why",
            ),
        ),
    ]
