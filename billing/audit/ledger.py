"""S1, S2, S3 and S10 against the simulator's own ledger: the oracle of the tests and of the demo."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from billing.audit.run_counts import KEPT_BY_THE_GATEWAY
from billing.audit.violation import Violation
from billing.domain.attempts import HAS_MONEY, UNRESOLVED, AttemptState
from billing.domain.refunds import RefundKind, RefundOrigin
from billing.models import Checkout, OutsidePayment, PaymentAttempt, PaymentMethod, Refund

_MARKER = re.compile(r"[0-9A-Z]{12}")
_TAKEN = KEPT_BY_THE_GATEWAY | {"FULL_REFUNDED"}


def ledger_violations(
    *,
    account_id: int,
    charges: Iterable[Mapping[str, Any]],
    posts: Mapping[str, int],
    refund_posts: Mapping[str, int] | None = None,
) -> list[Violation]:
    """What in our books of the account is not as in the simulator's.

    `charges` are rows of its ledger; those on cards and pages that the account does not know are another database's.
    `posts` counts the POSTs of each marker; of a simulator that serves others too, give those that came since.
    `refund_posts` counts those of refunds by the refund's id, and of reversals by the order's; names that are not ours
    are others'."""
    pages = set(Checkout.objects.filter(account_id=account_id).values_list("order_id", flat=True))
    cards = set(PaymentMethod.objects.filter(account_id=account_id).values_list("gateway_customer_id", flat=True))
    attempts = PaymentAttempt.objects.filter(account_id=account_id).select_related("invoice").order_by("id")
    elsewhere = OutsidePayment.objects.filter(account_id=account_id, gateway_transaction_id__isnull=False)
    books = _Books(
        {attempt.marker: attempt for attempt in attempts},
        dict(elsewhere.values_list("gateway_transaction_id", "invoice__public_id")),
    )
    unexplained: set[str] = set()
    for charge in charges:
        if charge["customer_id"] in cards or charge.get("order_id") in pages:
            books.enter(charge)
        else:
            unexplained.add(marker_of(charge))
    return [
        *books.violations(),
        *books.post_violations(posts, unexplained),
        *_refund_post_violations(account_id, refund_posts or {}),
    ]


def marker_of(charge: Mapping[str, Any]) -> str:
    """The last word of the charge's title; "" when it has none."""
    words = str(charge["title"]).split()
    return words[-1] if words else ""


class _Books:
    """The attempts of an account by marker, and what the ledger has of each. `elsewhere` are invoices by the
    transaction that a person found at the gateway."""

    def __init__(self, attempts: dict[str, PaymentAttempt], elsewhere: Mapping[str | None, str]) -> None:
        self._attempts = attempts
        self._elsewhere = elsewhere
        # Of two payments on one page the second carries the marker of the first.
        self._paid_on_pages = {
            attempt.gateway_transaction_id: marker
            for marker, attempt in attempts.items()
            if attempt.checkout_id is not None
        }
        self._of: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._unexplained: list[Mapping[str, Any]] = []

    def enter(self, charge: Mapping[str, Any]) -> None:
        marker = self._paid_on_pages.get(charge["transaction_id"]) or marker_of(charge)
        if marker in self._attempts:
            self._of[marker].append(charge)
        else:
            self._unexplained.append(charge)

    def violations(self) -> Iterator[Violation]:
        kept: Counter[str] = Counter()
        for marker, attempt in self._attempts.items():
            charges = self._of[marker]
            kept[attempt.invoice.public_id] += sum(charge["status"] in KEPT_BY_THE_GATEWAY for charge in charges)
            yield from _compare(attempt, charges)
        kept.update(
            self._elsewhere[charge["transaction_id"]]
            for charge in self._unexplained
            if charge["status"] in KEPT_BY_THE_GATEWAY and charge["transaction_id"] in self._elsewhere
        )
        for invoice, times in kept.items():
            if times > 1:
                yield Violation(
                    "S1", invoice, f"took money {times} times at the gateway, and no more than one may stay."
                )
        for charge in self._unexplained:
            if charge["status"] in KEPT_BY_THE_GATEWAY and charge["transaction_id"] not in self._elsewhere:
                yield Violation(
                    "S10", str(charge["transaction_id"]), "took money on a card or page of ours for no attempt."
                )

    def post_violations(self, posts: Mapping[str, int], unexplained: set[str]) -> Iterator[Violation]:
        for marker, count in posts.items():
            attempt = self._attempts.get(marker)
            if attempt is not None and count > 1:
                yield Violation("S3", attempt.public_id, f"was sent {count} times.")
            elif attempt is None and _MARKER.fullmatch(marker) and marker not in unexplained | self._found():
                yield Violation("S3", marker, f"was sent {count} times, and belongs to no attempt.")

    def _found(self) -> set[str]:
        """Markers of charges that our books had lost, and that a person found."""
        return {marker_of(one) for one in self._unexplained if one["transaction_id"] in self._elsewhere}


def _refund_post_violations(account_id: int, posts: Mapping[str, int]) -> Iterator[Violation]:
    """A reversal names no refund, only its order: of one order there are as many as were armed."""
    refunds = Refund.objects.filter(account_id=account_id, origin=RefundOrigin.ENGINE.value).order_by("id")
    reversals: Counter[str] = Counter()
    for refund in refunds.select_related("attempt"):
        if refund.kind == RefundKind.REVERSE:
            reversals[refund.attempt.gateway_order_id or ""] += refund.armed_at is not None
        elif (count := posts.get(refund.public_id, 0)) > (refund.armed_at is not None):
            yield Violation("S3", refund.public_id, f"was sent {count} times.")
    for order, armed in reversals.items():
        if posts.get(order, 0) > armed:
            yield Violation("S3", order, f"was sent to be reversed {posts[order]} times, and {armed} were armed.")


def _compare(attempt: PaymentAttempt, charges: list[Mapping[str, Any]]) -> Iterator[Violation]:
    state = AttemptState(attempt.state)
    own = [charge for charge in charges if charge["transaction_id"] == attempt.gateway_transaction_id]
    taken = [charge for charge in charges if charge["status"] in _TAKEN]
    if state in HAS_MONEY:
        fits = [charge for charge in own if _same(charge, attempt) and charge["status"] in _TAKEN]
        if len(fits) != 1:
            yield Violation(
                "S2",
                attempt.public_id,
                f"is {state}, and the gateway has {len(fits)} successes of its transaction and amount.",
            )
        elif attempt.amount_refunded_minor > fits[0]["refunded"]:
            # The other way round is a refund in the gateway's portal, until somebody looks.
            yield Violation(
                "S10",
                attempt.public_id,
                f"counts {attempt.amount_refunded_minor} as refunded, and the gateway {fits[0]['refunded']}.",
            )
    elif taken and state not in UNRESOLVED:
        yield Violation("S10", attempt.public_id, f"is {state}, and the gateway took its money.")


def _same(charge: Mapping[str, Any], attempt: PaymentAttempt) -> bool:
    return (charge["amount"], charge["currency"]) == (attempt.amount_minor, attempt.currency)
