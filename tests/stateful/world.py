"""A shop in which every step of the engine is a call of its own, so that steps can be interleaved, repeated and lost.

There is one clock: `now` is passed to every use case, the gateway's client is aligned with it, and the simulator's
calendar and wall clock are set to it. It moves only when it is told to. Where disasters happen it may be
`clock_ahead` of the true one, by which the simulator and the machine's uptime go.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import RequestFactory

from billing.callbacks import notify as notify_door
from billing.charging.attempts.arm import Armed, arm
from billing.charging.attempts.settle import AttemptFinding, AttemptGoneError, settle
from billing.charging.collecting.collect import collect
from billing.charging.collecting.expire import expire_unpaid
from billing.charging.collecting.sweep import sweep
from billing.charging.reading import preflight, reconcile
from billing.charging.reading.fetch import fetch
from billing.charging.reading.known import load
from billing.charging.reading.late_money import watch
from billing.charging.reading.record import record
from billing.charging.reading.refresh import check_with_gateway
from billing.charging.refunds.worker import refund_due, sweep_refunds
from billing.domain.arming import Environment
from billing.domain.attempts import HAS_MONEY, Finding, Source, Verdict
from billing.gateway.connection import GatewayUnavailableError, gateway_for
from billing.gateway.connection import clock as gateway_clock
from billing.models import Invoice, PaymentAttempt, PaymentMethod, Plan, Proposal, Refund, Subscription
from billing.models.bulk import arming
from billing.operating.clocks import ask_gateways
from billing.operating.tuning import Tuning
from billing.subscriptions.cards import confirm_binding, start_binding
from billing.subscriptions.renew import open_due
from billing.subscriptions.start import start_subscription
from rm_gateway.simulator.process import SimulatorProcess
from tests.factories import make_account, make_customer, make_plan
from tests.stateful.beginning import START, empty_the_database, let_the_machine_be_up
from tests.stateful.commits import broken_commit
from tests.stateful.disasters import Disasters
from tests.stateful.refunder import Refunder
from tests.stateful.snapshot import Snapshot

AMOUNT = 1990
OUTAGE_SKEW_SECONDS = 3600
PEOPLE = ("aisyah", "badrul")


@dataclass(slots=True)
class Worker:
    """What a worker process has in memory only: it is gone when the process dies."""

    refunds: Refunder
    permissions: list[Armed] = field(default_factory=list)
    answers: list[AttemptFinding] = field(default_factory=list)
    findings: list[AttemptFinding] = field(default_factory=list)  # settled once already
    readings: list[tuple[preflight.Reading, Any]] = field(default_factory=list)
    checks: list[tuple[Any, ...]] = field(default_factory=list)
    unacknowledged: list[str] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        kept = (self.permissions, self.answers, self.readings, self.checks)
        return any(kept) or self.refunds.busy

    def die(self) -> None:
        self.refunds.die()
        for kept in (
            self.permissions,
            self.answers,
            self.findings,
            self.readings,
            self.checks,
            self.unacknowledged,
        ):
            kept.clear()


class World:
    """One account with one customer. `hostile`: the gateway echoes nothing and shows orders late."""

    def __init__(
        self,
        simulator: SimulatorProcess,
        *,
        hostile: bool,
        two_people: bool = False,
        parts_go_back: bool = True,
        disasters: bool = False,
        **account: Any,
    ) -> None:
        empty_the_database()
        simulator.reset()
        simulator.use_profile("hostile" if hostile else "default")
        # Every order shows after its card's own delay, and every call is served until the gateway is away.
        simulator.set(timestamp_window=120, orders_visible_after=0, refund_partial=parts_go_back)
        self.simulator = simulator
        self.hostile = hostile
        # One sender: with more, the order in which requests arrive would be the machine's choice.
        self.tuning = replace(Tuning.from_settings(), senders=1, canary=64, pauses=(timedelta(0),))
        self.now = START
        self.clock_ahead = timedelta(0)
        self.away = False
        self.foreign: set[str] = set()  # orders that were not made by us
        self.gateway_ids: list[str] = []
        self.late: set[str] = set()  # refunds that the gateway carried out later than it should
        self.claimed: set[str] = set()  # refunds that a person called carried out although they were not
        self.denied: set[str] = set()  # the other way round
        self.put_off: set[str] = set()  # refunds that a person could not decide about yet
        self.reversed_by_hand: Counter[str] = Counter()  # by order
        self.two_people = two_people
        self.people = [
            User.objects.get_or_create(username=name, defaults={"is_staff": True, "is_superuser": True})[0]
            for name in PEOPLE
        ]
        self.workers = self.new_workers()
        self.disasters = Disasters(self) if disasters else None
        self._last: Snapshot | None = None
        self._written: Any = None
        self.set_clocks()
        known = simulator.credentials
        self.account = make_account(
            environment=Environment.SIMULATOR,
            client_id=known.client_id,
            client_secret=known.client_secret,
            private_key_pem=known.private_key,
            store_id=known.store_id,
            oauth_url=known.oauth_url,
            api_url=known.api_url,
            second_person_above_minor=0 if two_people else None,
            **account,
        )
        self.gateway = gateway_for(self.account)
        self.customer = make_customer(self.account)
        self.plan = make_plan(self.account, amount_minor=AMOUNT)
        self.plan_paid_first = make_plan(self.account, amount_minor=AMOUNT, activates_on="payment")

    def close(self) -> None:
        self.gateway._client.close()
        if self.disasters is not None:
            self.disasters.close()

    def new_workers(self) -> tuple[Worker, Worker]:
        return Worker(Refunder(self)), Worker(Refunder(self))

    # --- the one clock ------------------------------------------------------------------------------------

    @property
    def true_now(self) -> datetime:
        return self.now - self.clock_ahead

    def set_clocks(self) -> None:
        """Puts the gateway's client on the world's clock, and the simulator and the uptime on the true one."""
        let_the_machine_be_up(self.true_now)
        gateway_clock.align(self.now)
        now = self.true_now.isoformat()
        self.simulator.clock(wall=now, virtual=now, skew=OUTAGE_SKEW_SECONDS if self.away else 0)

    def let_time_pass(self, delta: timedelta) -> None:
        self.now += delta
        self.set_clocks()

    def be_away(self, away: bool) -> None:
        """While it is away the gateway refuses every signed call, charges too, as out of its time."""
        self.away = away
        self.set_clocks()

    # --- what the merchant and the customer do ------------------------------------------------------------

    def bind_card(self, *, visible_after: int, changes_after: int, page_size: int = 100) -> PaymentMethod:
        """`visible_after`, `changes_after`: seconds until an order is listed, and until what it says changes."""
        card = start_binding(customer=self.customer, return_url="http://127.0.0.1:9/bind", now=self.now)
        self.simulator.bind(card.payment_url)
        assert confirm_binding(card=card, now=self.now)
        card.refresh_from_db()
        gateway_id = str(card.gateway_customer_id)
        self.gateway_ids.append(gateway_id)
        self.simulator.set_customer(
            gateway_id, orders_visible_after=visible_after, settle_after=changes_after, page_size=page_size
        )
        return card

    def subscribe(self, *, at_start: bool, card: PaymentMethod | None = None, plan: Plan | None = None) -> Subscription:
        number = Subscription.objects.count() + 1
        return start_subscription(
            customer=self.customer,
            plan=plan or self.plan,
            reference=f"subscription-{number}",
            now=self.now,
            payment_method=card,
            charge_at_start=at_start,
        )

    # --- what workers do ----------------------------------------------------------------------------------

    def open_due(self) -> None:
        ask_gateways(now=self.now)
        while open_due(now=self.now).subscriptions:
            pass

    def arm(self, worker: Worker, count: int) -> list[Armed]:
        if not self._has_token():
            return []
        result = arm(
            account_id=self.account.pk,
            gateway=self.gateway,
            run_id=None,
            tuning=self.tuning,
            now=self.now,
            count=count,
        )
        worker.permissions += result.armed
        worker.unacknowledged += result.unacknowledged
        return result.armed

    def arm_without_acknowledgement(self, worker: Worker, count: int, *, reached: bool) -> None:
        """COMMIT raises; `reached` says whether the server did it all the same."""
        if not self._has_token():
            return
        # It raises when nothing had been armed: a refusal was lost, or nothing was due.
        with broken_commit(reached=reached), contextlib.suppress(OperationalError):
            self.arm(worker, count)
        connection.close()

    def settle_unacknowledged(self, worker: Worker) -> None:
        finding = Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason="commit_unacknowledged")
        found = arming.markers_sending(worker.unacknowledged)
        settle([AttemptFinding(marker, finding) for marker in found], tuning=self.tuning, now=self.now)
        worker.unacknowledged.clear()

    def send(self, worker: Worker, number: int) -> None:
        armed = worker.permissions.pop(number)
        finding = self.gateway.send(armed.prepared, marker=armed.marker)
        worker.answers.append(AttemptFinding(armed.marker, finding, armed.asked))

    def settle(self, findings: list[AttemptFinding]) -> None:
        settle(findings, tuning=self.tuning, now=self.now)

    def read_before_trying_again(self, worker: Worker) -> None:
        self.account.refresh_from_db()
        for reading in preflight.claim(self.account, now=self.now, limit=4):
            worker.readings.append((reading, preflight.read(self.gateway, reading)))

    def record_reading(self, worker: Worker, number: int) -> None:
        reading, outcome = worker.readings.pop(number)
        # As in the loop: what was read for another life of the database is dropped.
        with contextlib.suppress(AttemptGoneError) if self.disasters else contextlib.nullcontext():
            preflight.finish(reading, outcome, tuning=self.tuning, now=self.now)

    def expire(self) -> None:
        """What was not paid for in time."""
        while expire_unpaid(now=self.now):
            pass

    def sweep(self) -> None:
        sweep(tuning=self.tuning, now=self.now)

    def reconcile(self) -> None:
        reconcile.reconcile(tuning=self.tuning, clock=lambda: self.now, should_stop=lambda: False)

    def read_for_checks(self, worker: Worker) -> None:
        """The first half of a reconciliation: what is read now is recorded later, or never."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconcile, "_record", lambda *read: worker.checks.append(read) or 0)
            self.reconcile()

    def record_check(self, worker: Worker, number: int) -> None:
        *read, _ = worker.checks.pop(number)
        reconcile._record(*read, self.now)  # type: ignore[call-arg]

    def follow_up(self, *, until: timedelta) -> None:
        """The sweeper and the reconciler come whenever the ladder says so, and nothing else happens."""
        started_at = self.now
        for rung in (timedelta(seconds=30), *self.tuning.rungs):
            if rung <= until:
                self.let_time_pass(started_at + rung - self.now)
                self.sweep()
                self.reconcile()

    def collect(self) -> None:
        """The whole loop of a worker in good health."""
        collect(tuning=self.tuning, clock=lambda: self.now, should_stop=lambda: False, worker="whole")

    def watch(self) -> None:
        """The whole loop that finds money after the end."""
        watch(tuning=self.tuning, clock=lambda: self.now, should_stop=lambda: False)

    def read_card(self, card: PaymentMethod) -> None:
        """A complete read that nobody asked for, as a comparison with the gateway's books makes it."""
        paid = PaymentAttempt.objects.filter(payment_method=card, state__in=HAS_MONEY).values_list("pk", flat=True)
        read = fetch(self.gateway, load([card.pk])[card.pk], payments_of=frozenset(paid))
        record(read, read.findings, tuning=self.tuning, now=self.now)

    def check_with_gateway(self, invoice: Invoice) -> None:
        with contextlib.suppress(GatewayUnavailableError):
            check_with_gateway(invoice=invoice, tuning=self.tuning, now=self.now)

    # --- money that goes back -----------------------------------------------------------------------------

    def give_back(self) -> None:
        """The whole loop of a worker of refunds in good health."""
        refund_due(tuning=self.tuning, clock=lambda: self.now, should_stop=lambda: False)

    def sweep_refunds(self) -> None:
        sweep_refunds(tuning=self.tuning, now=self.now)

    def follow_up_refunds(self, *, until: timedelta) -> None:
        """As `follow_up`."""
        started_at = self.now
        for rung in self.tuning.ladder:
            if rung <= until:
                self.let_time_pass(started_at + rung - self.now)
                self.sweep_refunds()
                self.give_back()

    def decide_refunds(self, fate: str) -> None:
        """What the gateway makes of refunds and reversals from now on."""
        for gateway_id in self.gateway_ids:
            self.simulator.set_customer(gateway_id, refund_outcome=fate)

    def _has_token(self) -> bool:
        try:
            self.gateway.ensure_token()
        except GatewayUnavailableError:
            return False
        return True

    # --- what comes from outside --------------------------------------------------------------------------

    def notify(self, body: dict[str, Any]) -> None:
        request = RequestFactory().post("/callbacks/rm/notify/", body, content_type="application/json")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(notify_door, "database_now", lambda: self.now)
            assert notify_door.notify(request).status_code == 200

    def refund_in_portal(self, charge: dict[str, Any], amount: int, reason: str = "by hand") -> None:
        client = self.gateway._client
        client.send_refund(
            client.prepare_refund(
                transaction_id=charge["transaction_id"],
                kind="FULL" if amount == charge["amount"] else "PARTIAL",
                amount_minor=amount,
                currency="MYR",
                reason=reason,
                timestamp=int(self.now.timestamp()),
            )
        )

    def reverse_in_portal(self, charge: dict[str, Any]) -> None:
        self.reversed_by_hand[charge["order_id"]] += 1
        client = self.gateway._client
        client.send_reverse(client.prepare_reverse(order_id=charge["order_id"], timestamp=int(self.now.timestamp())))

    def charge_in_portal(self, card: PaymentMethod) -> None:
        """Somebody charges the card by hand: an order that no attempt explains."""
        client = self.gateway._client
        prepared = client.prepare_charge(
            customer_id=str(card.gateway_customer_id),
            amount_minor=AMOUNT,
            currency="MYR",
            title="By hand",
            description="By hand",
            timestamp=int(self.now.timestamp()),
        )
        known = {charge["order_id"] for charge in self.simulator.charges()}
        try:
            client.send(prepared)
        finally:
            self.foreign |= {charge["order_id"] for charge in self.simulator.charges()} - known

    # --- what is true -------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The last one again, the very object, when nothing was written anywhere since."""
        charges, requests = self.simulator.charges(), self.simulator.requests()
        posts, refund_posts = requests["by_marker"], requests["by_refund"]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
            written = cursor.fetchone()
        last = self._last
        if (
            last is not None
            and written == self._written
            and (charges, posts, refund_posts) == (last.charges, last.posts, last.refund_posts)
        ):
            return last
        self._written = written
        self._last = Snapshot(
            attempts=list(PaymentAttempt.objects.defer("request_body").order_by("id")),
            invoices=list(Invoice.objects.order_by("id")),
            cards=list(PaymentMethod.objects.order_by("id")),
            subscriptions=list(Subscription.objects.order_by("id")),
            refunds=list(Refund.objects.select_related("attempt").defer("request_body").order_by("id")),
            proposals=list(Proposal.objects.order_by("id")),
            charges=charges,
            posts=posts,
            refund_posts=refund_posts,
        )
        return self._last
