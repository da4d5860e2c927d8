"""What many tests share: the installation's row, a simulator, and a shop that sells through it."""

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from billing.charging.collecting.collect import Collected, collect
from billing.charging.collecting.sweep import sweep
from billing.charging.reading.reconcile import reconcile
from billing.charging.refunds.worker import Refunded, refund_due
from billing.domain.arming import Environment
from billing.gateway.connection import clock as gateway_clock
from billing.models import Customer, GatewayAccount, Installation, Invoice, PaymentAttempt, PaymentMethod
from billing.models.clock import database_now
from billing.operating import clocks, recognise
from billing.operating.tuning import Tuning
from billing.subscriptions.cards import confirm_binding, start_binding
from billing.subscriptions.renew import open_due
from rm_gateway.simulator.process import SimulatorProcess
from tests import databases
from tests.factories import make_account, make_customer

SHORT = Tuning(
    window=timedelta(seconds=2),
    total=timedelta(seconds=2),
    ladder=(timedelta(seconds=0.3), timedelta(seconds=0.6), timedelta(seconds=0.9)),
    reversed_settles_after=timedelta(seconds=1),
    senders=8,
    collect_for=timedelta(seconds=20),
    canary=8,
    pauses=(timedelta(seconds=0.2), timedelta(seconds=0.4), timedelta(seconds=0.8)),
)


def pytest_collection_finish() -> None:
    """Thousands of tests and modules live until the end: the collector need not look through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest, django_test_environment: None, django_db_blocker: Any
) -> Iterator[None]:
    """Workers copy one migrated database; a run without workers makes its own, as pytest-django does."""
    worker = getattr(request.config, "workerinput", {}).get("workerid")
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", databases.empty)
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", _list_static_files_once())
        if worker is None:
            request.getfixturevalue("django_db_setup")
        else:
            with django_db_blocker.unblock():
                stack.enter_context(databases.copy_for(worker))
        yield


def _list_static_files_once() -> Callable[[WhiteNoiseMiddleware], None]:
    """Each test client makes its own middleware, which would look through a thousand files before its first request."""
    look_through = WhiteNoiseMiddleware.add_files_from_finders
    listed: dict[str, Any] = {}

    def add(middleware: WhiteNoiseMiddleware) -> None:
        if not listed:
            look_through(middleware)
            listed.update(middleware.files)
        middleware.files.update(listed)

    return add


@pytest.fixture
def admin_user(db: None) -> User:
    """In place of pytest-django's, who has a password: hashing one takes longer than most tests."""
    return User.objects.create(username="admin", is_staff=True, is_superuser=True, password="!")


@pytest.fixture(autouse=True)
def _installation(request: pytest.FixtureRequest) -> None:
    """Tests that commit empty the tables afterwards, this row included."""
    if request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db" if _commits(request) else "db")
        Installation.objects.get_or_create(pk=1)


@pytest.fixture(scope="session")
def _witnesses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A new folder each time: `mktemp` would look through all folders of the run to find a free number."""
    base = tmp_path_factory.mktemp("witnesses")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _witness(_witnesses: Iterator[Path]) -> Iterator[Path]:
    """Each test empties its database, and so begins with a witness that saw nothing; its processes share it."""
    folder = next(_witnesses)
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test may undo what it patched
        patch.setenv("KITARAN_WITNESS_DIR", str(folder))
        patch.setattr(settings, "KITARAN_WITNESS_DIR", folder)
        patch.setattr(recognise, "_noted", set())
        yield folder


@pytest.fixture(autouse=True)
def _clock_of_the_gateway() -> Iterator[None]:
    """A test that moves the clock moves it for itself only, and the days that tests play are no wrong clock.

    Tests about the comparison with the gateway's clock switch it on; processes that tests start have it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_base", "_read", "_doubted_at"):
            patch.setattr(gateway_clock, name, None)
        patch.setattr(clocks, "_asked_at", {})
        patch.setattr(settings, "KITARAN_CLOCK_TOLERANCE_SECONDS", 0)
        yield


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
    tuning: Tuning

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
        return collect(tuning=self.tuning, clock=database_now, should_stop=lambda: False, worker="test")

    def sweep(self, now: datetime | None = None) -> int:
        return sweep(tuning=self.tuning, now=now or database_now())

    def reconcile(self, now: datetime | None = None) -> int:
        """Reads what is due, as if it were `now`, once."""
        rounds = iter((False, True))
        done = reconcile(
            tuning=self.tuning, clock=(lambda: now) if now else database_now, should_stop=lambda: next(rounds)
        )
        return done.read

    def refund(self, now: datetime | None = None) -> Refunded:
        """Sends what is asked for and looks into what is unknown, as if it were `now`, until nothing is due.

        The clock stands still meanwhile: on a slow machine the next look would come due within the run."""
        instant = now or database_now()
        return refund_due(tuning=self.tuning, clock=lambda: instant, should_stop=lambda: False)

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
