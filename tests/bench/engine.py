"""The engine's processes: one prepares the database, one opens what is due, some collect it."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import django

from tests.bench.worker import run_on_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
COLLECT_AT_MOST_SECONDS = 100.0


def prepare(arguments: dict[str, Any]) -> Callable[[], int]:
    """Makes the tables, and an account at the gateway with a plan; returns how to get the account's id."""
    from django.core.management import call_command

    from billing.accounts.gateway_accounts import open_account
    from billing.domain.arming import Environment
    from billing.domain.money import Price
    from billing.domain.recurrence import Recurrence
    from billing.domain.schedules import Interval
    from billing.models import GatewayAccount
    from billing.models.clock import database_now
    from billing.subscriptions.plans import create_plan

    call_command("migrate", verbosity=0)

    def work() -> int:
        now = database_now()
        account = open_account(environment=Environment.SIMULATOR, now=now, **arguments["account"])
        GatewayAccount.objects.update(max_in_flight=None)  # the senders are the limit, as in the limit program
        create_plan(
            account=account,
            code="bench",
            name="Coffee club",
            price=Price(1990),
            recurrence=Recurrence(Interval.DAILY, None),
            now=now,
        )
        return int(account.pk)

    return work


def open_all(_: dict[str, Any]) -> Callable[[], int]:
    from billing.gateway.sending_clock import read_clock
    from billing.operating.clocks import ask_gateways
    from billing.subscriptions.renew import open_due

    ask_gateways(now=read_clock())  # the connection stands, and the clocks are compared, before anything is measured

    def work() -> int:
        opened = 0
        while found := open_due(now=read_clock()).invoices:
            opened += found
        return opened

    return work


def collect_all(arguments: dict[str, Any]) -> Callable[[], int]:
    """Collects until nothing is due; `senders` charges are in flight at most."""
    from billing.charging.collecting.collect import collect
    from billing.gateway.sending_clock import read_clock
    from billing.operating.clocks import ask_gateways
    from billing.operating.tuning import Tuning

    tuning = replace(Tuning.from_settings(), senders=arguments["senders"])
    ask_gateways(now=read_clock())

    def work() -> int:
        give_up_at = time.monotonic() + COLLECT_AT_MOST_SECONDS
        worker = f"bench-{os.getpid()}"
        found = collect(
            tuning=tuning, clock=read_clock, should_stop=lambda: time.monotonic() > give_up_at, worker=worker
        )
        return found.states.get("succeeded", 0)

    return work


def main() -> None:
    arguments = json.loads(sys.argv[1])
    django.setup()
    actions = {"prepare": prepare, "open": open_all, "collect": collect_all}
    run_on_command(actions[arguments["action"]](arguments))


if __name__ == "__main__":
    main()
