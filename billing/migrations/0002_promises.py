"""Triggers, each named for the promise it keeps, and the one row of the installation."""

from django.db import migrations

ATTEMPT_MOVES = {
    "sending": ("succeeded", "declined", "not_sent", "in_process", "unknown", "needs_human", "surplus"),
    "unknown": ("succeeded", "declined", "not_charged", "needs_human", "surplus"),
    "in_process": ("succeeded", "declined", "not_charged", "needs_human", "surplus"),
    "needs_human": ("succeeded", "declined", "not_charged", "surplus"),
    "declined": ("succeeded", "surplus"),
    "not_sent": ("succeeded", "surplus"),
    "not_charged": ("succeeded", "surplus"),
    "surplus": ("succeeded", "reversed"),
    "succeeded": ("reversed",),
}
INVOICE_MOVES = {
    "open": ("paid", "uncollectible", "void"),
    "uncollectible": ("paid", "open"),
    "paid": ("open",),
}
SUBSCRIPTION_MOVES = {
    "incomplete": ("trialing", "active", "canceled"),
    "trialing": ("active", "past_due", "paused", "canceled", "completed"),
    "active": ("past_due", "paused", "canceled", "completed"),
    "past_due": ("active", "paused", "canceled", "completed"),
    "paused": ("trialing", "active", "past_due", "canceled"),
}
FROZEN_ATTEMPT_COLUMNS = (
    "public_id", "account_id", "invoice_id", "payment_method_id", "run_id", "number", "marker", "amount_minor",
    "currency", "gateway_customer_id", "charge_path", "title", "description", "request_method", "request_url",
    "request_body", "request_nonce", "request_timestamp", "request_signature", "request_hash", "armed_at",
    "window_ends_at", "deadline_at",
)
FROZEN_INVOICE_COLUMNS = (
    "public_id", "account_id", "customer_id", "subscription_id", "period_index", "amount_minor", "currency", "due_at",
)
FROZEN_PLAN_COLUMNS = (
    "account_id", "code", "version", "amount_minor", "currency", "interval", "target", "every", "charge_time",
    "time_zone", "trial_days", "repetitions",
)
APPEND_ONLY = ("evidence", "transition", "event")
NEVER_DELETED = ("paymentattempt", "invoice", "subscription", "paymentmethod", "gatewayorder", "gatewaytransaction")


def changed(columns):
    return " OR ".join(f"NEW.{column} IS DISTINCT FROM OLD.{column}" for column in columns)


def forbidden(moves):
    allowed = ", ".join(f"('{old}', '{new}')" for old, news in moves.items() for new in news)
    return f"NEW.state IS DISTINCT FROM OLD.state AND (OLD.state, NEW.state) NOT IN ({allowed})"


def trigger(name, when, table, body, level="ROW", timing="BEFORE"):
    """A function and a trigger of one name; the message of every refusal begins with that name."""
    return f"""
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
    {body}
    RETURN {"NULL" if level == "STATEMENT" else "COALESCE(NEW, OLD)"};
    END $$;
    CREATE TRIGGER {name} {timing} {when} ON billing_{table} FOR EACH {level} EXECUTE FUNCTION {name}();
    """


def refuse(condition, name, message):
    return f"""IF {condition} THEN
        RAISE EXCEPTION '{name}: {message}' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = '{name}';
    END IF;"""


def rule(name, when, table, *conditions):
    return trigger(name, when, table, "\n".join(refuse(c, name, m) for c, m in conditions))


TRIGGERS = [
    rule(
        "attempts_are_born_sending", "INSERT", "paymentattempt",
        ("NEW.state <> 'sending'", "an attempt is born sending"),
    ),
    rule(
        "gateway_collected_subscriptions_have_no_attempts", "INSERT", "paymentattempt",
        (
            """EXISTS (SELECT 1 FROM billing_invoice i JOIN billing_subscription s ON s.id = i.subscription_id
                       WHERE i.id = NEW.invoice_id AND s.collector <> 'engine')""",
            "the gateway collects this subscription",
        ),
    ),
    rule(
        "attempts_ask_for_what_is_owed", "INSERT", "paymentattempt",
        (
            """NOT EXISTS (SELECT 1 FROM billing_invoice i JOIN billing_paymentmethod c ON c.id = NEW.payment_method_id
                           WHERE i.id = NEW.invoice_id AND i.state = 'open'
                             AND i.amount_minor = NEW.amount_minor AND i.currency = NEW.currency
                             AND i.account_id = NEW.account_id AND c.account_id = NEW.account_id
                             AND c.customer_id = i.customer_id)""",
            "an open invoice of this amount, and a card of its customer",
        ),
    ),
    rule(
        "attempts_move_only_along_the_table", "UPDATE OF state", "paymentattempt",
        (forbidden(ATTEMPT_MOVES), "this move is not in the table"),
    ),
    rule(
        "every_move_of_an_attempt_names_its_evidence", "UPDATE OF state", "paymentattempt",
        (
            """NEW.state IS DISTINCT FROM OLD.state AND (
                 NEW.last_evidence_id IS NULL OR NEW.last_evidence_id <= OLD.last_evidence_id
                 OR NOT EXISTS (SELECT 1 FROM billing_evidence e
                                WHERE e.id = NEW.last_evidence_id AND e.attempt_id = NEW.id))""",
            "a move needs new evidence about this attempt",
        ),
    ),
    rule(
        "armed_requests_never_change", "UPDATE", "paymentattempt",
        (changed(FROZEN_ATTEMPT_COLUMNS), "what was armed is frozen"),
    ),
    rule(
        "a_recorded_transaction_never_changes", "UPDATE OF gateway_transaction_id", "paymentattempt",
        (
            "OLD.state IN ('succeeded', 'surplus', 'reversed') "
            "AND NEW.gateway_transaction_id IS DISTINCT FROM OLD.gateway_transaction_id",
            "money keeps its transaction",
        ),
    ),
    rule(
        "invoices_move_only_along_the_table", "UPDATE OF state", "invoice",
        (forbidden(INVOICE_MOVES), "this move is not in the table"),
    ),
    rule(
        "issued_invoices_never_change", "UPDATE", "invoice",
        (changed(FROZEN_INVOICE_COLUMNS), "what is owed is frozen"),
    ),
    rule(
        "subscriptions_move_only_along_the_table", "UPDATE OF state", "subscription",
        (forbidden(SUBSCRIPTION_MOVES), "this move is not in the table"),
    ),
    rule(
        "the_collector_never_changes", "UPDATE OF collector", "subscription",
        ("NEW.collector IS DISTINCT FROM OLD.collector", "who collects is decided once"),
    ),
    rule(
        "periods_only_count_up", "UPDATE OF period_index", "subscription",
        ("NEW.period_index < OLD.period_index", "a period is never opened again"),
    ),
    rule(
        "a_used_plan_is_not_edited", "UPDATE", "plan",
        (
            f"({changed(FROZEN_PLAN_COLUMNS)}) "
            "AND EXISTS (SELECT 1 FROM billing_subscription s WHERE s.plan_id = OLD.id)",
            "make a new version of the plan",
        ),
    ),
]
for table in APPEND_ONLY:
    TRIGGERS.append(rule(f"{table}_is_append_only", "UPDATE OR DELETE", table, ("true", "rows are only added")))
for table in NEVER_DELETED:
    TRIGGERS.append(rule(f"{table}_is_never_deleted", "DELETE", table, ("true", "money leaves a trace")))
for table in (*APPEND_ONLY, *NEVER_DELETED):
    name = f"{table}_is_never_truncated"
    TRIGGERS.append(
        trigger(
            name, "TRUNCATE", table,
            # Only the tests' throw-away databases set kitaran.allow_truncate.
            refuse("current_setting('kitaran.allow_truncate', true) IS DISTINCT FROM 'on'", name, "money leaves a trace"),
            level="STATEMENT",
        )
    )


def make_installation(apps, schema_editor):
    apps.get_model("billing", "Installation").objects.get_or_create(id=1)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [
        migrations.RunPython(make_installation, migrations.RunPython.noop),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in TRIGGERS),
    ]
