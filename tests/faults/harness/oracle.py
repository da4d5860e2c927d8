"""Recovery as workers do it, and the verdict: our rows beside the simulator's ledger and its count of POSTs.

The counts are made here, apart from the audit of the engine itself, which is asked too."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count

from billing.audit.invariants import Violation, gateway_violations, ledger_violations, violations
from billing.charging.collecting.collect import collect
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.reconcile import reconcile
from billing.gateway.connection import clock as gateway_clock
from billing.models import Event, GatewayAccount, Invoice, PaymentAttempt
from billing.models.clock import database_now
from billing.operating.tuning import Tuning
from rm_gateway.simulator.process import SimulatorProcess

# Longer than the lease of a check whose reader was killed.
OUTAGE = timedelta(seconds=160)
OPEN_ENDED = ("sending", "unknown", "in_process")


@dataclass(slots=True)
class Verdict:
    """What was counted; `problems` are sentences, and none is what is promised."""

    invoices: int = 0
    attempts: int = 0
    states: dict[str, int] = field(default_factory=dict)
    double: int = 0
    missed: int = 0
    most_posts_per_marker: int = 0
    unexplained_posts: int = 0
    open_ended: int = 0
    violations: int = 0
    problems: list[str] = field(default_factory=list)


def recover(simulator: SimulatorProcess, *, outage: timedelta = OUTAGE, seconds: float = 60) -> timedelta:
    """What workers do that come up after `outage`, until nothing is due and nothing is left to find out.

    Returns how much later than it is they were at the end: rungs of the ladder are not waited for. Time is played, so
    that the simulator must take any timestamp meanwhile."""
    tuning = Tuning.from_settings()
    window = simulator.control("GET", "switches")["timestamp_window"]
    simulator.set(timestamp_window=0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        later = _clock(outage)
        sweep(tuning=tuning, now=later())
        reconcile(tuning=tuning, clock=later, should_stop=lambda: False)
        collect(tuning=tuning, clock=later, should_stop=lambda: False, worker="recovery")
        if not (
            PaymentAttempt.objects.filter(state__in=OPEN_ENDED).exists()
            or Invoice.objects.filter(next_attempt_at__lte=later()).exists()
        ):
            break
        outage += tuning.ladder[0]
    simulator.set(timestamp_window=window)
    gateway_clock.align(database_now())
    return outage  # The verdict says what is left.


def _clock(ahead: timedelta) -> Callable[[], datetime]:
    return lambda: database_now() + ahead


def verdict(simulator: SimulatorProcess, *, outage: timedelta = timedelta(0)) -> Verdict:
    """Everything that must hold when all is recovered, for the one account of the database.

    The audit asks at the end of `outage`, until which workers ran."""
    found = Verdict()
    attempts = list(PaymentAttempt.objects.all())
    of_invoice: dict[int, list[PaymentAttempt]] = {}
    for attempt in attempts:
        of_invoice.setdefault(attempt.invoice_id, []).append(attempt)
    charges = simulator.charges()
    taken = Counter(str(charge["title"]).split()[-1] for charge in charges if charge["status"] == "SUCCESS")
    posts: dict[str, int] = simulator.requests()["by_marker"]
    markers = {attempt.marker for attempt in attempts}

    found.attempts = len(attempts)
    found.states = dict(Counter(attempt.state for attempt in attempts))
    found.most_posts_per_marker = max(posts.values(), default=0)
    if found.most_posts_per_marker > 1:
        found.problems.append(f"sent more than once: {[m for m, count in posts.items() if count > 1]}")
    strangers = sorted((set(posts) | set(taken)) - markers)
    found.unexplained_posts = len(strangers)
    if strangers:
        found.problems.append(f"sent, and not among our attempts: {strangers}")
    for invoice in Invoice.objects.all():
        _look_at(invoice, of_invoice.get(invoice.pk, []), taken, found)
    _look_at_alerts(attempts, found)
    account = GatewayAccount.objects.get().pk
    asked_at = database_now() + outage
    audit = [*violations(now=asked_at), *ledger_violations(account_id=account, charges=charges, posts=posts)]
    audit += _asked_at_the_gateway(simulator, account, asked_at)
    found.violations = len(audit)
    found.problems += [f"{one.invariant}: {one.subject} {one.text}" for one in audit]
    return found


def _asked_at_the_gateway(simulator: SimulatorProcess, account_id: int, now: datetime) -> list[Violation]:
    """The audit's own questions, over HTTP, when the order lists are whole."""
    simulator.set(orders_visible_after=0, latency=[0, 0])
    gateway_clock.align(database_now())
    return gateway_violations(now=now, account_id=account_id)


def _look_at(invoice: Invoice, attempts: list[PaymentAttempt], taken: Counter[str], found: Verdict) -> None:
    found.invoices += 1
    money = sum(taken[attempt.marker] for attempt in attempts)
    states = {attempt.state for attempt in attempts}
    if money > 1:
        found.double += money - 1
        found.problems.append(f"{invoice.public_id} was charged {money} times")
    if not attempts:
        found.missed += 1
        found.problems.append(f"{invoice.public_id} is due and was never tried")
    if states & set(OPEN_ENDED):
        found.open_ended += 1
        found.problems.append(f"{invoice.public_id}: attempts are left {sorted(states)}")
    if invoice.state == "paid" and money != 1:
        found.problems.append(f"{invoice.public_id} is paid, and the gateway took its money {money} times")
    if money and invoice.state != "paid" and "needs_review" not in states:
        found.problems.append(f"{invoice.public_id}: money was taken, and nobody is told of it: {sorted(states)}")
    if invoice.state == "open" and "needs_review" not in states:
        found.missed += 1
        found.problems.append(f"{invoice.public_id} is open, and nobody looks at it: {sorted(states)}")


def _look_at_alerts(attempts: list[PaymentAttempt], found: Verdict) -> None:
    with_a_person = {attempt.pk for attempt in attempts if attempt.state == "needs_review"}
    told: dict[int, int] = dict(
        Event.objects.filter(kind="attempt.needs_review").values_list("subject_id").annotate(Count("id"))
    )
    if set(told) != with_a_person or any(count != 1 for count in told.values()):
        found.problems.append(f"{len(with_a_person)} attempts are with a person, and {told} were told of")


def add(total: dict[str, Any], one: Verdict) -> None:
    """Sums the verdict into the figures of a section."""
    for name in ("invoices", "attempts", "double", "missed", "unexplained_posts", "open_ended", "violations"):
        total[name] = total.get(name, 0) + getattr(one, name)
    total["most_posts_per_marker"] = max(total.get("most_posts_per_marker", 0), one.most_posts_per_marker)
    states = total.setdefault("states", {})
    for state, count in one.states.items():
        states[state] = states.get(state, 0) + count
    total["problems"] = total.get("problems", 0) + len(one.problems)
