"""Kills around payment pages: a page is opened, paid and looked at while cards are charged, in every order.

One batch draws steps for some invoices: open a page, charge what is due, look at pages, and what the payer does on one
(pay, the bank confirms later, fail, cancel, or pay when it is over). Each step of ours is a child that dies at a named
point. Afterwards workers find out what there is to find out, and staff refund what was paid too much. The judge is the
simulator's ledger: of every invoice the money is kept once.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from billing.audit.invariants import ledger_violations, violations
from billing.charging.checkouts import look, work
from billing.charging.checkouts import open as opening
from billing.charging.checkouts.open import CheckoutError, open_checkout
from billing.charging.collecting.collect import collect
from billing.charging.reading import report_days
from billing.charging.reading.late_money import watch
from billing.charging.refunds.ask import request_refund
from billing.charging.refunds.worker import refund_due
from billing.domain.decisions import Decision
from billing.gateway.connection import Gateway, GatewayUnavailableError
from billing.gateway.connection import clock as gateway_clock
from billing.models import Checkout, Event, GatewayAccount, Invoice, PaymentAttempt
from billing.models.clock import database_now
from billing.operating.tuning import Tuning
from rm_gateway.simulator.process import SimulatorError, SimulatorProcess
from tests.faults import deaths
from tests.faults.harness import oracle
from tests.faults.harness.forking import ending_of, in_child
from tests.faults.harness.world import World

OPEN_POINTS = ("open_before_commit", "open_after_commit", "open_after_page", "open_before_hand_out")
LOOK_POINTS = ("look_after_ask", "look_before_payment_commits", "look_after_payment", "look_before_close_commits")
CHARGE_POINTS = deaths.POINTS
# How much later it is for a look: the page may be used, it is over, the card waits no longer.
LATER = (timedelta(0), timedelta(minutes=2), timedelta(minutes=16), timedelta(hours=1), timedelta(hours=25))
ON_THE_PAGE = ("pay", "pay", "pay", "later", "later", "fail", "cancel", "cancel")
STEPS_AN_INVOICE = 10
AT_A_TIME = 2  # invoices that steps are drawn for; the others are not due yet
HELD = ("succeeded", "surplus")


def run_batch(world: World, *, profile: str, kills: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """So many runs of one invoice each; then recovery, refunds, and the count: figures, and what is wrong."""
    draw = random.Random(seed)
    invoices = kills + AT_A_TIME  # each is one run, and more than one child dies of it
    with world.batch(profile=profile, invoices=invoices, latency=[0, 0.02]) as simulator:
        simulator.set(order_query_limit=0, timestamp_window=0, settle_after=0.3, failed_becomes_success=False)
        in_child(lambda: _due(None, in_time=timedelta(days=1)))
        killed: Counter[str] = Counter()
        for step in range(kills * STEPS_AN_INVOICE):
            _step(simulator, draw, step // STEPS_AN_INVOICE + draw.randrange(AT_A_TIME), killed)
        time.sleep(0.5)  # what banks confirm later is confirmed
        if profile == "hostile":
            simulator.clock(advance=3600)
        told = in_child(lambda: _recover_and_judge(simulator), seconds=300)
    figures = {"runs": kills, "kills": killed.total(), "invoices": invoices, "killed": dict(killed), **told["figures"]}
    problems = list(told["problems"])
    if killed.total() < kills:
        problems.append(f"only {killed.total()} children were killed in {kills} runs")
    return figures | {"problems": len(problems)}, problems


def _step(simulator: SimulatorProcess, draw: random.Random, number: int, killed: Counter[str]) -> None:
    later = draw.choice(LATER)
    what = draw.choice(("open", "open", "charge", "look", "look", "payer", "payer"))
    if what == "payer":
        pages = in_child(lambda: _pages(number))
        _pay(simulator, draw, pages)
        return
    points, act = {
        "open": (OPEN_POINTS, lambda: _open(number)),
        "charge": (CHARGE_POINTS, lambda: _charge(number)),
        "look": (LOOK_POINTS, lambda: _look(later)),
    }[what]
    point = draw.choice((*points, "lives"))

    def child() -> None:
        if point in CHARGE_POINTS:
            deaths.arrange(point)
        elif point != "lives":
            arrange(point)
        act()

    status = ending_of(child)
    if status == -signal.SIGKILL:
        killed[point] += 1
    elif status:
        raise AssertionError(f"{what} ended with {status}")


def arrange(point: str) -> None:
    """Puts death at the first time that this process passes the point."""

    def dies_after(function: Callable[..., Any]) -> Callable[..., Any]:
        def do_and_die(*args: Any, **kwargs: Any) -> Any:
            function(*args, **kwargs)
            deaths.kill_process()

        return do_and_die

    def dies_before(*_: Any, **__: Any) -> None:
        deaths.kill_process()

    match point:
        case "open_before_commit":
            opening._write = dies_after(opening._write)
        case "open_after_commit":
            Gateway.create_page = dies_before  # type: ignore[assignment, method-assign]
        case "open_after_page":
            Gateway.create_page = dies_after(Gateway.create_page)  # type: ignore[method-assign]
        case "open_before_hand_out":
            _replace(opening, "change", dies_after)
        case "look_after_ask":
            _replace(work, "ask", dies_after)
        case "look_before_payment_commits":
            report_days._write = dies_after(report_days._write)
        case "look_after_payment":
            _replace(look, "is_over", lambda _: dies_before)
        case "look_before_close_commits":
            look.close = dies_after(look.close)
        case _:
            raise AssertionError(point)


def _replace(module: ModuleType, name: str, by: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """What a module has imported, for its own use."""
    setattr(module, name, by(getattr(module, name)))


def _open(number: int) -> None:
    invoice = Invoice.objects.order_by("pk")[number]
    with suppress(CheckoutError, GatewayUnavailableError):
        open_checkout(invoice=invoice, actor="payer", now=database_now())


def _due(number: int | None, *, in_time: timedelta = timedelta(0)) -> None:
    """The invoice of this number falls due then, or all do, unless it is not to be charged."""
    ids = list(Invoice.objects.order_by("pk").values_list("pk", flat=True))
    chosen = ids if number is None else [ids[number]]
    waiting = Invoice.objects.filter(pk__in=chosen, next_attempt_at__isnull=False)
    waiting.update(next_attempt_at=database_now() + in_time)


def _charge(number: int) -> None:
    _due(number)
    tuning = replace(Tuning.from_settings(), senders=2, canary=1000)
    collect(tuning=tuning, clock=database_now, should_stop=lambda: False, worker="doomed")


def _look(later: timedelta) -> None:
    work.look_at_due(tuning=Tuning.from_settings(), clock=lambda: database_now() + later, should_stop=lambda: False)


def _pages(number: int) -> list[tuple[str, str, str]]:
    """What a payer may have in hand: pages that were handed out, the newest last."""
    invoice = Invoice.objects.order_by("pk")[number]
    pages = Checkout.objects.filter(invoice=invoice).exclude(url="").order_by("pk")
    return list(pages.values_list("order_id", "url", "state"))


def _pay(simulator: SimulatorProcess, draw: random.Random, pages: list[tuple[str, str, str]]) -> None:
    if not pages:
        return
    order_id, url, _ = draw.choice(pages)
    with suppress(SimulatorError):  # the page is over, or paid
        if draw.random() < 0.75:
            simulator.use_checkout(url, action=draw.choice(ON_THE_PAGE))
        elif not any(charge["order_id"] == order_id for charge in simulator.charges()):
            simulator.pay_checkout(order_id, outcome=draw.choice(("success", "in_process_success")))


# --- afterwards -------------------------------------------------------------------------------------------


def _recover_and_judge(simulator: SimulatorProcess) -> dict[str, Any]:
    _due(None)
    outage = oracle.OUTAGE
    for later in (timedelta(minutes=16), timedelta(hours=1), timedelta(hours=25), timedelta(days=2)):
        _look_at_all(later)
        outage = max(oracle.recover(simulator, outage=max(outage, later)), outage)
    for _ in range(3):  # of two payments on one page the query by order shows one; the daily report has both
        watch(tuning=Tuning.from_settings(), clock=lambda: database_now() + outage, should_stop=lambda: False)
    problems = _misses(simulator)
    surplus = PaymentAttempt.objects.filter(state="surplus").count()
    _refund_what_is_too_much(outage)
    problems += _kept_once(simulator) + _audit(simulator, outage)
    states = Counter(PaymentAttempt.objects.values_list("state", flat=True))
    on_pages = PaymentAttempt.objects.exclude(checkout=None).count()
    figures = {"attempts": states.total(), "states": dict(states), "surplus": surplus, "paid_on_pages": on_pages}
    return {"figures": figures, "problems": problems}


def _look_at_all(later: timedelta) -> None:
    """Every look that is due then; those that were leased to the dead are due again."""
    for _ in range(400):
        if not Checkout.objects.filter(next_check_at__lte=database_now() + later).exists():
            return
        _look(later)
    raise AssertionError("looks do not come to an end")


def _refund_what_is_too_much(outage: timedelta) -> None:
    """Staff refund every overpayment, as each was proposed to them."""
    for attempt in PaymentAttempt.objects.filter(state="surplus", amount_refunded_minor=0):
        request_refund(attempt=attempt, amount_minor=None, decision=Decision("siti", "overpaid"), now=database_now())
    for _ in range(20):
        later = database_now() + outage
        gateway_clock.align(later)
        refund_due(tuning=Tuning.from_settings(), clock=lambda at=later: at, should_stop=lambda: False)  # type: ignore[misc]
        if not PaymentAttempt.objects.filter(state="surplus", amount_refunded_minor=0).exists():
            return
        outage += timedelta(minutes=2)


def _of_invoice(simulator: SimulatorProcess, invoice: Invoice) -> list[dict[str, Any]]:
    """The ledger's rows of the invoice: by the marker of a charge, or the order of a page."""
    markers = set(invoice.attempts.values_list("marker", flat=True))
    orders = set(invoice.checkouts.values_list("order_id", flat=True))
    return [
        charge
        for charge in simulator.charges()
        if charge["order_id"] in orders or str(charge["title"]).split()[-1] in markers
    ]


def _misses(simulator: SimulatorProcess) -> list[str]:
    """What the books lack of what the ledger has, and what has no end."""
    problems = []
    for invoice in Invoice.objects.order_by("pk"):
        taken = {one["transaction_id"] for one in _of_invoice(simulator, invoice) if one["status"] == "SUCCESS"}
        held = invoice.attempts.filter(state__in=HELD)
        known = {str(name) for name in held.values_list("gateway_transaction_id", flat=True)}
        review = invoice.attempts.filter(state="needs_review").exists()
        if taken - known and not review:
            problems.append(f"{invoice.public_id}: the ledger has {sorted(taken - known)}, and the books do not")
        if known - taken:
            problems.append(f"{invoice.public_id}: the books have {sorted(known - taken)}, and the ledger does not")
        if (invoice.state == "paid") != held.filter(state="succeeded").exists():
            problems.append(f"{invoice.public_id} is {invoice.state}, with {sorted(held.values_list('state'))}")
        if invoice.state == "open" and not review:
            problems.append(f"{invoice.public_id} is open, and nobody looks at it: {invoice.refusal}")
    live = Checkout.objects.filter(state__in=("creating", "open"))
    problems += [f"{checkout.public_id} is still {checkout.state}" for checkout in live]
    told = Event.objects.filter(kind="attempt.surplus", payload__proposal="refund").values_list("subject_id", flat=True)
    unsaid = PaymentAttempt.objects.filter(state="surplus").exclude(pk__in=told)
    problems += [f"{attempt.public_id} is surplus, and no refund was proposed" for attempt in unsaid]
    posts = simulator.requests()["by_marker"]
    problems += [f"{marker} was sent {count} times" for marker, count in posts.items() if count > 1]
    return problems


def _kept_once(simulator: SimulatorProcess) -> list[str]:
    problems = []
    for invoice in Invoice.objects.order_by("pk"):
        kept = [one for one in _of_invoice(simulator, invoice) if one["status"] == "SUCCESS"]
        review = invoice.attempts.filter(state="needs_review").exists()
        if len(kept) > 1 or (len(kept) == 0 and not review):
            states = sorted(invoice.attempts.values_list("state", flat=True))
            problems.append(f"{invoice.public_id}: its money is kept {len(kept)} times: {states}")
    return problems


def _audit(simulator: SimulatorProcess, outage: timedelta) -> list[str]:
    account = GatewayAccount.objects.get().pk
    found = violations(now=database_now() + outage)
    found += ledger_violations(account_id=account, charges=simulator.charges(), posts=simulator.requests()["by_marker"])
    return [f"{one.invariant}: {one.subject} {one.text}" for one in found]
