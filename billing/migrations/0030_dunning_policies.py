"""Dunning policies: what accounts said of declined invoices becomes two policies of each."""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from billing.ids import new_id
from billing.models.clock import database_now

promises = import_module("billing.migrations.0002_promises")

ONE_ACCOUNT = promises.rule(
    "a_dunning_assignment_stays_in_its_account", "INSERT OR UPDATE", "dunningassignment",
    (
        "EXISTS (SELECT 1 FROM billing_dunningpolicy p WHERE p.id IN (NEW.policy_id, NEW.second_policy_id) "
        "AND p.account_id <> NEW.account_id)",
        "policies and assignment are of one account",
    ),
)
# The code of the bank's last refusal, for invoices that were declined before it was kept beside them.
LAST_CODES = """
    UPDATE billing_invoice i SET decline_code = last.state_reason
    FROM (SELECT DISTINCT ON (invoice_id) invoice_id, state_reason FROM billing_paymentattempt
          WHERE state = 'declined' ORDER BY invoice_id, number DESC) last
    WHERE last.invoice_id = i.id AND i.tries > 0
"""


def make_policies(apps, schema_editor):
    """Each account's columns become its policy of subscriptions and its policy of one-off charges."""
    policies = apps.get_model("billing", "DunningPolicy").objects
    assignments = apps.get_model("billing", "DunningAssignment").objects
    invoices = apps.get_model("billing", "Invoice").objects
    for account in apps.get_model("billing", "GatewayAccount").objects.order_by("pk"):
        now = database_now()
        for code, name, days, scope in (
            ("default", "Standard", account.retry_days, "subscriptions"),
            ("one-offs", "Standard for one-offs", account.one_off_retry_days, "one_offs"),
        ):
            policy = policies.create(
                public_id=new_id("dpol", now), account=account, code=code, name=name, retry_days=days,
                final_action=account.final_action, created_at=now,
            )
            assignments.create(account=account, scope=scope, policy=policy, assigned_at=now)
            invoices.filter(
                account=account, state="open", tries__gt=0, subscription__isnull=scope == "one_offs"
            ).exclude(subscription__state="incomplete").update(dunning_policy=policy)
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # pending checks would refuse the changes that follow


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0029_card_limits'),
    ]

    operations = [
        migrations.CreateModel(
            name='DunningAssignment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.TextField(choices=[('subscriptions', 'subscriptions'), ('one_offs', 'one offs'), ('plan', 'plan')])),
                ('plan_code', models.TextField(blank=True, db_default='')),
                ('second_percent', models.SmallIntegerField(blank=True, null=True)),
                ('assigned_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='DunningPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('code', models.TextField()),
                ('name', models.TextField()),
                ('retry_days', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), blank=True, default=list, size=None)),
                ('retry_hour', models.SmallIntegerField(blank=True, null=True)),
                ('prefer_days', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), blank=True, default=list, size=None)),
                ('avoid_days', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), blank=True, default=list, size=None)),
                ('avoid_weekdays', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), blank=True, default=list, size=None)),
                ('quiet_tries', django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), blank=True, default=list, size=None)),
                ('grace_days', models.IntegerField(db_default=0)),
                ('final_action', models.TextField(choices=[('cancel', 'cancel'), ('pause', 'pause'), ('keep', 'keep')])),
                ('created_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='FailedPayment',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('billing.invoice',),
        ),
        migrations.AddField(
            model_name='invoice',
            name='decline_code',
            field=models.TextField(blank=True, db_default=''),
        ),
        migrations.AddField(
            model_name='invoice',
            name='grace_ends_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='dunningassignment',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='dunning_assignments', to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='dunningpolicy',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='dunning_policies', to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='dunningassignment',
            name='policy',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='assignments', to='billing.dunningpolicy'),
        ),
        migrations.AddField(
            model_name='dunningassignment',
            name='second_policy',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='second_assignments', to='billing.dunningpolicy'),
        ),
        migrations.AddField(
            model_name='invoice',
            name='dunning_policy',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='billing.dunningpolicy'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('state__in', ['open', 'uncollectible']), ('tries__gt', 0)), fields=['-id'], name='invoice_failed'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('first_tried_at__isnull', False)), fields=['account', 'first_tried_at'], name='invoice_declined'),
        ),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('grace_ends_at__isnull', False), ('state', 'open')), fields=['grace_ends_at'], name='invoice_in_grace'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.UniqueConstraint(fields=('account', 'code'), name='one_dunning_policy_per_code'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('final_action__in', ['cancel', 'pause', 'keep'])), name='policy_final_action_known'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('retry_days__len__lt', 4), ('retry_days__contained_by', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30])), name='at_most_four_tries_in_thirty_days'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('retry_days__1__isnull', True), ('retry_days__1__gt', models.F('retry_days__0')), _connector='OR'), models.Q(('retry_days__2__isnull', True), ('retry_days__2__gt', models.F('retry_days__1')), _connector='OR')), name='each_retry_day_is_later_than_the_last'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('retry_hour__isnull', True), ('retry_hour__in', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]), _connector='OR'), name='policy_retry_hour_known'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('prefer_days__contained_by', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]), ('avoid_days__contained_by', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]), ('avoid_weekdays__contained_by', [0, 1, 2, 3, 4, 5, 6]), ('quiet_tries__contained_by', [1, 2, 3, 4])), name='policy_days_known'),
        ),
        migrations.AddConstraint(
            model_name='dunningpolicy',
            constraint=models.CheckConstraint(condition=models.Q(('grace_days__gte', 0), ('grace_days__lte', 30)), name='policy_grace_at_most_thirty_days'),
        ),
        migrations.AddConstraint(
            model_name='dunningassignment',
            constraint=models.UniqueConstraint(fields=('account', 'scope', 'plan_code'), name='one_policy_per_scope'),
        ),
        migrations.AddConstraint(
            model_name='dunningassignment',
            constraint=models.CheckConstraint(condition=models.Q(('scope__in', ['subscriptions', 'one_offs', 'plan'])), name='policy_scope_known'),
        ),
        migrations.AddConstraint(
            model_name='dunningassignment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('scope', 'plan'), models.Q(('plan_code', ''), _negated=True)), models.Q(models.Q(('scope', 'plan'), _negated=True), ('plan_code', '')), _connector='OR'), name='only_the_policy_of_a_plan_names_one'),
        ),
        migrations.AddConstraint(
            model_name='dunningassignment',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('second_percent__isnull', True), ('second_policy__isnull', True)), models.Q(('second_percent__gte', 1), ('second_percent__lte', 99), ('second_policy__isnull', False), models.Q(('second_policy', models.F('policy')), _negated=True)), _connector='OR'), name='a_share_has_two_policies'),
        ),
        migrations.RunSQL(ONE_ACCOUNT, "DROP FUNCTION a_dunning_assignment_stays_in_its_account() CASCADE"),
        migrations.RunPython(make_policies, migrations.RunPython.noop),
        migrations.RunSQL(LAST_CODES, migrations.RunSQL.noop),
        migrations.RemoveConstraint(
            model_name='gatewayaccount',
            name='account_final_action_known',
        ),
        migrations.RemoveConstraint(
            model_name='gatewayaccount',
            name='at_most_four_tries_in_thirty_days',
        ),
        migrations.RemoveConstraint(
            model_name='gatewayaccount',
            name='each_retry_day_is_later_than_the_last',
        ),
        migrations.RemoveField(
            model_name='gatewayaccount',
            name='final_action',
        ),
        migrations.RemoveField(
            model_name='gatewayaccount',
            name='one_off_retry_days',
        ),
        migrations.RemoveField(
            model_name='gatewayaccount',
            name='retry_days',
        ),
    ]
