"""Webhook endpoints, what is on its way to each, and each try."""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


promises = import_module("billing.migrations.0002_promises")

TRIGGERS = [
    promises.rule(
        "a_webhook_cursor_only_moves_on", "UPDATE", "webhookendpoint",
        ("NEW.sequence < OLD.sequence", "what was handed out is resent, not handed out again"),
    ),
    promises.rule(
        "a_deleted_webhook_endpoint_stays_deleted", "UPDATE", "webhookendpoint",
        ("OLD.state = 'deleted' AND NEW.state <> 'deleted'", "add another endpoint"),
    ),
    promises.rule(
        "a_webhook_stays_in_its_account", "INSERT OR UPDATE OF account_id, endpoint_id, event_id", "webhookdelivery",
        (
            "NOT EXISTS (SELECT 1 FROM billing_webhookendpoint e JOIN billing_event v ON v.account_id = e.account_id "
            "WHERE e.id = NEW.endpoint_id AND v.id = NEW.event_id AND e.account_id = NEW.account_id)",
            "event, endpoint and delivery are of one account",
        ),
    ),
    promises.rule("webhook_tries_never_change", "UPDATE", "webhooktry", ("true", "what an endpoint answered stays")),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0020_feed'),
    ]

    operations = [
        migrations.CreateModel(
            name='WebhookEndpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('url', models.TextField()),
                ('kinds', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('description', models.TextField(blank=True, db_default='')),
                ('email', models.TextField(blank=True, db_default='')),
                ('state', models.TextField(choices=[('active', 'active'), ('paused', 'paused'), ('disabled', 'disabled'), ('deleted', 'deleted')], db_default='active')),
                ('disabled_reason', models.TextField(blank=True, db_default='')),
                ('sequence', models.BigIntegerField(db_default=0)),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('secret_encrypted', models.TextField()),
                ('old_secret_encrypted', models.TextField(blank=True, db_default='')),
                ('old_secret_ends_at', models.DateTimeField(blank=True, null=True)),
                ('notice_due_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField()),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhook_endpoints', to='billing.gatewayaccount')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('event_id', models.BigIntegerField()),
                ('event_public_id', models.TextField()),
                ('kind', models.TextField()),
                ('subject_type', models.TextField()),
                ('subject_id', models.BigIntegerField()),
                ('sequence', models.BigIntegerField()),
                ('state', models.TextField(choices=[('pending', 'pending'), ('delivered', 'delivered'), ('failed', 'failed'), ('canceled', 'canceled')], db_default='pending')),
                ('tries', models.IntegerField(db_default=0)),
                ('first_try_at', models.DateTimeField(blank=True, null=True)),
                ('next_try_at', models.DateTimeField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('lease_token', models.IntegerField(db_default=0)),
                ('created_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount')),
                ('endpoint', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='billing.webhookendpoint')),
            ],
        ),
        migrations.CreateModel(
            name='WebhookTry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField()),
                ('at', models.DateTimeField()),
                ('duration_ms', models.IntegerField()),
                ('status', models.IntegerField(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('answer', models.TextField(blank=True)),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='log', to='billing.webhookdelivery')),
            ],
        ),
        migrations.AddIndex(
            model_name='webhookendpoint',
            index=models.Index(condition=models.Q(('notice_due_at__isnull', False)), fields=['notice_due_at'], name='endpoint_notice'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['active', 'paused', 'disabled', 'deleted'])), name='webhook_endpoint_state_known'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('disabled_reason__in', ['gone', 'failing']), ('state', 'disabled')), models.Q(models.Q(('state', 'disabled'), _negated=True), ('disabled_reason', '')), _connector='OR'), name='a_disabled_endpoint_says_why'),
        ),
        migrations.AddConstraint(
            model_name='webhookendpoint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('old_secret_encrypted', ''), ('old_secret_ends_at__isnull', True)), models.Q(('old_secret_ends_at__isnull', False), models.Q(('old_secret_encrypted', ''), _negated=True)), _connector='OR'), name='an_old_webhook_secret_has_an_end'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['endpoint', 'next_try_at'], name='delivery_due_at_endpoint'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['endpoint', 'subject_type', 'subject_id', 'sequence'], name='delivery_before_of_object'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('endpoint', 'event_id'), name='one_delivery_per_endpoint_and_event'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'delivered', 'failed', 'canceled'])), name='webhook_delivery_state_known'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('closed_at__isnull', True), ('next_try_at__isnull', False), ('state', 'pending')), models.Q(models.Q(('state', 'pending'), _negated=True), ('closed_at__isnull', False), ('next_try_at__isnull', True)), _connector='OR'), name='only_a_pending_delivery_is_tried'),
        ),
        migrations.AddConstraint(
            model_name='webhooktry',
            constraint=models.UniqueConstraint(fields=('delivery', 'number'), name='one_row_per_webhook_try'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
