"""Messages: an account's mail settings, each e-mail with what came of it, and customers' languages."""

from importlib import import_module

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

promises = import_module("billing.migrations.0002_promises")

MESSAGE_MOVES = {
    "pending": ("sending", "canceled"),
    "sending": ("pending", "sent", "refused", "unknown", "canceled", "silenced"),
    "sent": ("bounced",),
    "unknown": ("bounced",),
}
FROZEN_MESSAGE_COLUMNS = (
    "public_id", "account_id", "customer_id", "kind", "occasion", "subject_type", "subject_id", "details", "language",
    "created_at",
)
SENT_COLUMNS = ("sent_at", "to_address", "subject", "text")
TRIGGERS = [
    promises.rule(
        "messages_move_only_along_the_table", "UPDATE OF state", "message",
        (promises.forbidden(MESSAGE_MOVES), "this move is not in the table"),
    ),
    promises.rule(
        "messages_never_change", "UPDATE", "message",
        (
            f"{promises.changed(FROZEN_MESSAGE_COLUMNS)} OR OLD.state = 'sent' AND ({promises.changed(SENT_COLUMNS)})",
            "what was written and sent is frozen",
        ),
    ),
]


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0022_first_payment'),
    ]

    operations = [
        migrations.CreateModel(
            name='MailSettings',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('enabled', models.BooleanField(db_default=False)),
                ('sender_name', models.TextField(db_default='')),
                ('sender_address', models.TextField(db_default='')),
                ('reply_to', models.TextField(blank=True, db_default='')),
                ('logo_url', models.TextField(blank=True, db_default='')),
                ('color', models.TextField(db_default='#0f766e')),
                ('sentence_en', models.TextField(blank=True, db_default='')),
                ('sentence_ms', models.TextField(blank=True, db_default='')),
                ('cancel_url', models.TextField(blank=True, db_default='')),
                ('language', models.TextField(choices=[('en', 'en'), ('ms', 'ms')], db_default='en')),
                ('kinds_off', django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), blank=True, default=list, size=None)),
                ('notice_every_charge', models.BooleanField(db_default=False)),
            ],
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('kind', models.TextField(choices=[('enrolled', 'enrolled'), ('notice', 'notice'), ('receipt', 'receipt'), ('payment_failed', 'payment failed'), ('last_warning', 'last warning'), ('paused', 'paused'), ('ended', 'ended'), ('card_needed', 'card needed'), ('card_switched_off', 'card switched off'), ('refunded', 'refunded'), ('staff', 'staff')])),
                ('occasion', models.TextField()),
                ('subject_type', models.TextField()),
                ('subject_id', models.BigIntegerField()),
                ('details', models.JSONField(default=dict)),
                ('language', models.TextField(choices=[('en', 'en'), ('ms', 'ms')])),
                ('state', models.TextField(choices=[('pending', 'pending'), ('sending', 'sending'), ('sent', 'sent'), ('bounced', 'bounced'), ('refused', 'refused'), ('unknown', 'unknown'), ('canceled', 'canceled'), ('silenced', 'silenced')])),
                ('state_reason', models.TextField(blank=True, db_default='')),
                ('created_at', models.DateTimeField()),
                ('next_try_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.IntegerField(db_default=0)),
                ('sent_at', models.DateTimeField(blank=True, null=True)),
                ('provider_id', models.TextField(blank=True, db_default='')),
                ('to_address', models.TextField(blank=True, db_default='')),
                ('subject', models.TextField(blank=True, db_default='')),
                ('text', models.TextField(blank=True, db_default='')),
            ],
        ),
        migrations.AddField(
            model_name='customer',
            name='language',
            field=models.TextField(blank=True, choices=[('en', 'en'), ('ms', 'ms')], null=True),
        ),
        migrations.AddField(
            model_name='customer',
            name='silenced',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name='paymentmethod',
            name='takes_over',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddConstraint(
            model_name='customer',
            constraint=models.CheckConstraint(condition=models.Q(('language__isnull', True), ('language__in', ['en', 'ms']), _connector='OR'), name='customer_language_known'),
        ),
        migrations.AddField(
            model_name='mailsettings',
            name='account',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='mail_settings', to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='message',
            name='account',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='message',
            name='customer',
            field=models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='messages', to='billing.customer'),
        ),
        migrations.AddConstraint(
            model_name='mailsettings',
            constraint=models.CheckConstraint(condition=models.Q(('language__in', ['en', 'ms'])), name='mail_language_known'),
        ),
        migrations.AddConstraint(
            model_name='mailsettings',
            constraint=models.CheckConstraint(condition=models.Q(('kinds_off__contained_by', ['enrolled', 'notice', 'receipt', 'payment_failed', 'last_warning', 'paused', 'ended', 'card_needed', 'card_switched_off', 'refunded'])), name='mail_kinds_known'),
        ),
        migrations.AddConstraint(
            model_name='mailsettings',
            constraint=models.CheckConstraint(condition=models.Q(('enabled', False), models.Q(models.Q(('sender_name', ''), _negated=True), models.Q(('sender_address', ''), _negated=True)), _connector='OR'), name='mail_that_is_on_has_a_sender'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('next_try_at__isnull', False)), fields=['account', 'next_try_at'], name='message_to_send'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['customer', 'id'], name='message_of_customer'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['enrolled', 'notice', 'receipt', 'payment_failed', 'last_warning', 'paused', 'ended', 'card_needed', 'card_switched_off', 'refunded', 'staff'])), name='message_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'sending', 'sent', 'bounced', 'refused', 'unknown', 'canceled', 'silenced'])), name='message_state_known'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('language__in', ['en', 'ms'])), name='message_language_known'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(fields=('kind', 'occasion'), name='a_message_is_written_once'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('next_try_at__isnull', True), ('state__in', ('pending', 'sending')), _connector='OR'), name='only_a_waiting_message_is_sent'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('next_try_at__isnull', False), ('state__in', ('pending', 'sending'))), models.Q(('state__in', ('pending', 'sending')), _negated=True), _connector='OR'), name='a_waiting_message_is_due_some_time'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
