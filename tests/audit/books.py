"""A shop with a clock of its own: the real use cases on PostgreSQL, with a gateway that says what a test wants."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from billing.charging.arm import arm
from billing.charging.settle import Told, settle
from billing.charging.sweep import sweep
from billing.domain.attempts import Finding, Source, Verdict
from billing.gateway.connection import gateway_for
from billing.models import GatewayAccount, Invoice, PaymentAttempt, PaymentMethod, Subscription
from billing.subscriptions.renew import open_due
from billing.subscriptions.start import start_subscription
from tests.conftest import SHORT
from tests.factories import NOW, make_account, make_card, make_customer, make_plan


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
            limits=SHORT,
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
        settle([Told(attempt.pk, finding)], limits=SHORT, now=self.now, actor=actor)
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
        return sweep(limits=SHORT, now=self.now)


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
