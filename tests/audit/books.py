"""A shop with a clock of its own: the real use cases on PostgreSQL, with a gateway that says what a test wants."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from billing.charging.attempts.arm import arm
from billing.charging.attempts.settle import AttemptFinding, settle
from billing.charging.collecting.sweep import sweep
from billing.charging.refunds.arm import arm_refund
from billing.charging.refunds.ask import request_refund, request_reverse
from billing.charging.refunds.settle import settle_refund, write_down
from billing.charging.refunds.worker import sweep_refunds
from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.refunds import RefundFinding, RefundSource, RefundVerdict
from billing.gateway.connection import Gateway, ReadTransaction, gateway_for
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Refund, Subscription
from billing.models.bulk import refunding
from billing.subscriptions.renew import open_due
from billing.subscriptions.start import start_subscription
from rm_gateway.models import Transaction
from tests.conftest import SHORT
from tests.factories import NOW, make_account, make_card, make_customer, make_plan
from tests.rm_gateway.fake import transaction


@dataclass(slots=True)
class Books:
    account: GatewayAccount = field(default_factory=make_account)
    now: datetime = NOW

    def wait(self, **time: int) -> datetime:
        self.now += timedelta(**time)
        return self.now

    def card(self) -> PaymentMethod:
        return make_card(make_customer(self.account))

    def subscribe(self, card: PaymentMethod | None = None, *, at_start: bool = True, **plan: Any) -> Subscription:
        """A subscription charged at its start, unless `at_start` is False."""
        card = card or self.card()
        return start_subscription(
            customer=card.customer,
            plan=make_plan(self.account, **plan),
            reference=f"club-{Subscription.objects.count()}",
            now=self.now,
            charge_at_start=at_start,
            actor="siti",
        )

    def open(self) -> list[Invoice]:
        """Opens what is due now; the new invoices."""
        known = set(Invoice.objects.values_list("pk", flat=True))
        open_due(now=self.now)
        return list(Invoice.objects.exclude(pk__in=known).order_by("pk"))

    def arm(self) -> list[PaymentAttempt]:
        """Reads the cards that must be read before another try, and arms what is due."""
        due = Invoice.objects.filter(next_attempt_at__lte=self.now)
        due.filter(attempt_count__gt=0).update(preflight_at=self.now)
        armed = arm(
            account_id=self.account.pk,
            gateway=gateway_for(self.account),
            run_id=None,
            tuning=SHORT,
            now=self.now,
            count=50,
        ).armed
        return list(PaymentAttempt.objects.filter(pk__in=[one.attempt_id for one in armed]).order_by("pk"))

    def armed(self, card: PaymentMethod | None = None) -> PaymentAttempt:
        """A new subscription whose first charge is being sent."""
        self.subscribe(card)
        self.open()
        (attempt,) = self.arm()
        return attempt

    def tell(self, attempt: PaymentAttempt, finding: Finding, actor: str = "engine") -> PaymentAttempt:
        settle([AttemptFinding(attempt.marker, finding)], tuning=SHORT, now=self.now, actor=actor)
        attempt.refresh_from_db()
        attempt.invoice.refresh_from_db()
        return attempt

    def pay(self, attempt: PaymentAttempt, source: Source = Source.ANSWER, **changes: Any) -> PaymentAttempt:
        return self.tell(attempt, paid(attempt, source, **changes))

    def decline(self, attempt: PaymentAttempt, code: str = "9010") -> PaymentAttempt:
        return self.tell(attempt, Finding(Verdict.DECLINED, Source.ANSWER, reason=code))

    def lose(self, attempt: PaymentAttempt, reason: str = "timeout") -> PaymentAttempt:
        return self.tell(attempt, Finding(Verdict.UNCLEAR, Source.ANSWER, reason=reason))

    def absent(self, attempt: PaymentAttempt, number: int) -> PaymentAttempt:
        return self.tell(attempt, Finding(Verdict.ABSENT, Source.ORDER_LIST, reason="absent", detail={"check": number}))

    def give_to_a_person(self, attempt: PaymentAttempt) -> PaymentAttempt:
        return self.tell(attempt, Finding(Verdict.ABSENT_AT_LAST, Source.ORDER_LIST, reason="absent_no_report"))

    def reverse(self, attempt: PaymentAttempt) -> PaymentAttempt:
        return self.tell(attempt, Finding(Verdict.REVERSED, Source.ORDER_LIST, reason="reversed"))

    def sweep(self) -> int:
        return sweep(tuning=SHORT, now=self.now) + sweep_refunds(tuning=SHORT, now=self.now)

    # --- money that goes back -----------------------------------------------------------------------------

    def ask_back(self, attempt: PaymentAttempt, amount: int | None = None, *, reverse: bool = False) -> Refund:
        """*siti* asks for all, for a part, or for a reversal."""
        given: dict[str, Any] = {"attempt": attempt, "decision": Decision("siti", "cancelled in time"), "now": self.now}
        return request_reverse(**given) if reverse else request_refund(amount_minor=amount, **given)

    def send_back(self, refund: Refund) -> Refund:
        """Arms it."""
        (one,) = refunding.claim(now=self.now, lease=timedelta(seconds=150), limit=1)
        assert one.refund_id == refund.pk
        arm_refund(one, gateway=_WithToken(gateway_for(self.account)), tuning=SHORT, looked_at=self.now, now=self.now)  # type: ignore[arg-type]
        refund.refresh_from_db()
        return refund

    def hear_back(
        self, refund: Refund, verdict: RefundVerdict, reason: str = "", source: RefundSource = RefundSource.ANSWER
    ) -> Refund:
        settle_refund(refund.pk, RefundFinding(verdict, source, reason=reason), tuning=SHORT, now=self.now)
        refund.refresh_from_db()
        refund.attempt.refresh_from_db()
        refund.invoice.refresh_from_db()
        return refund

    def give_back(self, attempt: PaymentAttempt, amount: int | None = None, *, reverse: bool = False) -> Refund:
        """Asked for, sent, and answered well."""
        refund = self.send_back(self.ask_back(attempt, amount, reverse=reverse))
        self.hear_back(refund, RefundVerdict.REFUNDED)
        attempt.refresh_from_db()
        return refund

    def see_in_the_portal(self, attempt: PaymentAttempt, amount: int) -> Refund:
        """Somebody gave `amount` back in the gateway's portal, beside what we did, and the payment was read."""
        left = attempt.amount_minor - attempt.amount_refunded_minor - amount
        status = "PARTIAL_REFUNDED" if left else "FULL_REFUNDED"
        seen = transaction(
            transactionId=attempt.gateway_transaction_id,
            status=status,
            balanceAmount=left,
            order={"amount": attempt.amount_minor},
        )
        read = ReadTransaction(Transaction.parse(seen), "", {"status": status})
        write_down({attempt.pk: read}, tuning=SHORT, now=self.now)
        attempt.refresh_from_db()
        return Refund.objects.filter(attempt=attempt, origin="gateway").latest("pk")


class _WithToken:
    """A gateway that is never spoken to."""

    def __init__(self, gateway: Gateway) -> None:
        self.freeze_refund = gateway.freeze_refund

    def has_token(self) -> bool:
        return True


def paid(attempt: PaymentAttempt, source: Source = Source.ANSWER, **changes: Any) -> Finding:
    told = {
        "amount_minor": attempt.amount_minor,
        "currency": attempt.currency,
        "store_id": attempt.account.store_id,
        "marker": attempt.marker,
        "transaction_id": f"2026030200000000000{attempt.pk:05}",
        "order_id": f"17952248447021{attempt.pk:05}",
        "reason": "success",
    }
    return Finding(Verdict.PAID, source, **{**told, **changes})
