"""Every call of the client against a simulator, each told in a word: what came back, or the class of error.

Calls do not build on each other's success: those that need a payment find one in the ``World``, which was made before
the switches under test were set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import Any

from rm_gateway.client import (
    ChargePath,
    Client,
    NewCheckout,
    NewRecurringCustomer,
    RecurringInterval,
    RefundKind,
    Transport,
)
from rm_gateway.errors import GatewayError
from rm_gateway.models import CustomerInfo, Transaction, TransactionStatus
from rm_gateway.notifications import parse_checkout_redirect, parse_notify, parse_redirect
from rm_gateway.simulator.process import SimulatorError, SimulatorProcess
from tests.rm_gateway.conftest import PRIVATE_PEM
from tests.rm_gateway.sandbox import AMOUNT_MINOR, NEW, Inbox, bound, charge_of, client_of, until

MALAYSIA = timezone(timedelta(hours=8))
TITLE, DETAIL = "Tom's <b> & é AB12CD34EF56", "a/b & ü"
NOBODY = "1795225154273723505"


@dataclass
class World:
    """A customer with a good card and three payments."""

    customer: CustomerInfo
    paid: list[Transaction]

    @classmethod
    def make(cls, client: Client, simulator: SimulatorProcess) -> World:
        customer = bound(client, simulator)
        texts = {"title": TITLE, "description": DETAIL}
        return cls(customer, [client.send(charge_of(client, customer, **texts)) for _ in range(3)])


@dataclass
class Journey:
    """One run of all calls. ``words`` holds what each came to, in the order of the calls."""

    simulator: SimulatorProcess
    transport: Transport
    world: World
    notify_url: str
    inbox: Inbox
    token_lifetime: int
    notifies: int = 0
    words: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, str]:
        self.client = client_of(self.simulator, window_seconds=300, own={"transport": self.transport})
        self.note("token", self.token)
        self.charges()
        self.binding()
        self.note("get_customer", lambda: state(self.client.get_customer(self.world.customer.customer_id)))
        self.note("get_unknown", lambda: state(self.client.get_customer(NOBODY)))
        self.note("wrong_key", self.wrong_key)
        self.reads()
        self.money_back()
        self.status()
        self.checkouts()
        self.note("notify", self.notified)
        return self.words

    def note(self, name: str, call: Callable[[], str]) -> None:
        self.client.ensure_token()
        try:
            self.words[name] = call()
        except GatewayError as error:
            self.words[name] = f"{type(error).__name__} {error.kind}".strip()

    def token(self) -> str:
        """Fetch one, then live through most of its life twice: it is refreshed early, by one POST each time."""
        moved = 0.0
        client = client_of(self.simulator, own={"transport": self.transport, "clock": lambda: time.time() + moved})
        for _ in range(3):
            client.ensure_token()
            moved += self.token_lifetime - min(200, self.token_lifetime / 15)
        return f"{self.simulator.requests()['posts']['POST /v1/token']} posts"

    def charge(self, customer: CustomerInfo, **changes: Any) -> str:
        return paid(self.client.send(charge_of(self.client, customer, **changes)))

    def charges(self) -> None:
        customer = self.world.customer
        prepared = charge_of(self.client, customer)
        for path in ChargePath:
            self.note(f"charge_{path.value}", lambda path=path: self.charge(customer, charge_path=path))  # type: ignore[misc]
        self.note("charge", lambda: paid(self.client.send(prepared)))
        self.note("charge_same_nonce", lambda: paid(self.client.send(prepared)))
        self.note("charge_stale", lambda: self.charge(customer, timestamp=int(time.time()) - 200))

    def binding(self) -> None:
        made: list[CustomerInfo] = []
        new = NewRecurringCustomer(NEW, 120, RecurringInterval.MONTHLY, "-1", 12, self.notify_url)

        def create(kind: str) -> str:
            if kind == "tokenized":
                made.append(self.client.create_tokenized_customer(NEW))
            else:
                made.append(self.client.create_recurring_customer(new))
            assert made[-1].raw["name"] == NEW.name
            assert made[-1].is_recurring is (kind == "recurring")
            return "made"

        self.note("create_tokenized", lambda: create("tokenized"))
        self.note("create_recurring", lambda: create("recurring"))
        self.note("get_unbound", lambda: state(self.client.get_customer(made[0].customer_id)))
        self.note("charge_unbound", lambda: self.charge(made[0]))
        self.note("bind", lambda: redirected(self.simulator.bind(made[0].payment_url)))
        self.note("bind_recurring", lambda: redirected(self.simulator.bind(made[1].payment_url)))
        self.note("charge_notified", lambda: self.charge(made[1]))
        self.made = made

    def wrong_key(self) -> str:
        client = client_of(self.simulator, private_key_pem=PRIVATE_PEM, own={"transport": self.transport})
        client.create_tokenized_customer(NEW)
        return "made"

    def reads(self) -> None:
        first = self.world.paid[0]

        def listed() -> str:
            found, cursor = [], None
            while True:
                page = self.client.list_transactions(cursor=cursor)
                found += [transaction.transaction_id for transaction in page.transactions]
                cursor = page.next_cursor
                if cursor is None:
                    return self.how_many(found)

        def orders() -> str:
            records = self.client.list_orders(self.world.customer.customer_id)
            assert [r.order_id for r in records] == sorted(r.order_id for r in records)
            return self.how_many([record.transaction_id for record in records])

        self.note("get_transaction", lambda: echoed(self.client.get_transaction(first.transaction_id)))
        self.note("get_by_order", lambda: paid(self.client.get_transaction_by_order(first.order_id)))
        self.note("get_by_order_again", lambda: paid(self.client.get_transaction_by_order(first.order_id)))
        self.note("list_transactions", listed)
        self.note("list_orders", orders)

    def how_many(self, ids: list[str | None]) -> str:
        mine = [transaction.transaction_id for transaction in self.world.paid]
        there = [identity for identity in mine if identity in ids]
        assert len(set(ids)) == len(ids)
        return "all" if there == mine else "none" if not there else "some"

    def money_back(self) -> None:
        first, second, third = self.world.paid

        def refund(transaction: Transaction, kind: RefundKind, amount_minor: int) -> str:
            prepared = self.client.prepare_refund(
                transaction_id=transaction.transaction_id,
                kind=kind,
                amount_minor=amount_minor,
                currency="MYR",
                reason="test",
                timestamp=int(time.time()),
            )
            answer = self.client.send_refund(prepared)
            assert answer.balance_minor == AMOUNT_MINOR - amount_minor
            return answer.status.value

        def report() -> str:
            assert first.created_at is not None
            lines = self.client.reconciliation_report(first.created_at.astimezone(MALAYSIA).date())
            return self.how_many([line.transaction_id for line in lines])

        self.note("report", report)
        self.note("refund_full", lambda: refund(second, RefundKind.FULL, AMOUNT_MINOR))
        self.note("refund_partial", lambda: refund(third, RefundKind.PARTIAL, 990))
        reverse = self.client.prepare_reverse(order_id=first.order_id, timestamp=int(time.time()))
        self.note("reverse", lambda: self.client.send_reverse(reverse).status.value)

    def status(self) -> None:
        customer = self.world.customer
        self.note("deactivate", lambda: state(self.client.set_active(customer.customer_id, active=False)))
        self.note("charge_inactive", lambda: self.charge(customer))
        self.note("activate", lambda: state(self.client.set_active(customer.customer_id, active=True)))

    def checkouts(self) -> None:
        """A page is made, paid on, and asked for again under its order id. Nobody hears of it."""
        nobody = "http://127.0.0.1:9/notify"
        new = NewCheckout("KT4Q7ZP1M2XC9D", AMOUNT_MINOR, "MYR", "Gym", "June", "KT4Q7ZP1M2XC9D", nobody, nobody)

        def use(button: str) -> str:
            made = self.simulator.checkouts()
            if not made:
                return "none"
            url = f"{self.simulator.url}/v4/checkout?checkoutId={made[0]['id']}"
            try:
                location = self.simulator.use_checkout(url, action=button)
            except SimulatorError:
                return "over"
            if not location:
                return "nowhere"
            return parse_checkout_redirect(location.partition("?")[2]).claimed_outcome.value

        self.note("checkout", lambda: "made" if self.client.create_checkout(new).url else "")
        self.note("checkout_cancel", lambda: use("cancel"))
        self.note("checkout_pay", lambda: use("pay"))
        self.note("checkout_again", lambda: "made" if self.client.create_checkout(new).url else "")

    def notified(self) -> str:
        """What the merchant's server was told of the charges of the recurring customer."""
        hints = []
        known = {charge["order_id"]: charge for charge in self.simulator.charges()}
        for row in list(until(self.inbox, self.notifies)):
            hint = parse_notify(
                method=row["method"],
                query=row["path"].partition("?")[2],
                body=row["body"],
                headers=row["headers"],
                public_key=self.simulator.credentials.server_public_key,
            )
            charge = known[str(hint.order_id)]
            assert (hint.customer_id, hint.claimed_status) == (self.made[1].customer_id, "SUCCESS")
            assert (hint.claimed_amount_minor, hint.claimed_currency) == (charge["amount"], "MYR")
            hints.append(hint.signature.value)
        return " ".join(sorted(hints)) or "none"


def state(customer: CustomerInfo) -> str:
    return "active" if customer.is_active else "inactive"


def paid(transaction: Transaction) -> str:
    assert (transaction.amount_minor, transaction.currency) == (AMOUNT_MINOR, "MYR")
    assert transaction.updated_at is not None
    assert (transaction.error_code is not None) == (transaction.status is TransactionStatus.FAILED)
    return transaction.status.value


def echoed(transaction: Transaction) -> str:
    texts = transaction.order_title, transaction.order_detail
    assert texts in {(TITLE, DETAIL), (NEW.product_name, NEW.product_description)}
    return f"{paid(transaction)} {'echoed' if texts == (TITLE, DETAIL) else 'silent'}"


def redirected(location: str) -> str:
    if not location:
        return "nowhere"
    hint = parse_redirect(location.partition("?")[2])
    return f"{hint.claimed_outcome.value} {hint.reason}".strip()
