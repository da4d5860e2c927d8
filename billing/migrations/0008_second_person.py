"""A second person for what one person decides above an amount; a proposal is decided once and never lost."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models


promises = import_module("billing.migrations.0002_promises")

FROZEN_PROPOSAL_COLUMNS = (
    "public_id", "account_id", "attempt_id", "kind", "transaction_id", "orders", "reason", "proposed_by",
    "proposed_by_user_id", "proposed_at",
)
TRIGGERS = [
    promises.rule(
        "proposals_never_change", "UPDATE", "proposal",
        (promises.changed(FROZEN_PROPOSAL_COLUMNS), "what was proposed stays as it was proposed"),
    ),
    promises.rule(
        "a_proposal_is_decided_once", "UPDATE", "proposal",
        ("OLD.outcome <> 'open'", "its decision is final"),
    ),
    promises.rule(
        "proposals_are_about_a_case", "INSERT", "proposal",
        (
            """NEW.outcome <> 'open' OR NOT EXISTS (
                 SELECT 1 FROM billing_paymentattempt a
                 WHERE a.id = NEW.attempt_id AND a.account_id = NEW.account_id AND a.state = 'needs_human')""",
            "an attempt of this account that is with a person",
        ),
    ),
    promises.rule("proposal_is_never_deleted", "DELETE", "proposal", ("true", "money leaves a trace")),
    promises.trigger(
        "proposal_is_never_truncated", "TRUNCATE", "proposal",
        promises.refuse(
            "current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'",
            "proposal_is_never_truncated", "money leaves a trace",
        ),
        level="STATEMENT",
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ("billing", "0007_refunds"),
    ]

    operations = [
        migrations.CreateModel(
            name='Proposal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('kind', models.TextField(choices=[('charged', 'charged'), ('declined', 'declined'), ('not_charged', 'not charged'), ('release', 'release')])),
                ('transaction_id', models.TextField(blank=True, db_default='')),
                ('orders', models.JSONField(default=list)),
                ('reason', models.TextField()),
                ('proposed_by', models.TextField()),
                ('proposed_by_user_id', models.BigIntegerField(null=True)),
                ('proposed_at', models.DateTimeField()),
                ('outcome', models.TextField(choices=[('open', 'open'), ('confirmed', 'confirmed'), ('rejected', 'rejected'), ('overtaken', 'overtaken')])),
                ('decided_by', models.TextField(blank=True, db_default='')),
                ('decided_by_user_id', models.BigIntegerField(null=True)),
                ('decided_at', models.DateTimeField(null=True)),
                ('decided_reason', models.TextField(blank=True, db_default='')),
            ],
        ),
        migrations.AddField(
            model_name='gatewayaccount',
            name='second_person_above_minor',
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AddConstraint(
            model_name='gatewayaccount',
            constraint=models.CheckConstraint(condition=models.Q(('second_person_above_minor__isnull', True), ('second_person_above_minor__gte', 0), _connector='OR'), name='account_second_person_amount_not_negative'),
        ),
        migrations.AddField(
            model_name='proposal',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='proposal',
            name='attempt',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='proposals', to='billing.paymentattempt'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['charged', 'declined', 'not_charged', 'release'])), name='proposal_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ['open', 'confirmed', 'rejected', 'overtaken'])), name='proposal_outcome_known'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.UniqueConstraint(condition=models.Q(('outcome', 'open')), fields=('attempt',), name='one_open_proposal_per_attempt'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('outcome', 'confirmed'), _negated=True), models.Q(('decided_by_user_id__isnull', False), models.Q(('decided_by', models.F('proposed_by')), _negated=True), models.Q(('proposed_by_user_id__isnull', True), models.Q(('decided_by_user_id', models.F('proposed_by_user_id')), _negated=True), _connector='OR')), _connector='OR'), name='the_second_person_is_another'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by', ''), ('decided_by_user_id__isnull', True), ('outcome', 'open')), models.Q(models.Q(('outcome', 'open'), _negated=True), ('decided_at__isnull', False), models.Q(('decided_by', ''), _negated=True)), _connector='OR'), name='a_decided_proposal_says_by_whom'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'charged'), models.Q(('transaction_id', ''), _negated=True)), models.Q(models.Q(('kind', 'charged'), _negated=True), ('transaction_id', '')), _connector='OR'), name='a_proposed_charge_names_its_transaction'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
