"""One step inside an installation, in a process of its own: `python -m tests.hostile.steps NAME [ARGUMENT...]`.

The database, the data folder and the witness are those of the environment; what it prints last is one line of JSON."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import django


def begin(credentials: str, cards: str, due: str) -> dict[str, Any]:
    """Migrates, binds cards, and lets each be due: `due` of them as an invoice that is open already, the others as a
    subscription whose invoice is opened later."""
    from django.core.management import call_command

    from billing.models.clock import database_now
    from billing.subscriptions.cards import confirm_binding, start_binding
    from billing.subscriptions.start import start_subscription
    from rm_gateway.simulator.process import Credentials, SimulatorProcess
    from tests.factories import make_account, make_customer, make_invoice, make_plan

    call_command("migrate", verbosity=0)
    known = Credentials(**json.loads(Path(credentials).read_text(encoding="ascii")))
    simulator = SimulatorProcess()
    simulator.host, simulator.port = "127.0.0.1", int(known.url.rpartition(":")[2])
    account = make_account(
        client_id=known.client_id,
        client_secret=known.client_secret,
        private_key_pem=known.private_key,
        store_id=known.store_id,
        oauth_url=known.oauth_url,
        api_url=known.api_url,
        list_lag_seconds=3600,
    )
    now = database_now()
    minute = (now - timedelta(minutes=2)).astimezone(ZoneInfo("Asia/Kuala_Lumpur"))
    plan = make_plan(account, charge_time=f"{minute:%H:%M}")
    for number in range(int(cards)):
        card = start_binding(customer=make_customer(account), return_url="http://127.0.0.1:9/bind", now=now)
        simulator.bind(card.payment_url)
        assert confirm_binding(card=card, now=now)
        card.refresh_from_db()
        if number < int(due):
            make_invoice(card, next_attempt_at=now, due_at=now)
        else:
            start_subscription(
                customer=card.customer, plan=plan, reference=f"subscription-{number}", now=now - timedelta(hours=1)
            )
    return {"cards": int(cards)}


def state() -> dict[str, Any]:
    from collections import Counter

    from billing.audit.invariants import violations
    from billing.models import Event, GatewayAccount, Host, Invoice, PaymentAttempt, PaymentMethod
    from billing.models.clock import database_now
    from billing.operating.health import check

    now = database_now()
    account = GatewayAccount.objects.get()
    return {
        "quarantined": account.quarantined_at is not None,
        "reason": account.quarantine_reason,
        "detail": account.quarantine_detail,
        "invoices": dict(Counter(Invoice.objects.values_list("state", flat=True))),
        "attempts": dict(Counter(PaymentAttempt.objects.values_list("state", flat=True))),
        "recovered": PaymentAttempt.objects.exclude(recovered_at=None).count(),
        "held": PaymentMethod.objects.exclude(held_at=None).count(),
        "read": PaymentMethod.objects.exclude(quarantine_read_at=None).count(),
        "hosts": [host.admitted_at is not None for host in Host.objects.order_by("pk")],
        "events": sorted(set(Event.objects.values_list("kind", flat=True))),
        "health": list(check(now).problems),
        "audit": [str(one) for one in violations(now=now)],
    }


def read(later: str) -> dict[str, Any]:
    """Reads what is due of the quarantine, as if so many seconds had passed."""
    from billing.charging.recovery.from_cards import read_quarantined
    from billing.models.clock import database_now
    from billing.operating.tuning import Tuning

    ahead = timedelta(seconds=int(later))
    done = read_quarantined(
        tuning=Tuning.from_settings(), clock=lambda: database_now() + ahead, should_stop=lambda: False
    )
    return {"read": done.read, "failed": done.failed, "attempts": done.attempts}


def lift(later: str) -> dict[str, Any]:
    from billing.models import GatewayAccount
    from billing.models.clock import database_now
    from billing.operating import quarantine

    try:
        quarantine.lift(
            account=GatewayAccount.objects.get(),
            reason="the lists were read",
            actor="mei",
            now=database_now() + timedelta(seconds=int(later)),
        )
    except quarantine.QuarantineError as error:
        return {"refused": str(error)}
    return {"refused": ""}


def watch(later: str) -> dict[str, Any]:
    from billing.models.clock import database_now
    from billing.operating import recognise

    recognise.watch(now=database_now() + timedelta(seconds=int(later)))
    return {}


STEPS = {step.__name__: step for step in (begin, state, read, lift, watch)}

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))  # noqa: T201
