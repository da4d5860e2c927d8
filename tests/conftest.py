"""What many tests share: the installation's row, a simulator, and a shop that sells through it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from billing.charging.collect import Collected, collect
from billing.charging.limits import Limits
from billing.charging.reconcile import reconcile
from billing.charging.refund_worker import Refunded, refund_due
from billing.charging.sweep import sweep
from billing.domain.arming import Environment
from billing.gateway.connection import clock as gateway_clock
from billing.models import Customer, GatewayAccount, Installation, Invoice, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from billing.subscriptions.cards import confirm_binding, start_binding
from billing.subscriptions.renew import open_due
from rm_gateway.simulator.process import SimulatorProcess
from tests.factories import make_account, make_customer

SHORT = Limits(
    window=timedelta(seconds=2),
    total=timedelta(seconds=2),
    ladder=(timedelta(seconds=0.3), timedelta(seconds=0.6), timedelta(seconds=0.9)),
    reversed_settles_after=timedelta(seconds=1),
    senders=8,
    collect_for=timedelta(seconds=20),
)


@pytest.fixture(autouse=True)
def _installation(request: pytest.FixtureRequest) -> None:
    """Tests that commit empty the tables afterwards, this row included."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db" if _commits(request) else "db")
        Installation.objects.get_or_create(pk=1)


@pytest.fixture(autouse=True)
def _clock_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that moves the clock moves it for itself only."""
    monkeypatch.setattr(gateway_clock, "_base", None)


def _commits(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker("django_db")
    return bool(marker and marker.kwargs.get("transaction"))


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The simulator with its switches as they were; its ledger goes on."""
    before = running_simulator.control("GET", "switches")
    yield running_simulator
    running_simulator.set(**before)


@pytest.fixture(params=["default", "hostile"])
def profile(simulator: SimulatorProcess, request: pytest.FixtureRequest) -> str:
    """Every fault is tried at a gateway that behaves, and at one that echoes nothing and lists orders late."""
    name: str = request.param
    simulator.use_profile(name)
    return name


@dataclass(slots=True)
class Shop:
    """An account at the simulator, and the steps of the engine, one call each."""

    account: GatewayAccount
    simulator: SimulatorProcess
    limits: Limits

    def customer(self) -> Customer:
        return make_customer(self.account)

    def card(self, number: str = "4111111111111111", customer: Customer | None = None) -> PaymentMethod:
        """A card bound through the simulator's page. The hostile profile shows no cards before they are bound."""
        now = database_now()
        card = start_binding(customer=customer or self.customer(), return_url="http://127.0.0.1:9/bind", now=now)
        self.simulator.bind(card.payment_url, card=number)
        assert confirm_binding(card=card, now=now)
        card.refresh_from_db()
        return card

    def open(self, now: datetime | None = None) -> int:
        return open_due(now=now or database_now()).invoices

    def collect(self) -> Collected:
        return collect(limits=self.limits, clock=database_now, should_stop=lambda: False, worker="test")

    def sweep(self, now: datetime | None = None) -> int:
        return sweep(limits=self.limits, now=now or database_now())

    def reconcile(self, now: datetime | None = None) -> int:
        """Reads what is due, as if it were `now`, once."""
        rounds = iter((False, True))
        done = reconcile(
            limits=self.limits, clock=(lambda: now) if now else database_now, should_stop=lambda: next(rounds)
        )
        return done.read

    def refund(self, now: datetime | None = None) -> Refunded:
        """Sends what is asked for and looks into what is unknown, as if it were `now`, until nothing is due.

        The clock stands still meanwhile: on a slow machine the next look would come due within the run."""
        instant = now or database_now()
        return refund_due(limits=self.limits, clock=lambda: instant, should_stop=lambda: False)

    def taken(self, invoice: Invoice) -> list[dict[str, object]]:
        """The simulator's charges of this invoice that took money."""
        markers = set(PaymentAttempt.objects.filter(invoice=invoice).values_list("marker", flat=True))
        return [
            charge
            for charge in self.simulator.charges()
            if charge["status"] == "SUCCESS" and str(charge["title"]).split()[-1] in markers
        ]


@pytest.fixture
def shop(simulator: SimulatorProcess, request: pytest.FixtureRequest) -> Shop:
    request.getfixturevalue("_installation")
    known = simulator.credentials
    account = make_account(
        environment=Environment.SIMULATOR,
        client_id=known.client_id,
        client_secret=known.client_secret,
        private_key_pem=known.private_key,
        store_id=known.store_id,
        oauth_url=known.oauth_url,
        api_url=known.api_url,
    )
    return Shop(account, simulator, SHORT)
