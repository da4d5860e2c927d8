"""Refunds, their evidence, and the triggers that keep their promises."""

import django.db.models.deletion
from importlib import import_module

from django.db import migrations, models

_promises = import_module("billing.migrations.0002_promises")
changed, forbidden, refuse, rule, trigger = (
    getattr(_promises, name) for name in ("changed", "forbidden", "refuse", "rule", "trigger")
)

REFUND_MOVES = {
    "requested": ("sending", "not_sent"),
    "sending": ("succeeded", "refused", "not_sent", "unknown"),
    "unknown": ("succeeded", "refused", "not_refunded", "needs_human"),
    "needs_human": ("succeeded", "not_refunded"),
}
FROZEN_REFUND_COLUMNS = (
    "public_id", "account_id", "attempt_id", "invoice_id", "kind", "origin", "amount_minor", "currency",
    "requested_by", "requested_reason", "created_at",
)
FROZEN_REQUEST_COLUMNS = (
    "request_method", "request_url", "request_body", "request_nonce", "request_timestamp", "request_signature",
    "request_hash", "armed_at", "window_ends_at", "deadline_at",
)

TRIGGERS = [
    rule(
        "refunds_are_born_requested", "INSERT", "refund",
        (
            """NOT (NEW.origin = 'engine' AND NEW.state = 'requested' AND NEW.armed_at IS NULL
                    OR NEW.origin = 'gateway' AND NEW.state = 'succeeded' AND NEW.armed_at IS NULL)""",
            "a refund is born requested, or was seen at the gateway",
        ),
    ),
    rule(
        "refunds_belong_to_money", "INSERT", "refund",
        (
            """NOT EXISTS (SELECT 1 FROM billing_paymentattempt a
                           WHERE a.id = NEW.attempt_id AND a.state IN ('succeeded', 'surplus')
                             AND a.account_id = NEW.account_id AND a.invoice_id = NEW.invoice_id
                             AND a.currency = NEW.currency AND a.gateway_transaction_id IS NOT NULL)""",
            "an attempt of this account and invoice that took money in this currency",
        ),
    ),
    # The attempt is locked first, so that two refunds at once see each other.
    trigger(
        "refunds_never_exceed_what_was_captured", "INSERT", "refund",
        "PERFORM 1 FROM billing_paymentattempt WHERE id = NEW.attempt_id FOR NO KEY UPDATE;\n"
        + refuse(
            """NEW.amount_minor + (SELECT COALESCE(sum(r.amount_minor), 0) FROM billing_refund r
                                   WHERE r.attempt_id = NEW.attempt_id
                                     AND r.state IN ('requested', 'sending', 'unknown', 'needs_human', 'succeeded'))
               > (SELECT a.amount_minor FROM billing_paymentattempt a WHERE a.id = NEW.attempt_id)""",
            "refunds_never_exceed_what_was_captured", "not more is given back than was taken",
        ),
    ),
    rule(
        "refunds_move_only_along_the_table", "UPDATE OF state", "refund",
        (forbidden(REFUND_MOVES), "this move is not in the table"),
    ),
    rule(
        "every_move_of_a_refund_names_its_evidence", "UPDATE OF state", "refund",
        (
            """NEW.state IS DISTINCT FROM OLD.state AND (
                 NEW.last_evidence_id IS NULL OR NEW.last_evidence_id <= OLD.last_evidence_id
                 OR NOT EXISTS (SELECT 1 FROM billing_refundevidence e
                                WHERE e.id = NEW.last_evidence_id AND e.refund_id = NEW.id))""",
            "a move needs new evidence about this refund",
        ),
    ),
    rule(
        "what_was_asked_back_never_changes", "UPDATE", "refund",
        (changed(FROZEN_REFUND_COLUMNS), "what was asked for is frozen"),
    ),
    rule(
        "armed_refund_requests_never_change", "UPDATE", "refund",
        (f"OLD.state <> 'requested' AND ({changed(FROZEN_REQUEST_COLUMNS)})", "what was armed is frozen"),
    ),
    rule("refundevidence_is_append_only", "UPDATE OR DELETE", "refundevidence", ("true", "rows are only added")),
    rule("refund_is_never_deleted", "DELETE", "refund", ("true", "money leaves a trace")),
]
for table in ("refund", "refundevidence"):
    name = f"{table}_is_never_truncated"
    TRIGGERS.append(
        trigger(
            name, "TRUNCATE", table,
            # Only the tests' throw-away databases set kitaran.allow_truncate.
            refuse("current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'", name, "money leaves a trace"),
            level="STATEMENT",
        )
    )


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0006_gateway_unavailable'),
    ]

    operations = [
        migrations.CreateModel(
            name='Refund',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.TextField(unique=True)),
                ('kind', models.TextField(choices=[('full', 'full'), ('partial', 'partial'), ('reverse', 'reverse')])),
                ('origin', models.TextField(choices=[('engine', 'engine'), ('gateway', 'gateway')])),
                ('amount_minor', models.BigIntegerField()),
                ('currency', models.TextField()),
                ('requested_by', models.TextField()),
                ('requested_reason', models.TextField()),
                ('state', models.TextField(choices=[('requested', 'requested'), ('sending', 'sending'), ('succeeded', 'succeeded'), ('refused', 'refused'), ('not_sent', 'not sent'), ('unknown', 'unknown'), ('not_refunded', 'not refunded'), ('needs_human', 'needs human')])),
                ('state_reason', models.TextField(blank=True, db_default='')),
                ('request_method', models.TextField(blank=True, db_default='')),
                ('request_url', models.TextField(blank=True, db_default='')),
                ('request_body', models.BinaryField(blank=True, null=True)),
                ('request_nonce', models.TextField(blank=True, null=True, unique=True)),
                ('request_timestamp', models.BigIntegerField(blank=True, null=True)),
                ('request_signature', models.TextField(blank=True, db_default='')),
                ('request_hash', models.TextField(blank=True, db_default='')),
                ('created_at', models.DateTimeField()),
                ('armed_at', models.DateTimeField(blank=True, null=True)),
                ('window_ends_at', models.DateTimeField(blank=True, null=True)),
                ('deadline_at', models.DateTimeField(blank=True, null=True)),
                ('next_check_at', models.DateTimeField(blank=True, null=True)),
                ('checks_done', models.IntegerField(db_default=0)),
                ('checks_failed', models.IntegerField(db_default=0)),
                ('last_evidence_id', models.BigIntegerField(blank=True, null=True)),
                ('settled_at', models.DateTimeField(blank=True, null=True)),
            ],
        ),
        migrations.CreateModel(
            name='RefundEvidence',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('account_id', models.BigIntegerField()),
                ('refund_id', models.BigIntegerField()),
                ('source', models.TextField(choices=[('engine', 'engine'), ('answer', 'answer'), ('transaction_query', 'transaction query'), ('sweeper', 'sweeper'), ('commit_unacknowledged', 'commit unacknowledged'), ('operator', 'operator')])),
                ('verdict', models.TextField()),
                ('reason', models.TextField(blank=True)),
                ('digest', models.TextField()),
                ('content', models.JSONField()),
                ('recorded_at', models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name='paymentattempt',
            name='amount_refunded_minor',
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.AddConstraint(
            model_name='paymentattempt',
            constraint=models.CheckConstraint(condition=models.Q(('amount_refunded_minor__gte', 0), ('amount_refunded_minor__lte', models.F('amount_minor'))), name='refunds_never_exceed_the_attempt'),
        ),
        migrations.AddField(
            model_name='refund',
            name='account',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='billing.gatewayaccount'),
        ),
        migrations.AddField(
            model_name='refund',
            name='attempt',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='billing.paymentattempt'),
        ),
        migrations.AddField(
            model_name='refund',
            name='invoice',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='refunds', to='billing.invoice'),
        ),
        migrations.AddConstraint(
            model_name='refundevidence',
            constraint=models.UniqueConstraint(fields=('refund_id', 'source', 'digest'), name='refund_evidence_is_told_once'),
        ),
        migrations.AddConstraint(
            model_name='refundevidence',
            constraint=models.CheckConstraint(condition=models.Q(('source__in', ['engine', 'answer', 'transaction_query', 'sweeper', 'commit_unacknowledged', 'operator'])), name='refund_evidence_source_known'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('next_check_at__isnull', False)), fields=['next_check_at'], name='refund_to_look_at'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('state', 'sending')), fields=['deadline_at'], name='refund_sending'),
        ),
        migrations.AddIndex(
            model_name='refund',
            index=models.Index(condition=models.Q(('state', 'needs_human')), fields=['created_at'], name='refund_with_a_person'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['requested', 'sending', 'succeeded', 'refused', 'not_sent', 'unknown', 'not_refunded', 'needs_human'])), name='refund_state_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['full', 'partial', 'reverse'])), name='refund_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('origin__in', ['engine', 'gateway'])), name='refund_origin_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['needs_human', 'requested', 'sending', 'unknown'])), fields=('attempt',), name='one_open_refund_per_attempt'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('amount_minor__gt', 0)), name='refund_amount_positive'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('currency__in', ['MYR'])), name='refund_currency_known'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('requested_by', ''), _negated=True), models.Q(('requested_reason', ''), _negated=True)), name='a_refund_says_who_asked_and_why'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('armed_at__isnull', False), ('deadline_at__isnull', False), ('request_body__isnull', False), ('request_nonce__isnull', False), ('request_timestamp__isnull', False), ('window_ends_at__isnull', False), models.Q(('request_url', ''), _negated=True), models.Q(('request_signature', ''), _negated=True)), models.Q(('armed_at__isnull', True), ('state__in', ['requested', 'not_sent'])), models.Q(('armed_at__isnull', True), ('origin', 'gateway')), _connector='OR'), name='a_sent_refund_has_its_request'),
        ),
        migrations.AddConstraint(
            model_name='refund',
            constraint=models.CheckConstraint(condition=models.Q(('next_check_at__isnull', True), ('state__in', ['requested', 'unknown']), _connector='OR'), name='only_waiting_refunds_are_looked_at'),
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
