"""arm: one durable commit in which attempts are born, each with its request frozen beside it.

0. Recognise the database (`protocol.permission`).
1. Take the first due invoices of the account, one a card.
2. Lock account, cards, subscriptions and invoices, in this order, skipping what others hold.
3. Re-check everything; what may not be charged gets a reason and a time to look again.
4. Freeze and sign a request for each of the others and insert it as an attempt *sending*.
5. Commit and attest: only that permits to send (`protocol.permission`).
"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import assert_never

from django.conf import settings
from django.db import IntegrityError

from billing.accounts.gateway_accounts import url_fits_environment
from billing.charging.attempts.settle import Asked, AttemptFinding, settle
from billing.charging.protocol import permission
from billing.charging.protocol.request import is_for, request_columns, send_times
from billing.domain.arming import (
    FOR_ITS_DECLINES,
    LOOK_AGAIN,
    PREFLIGHT_FRESH,
    ArmFacts,
    Environment,
    Refusal,
    card_held,
    refusal,
)
from billing.domain.attempts import Finding, Source, Verdict, charge_description, charge_title
from billing.domain.card_limits import Held, Standing
from billing.domain.manifests import price_jumped
from billing.domain.reasons import Reason
from billing.domain.subscriptions import CardKind, CardState, Collector, Hold, InvoiceState, SubscriptionState
from billing.gateway.connection import Charge, Gateway, PreparedRequest
from billing.ids import new_id, new_marker
from billing.models.bulk import arming
from billing.models.bulk.history import NewTransition, record_transitions
from billing.models.bulk.sql import durable
from billing.operating.clocks import clock_refusal
from billing.operating.tuning import Tuning

logger = logging.getLogger(__name__)

Candidate = tuple[int, int | None, int | None]  # invoice, subscription, card


@dataclass(frozen=True, slots=True)
class Armed:
    """Permission to send `prepared` once, from this process. The gateway's client refuses it after its window."""

    attempt_id: int
    marker: str
    prepared: PreparedRequest
    asked: Asked


@dataclass(slots=True)
class ArmResult:
    armed: list[Armed] = field(default_factory=list)
    refused: int = 0
    # Of the refused, invoices whose try is not made for the sake of the card's declines (`avoid`).
    avoided: list[int] = field(default_factory=list)
    # Markers of attempts of which the database did not say whether they exist: none of them may be sent.
    unacknowledged: list[str] = field(default_factory=list)
    stopped: bool = False  # a breaker is on: nothing of this account may be armed


def arm(
    *,
    account_id: int,
    gateway: Gateway,
    run_id: int | None,
    tuning: Tuning,
    now: datetime,
    count: int,
) -> ArmResult:
    """Arms at most `count` due invoices of the account at `now`, by the database's clock.

    What it returns as armed is the permission to send; it is never derived from a row."""
    batch = _Batch(account_id, gateway, run_id, tuning, now, count)
    try:
        return batch.arm(None)
    except IntegrityError:
        logger.warning("arm: a constraint refused a batch; arming its invoices separately")
    result = ArmResult()
    for candidate in batch.candidates:
        try:
            single = _arm_alone(batch, candidate)
        except Exception:
            if not result.armed:
                raise
            logger.exception("arm: invoice %s failed; what was armed before it is sent", candidate[0])
            break
        result.armed += single.armed
        result.refused += single.refused
        result.avoided += single.avoided
        result.unacknowledged += single.unacknowledged
        if single.unacknowledged:
            break  # the database is not well; what was armed before is sent
    return result


def _arm_alone(batch: "_Batch", candidate: Candidate) -> ArmResult:
    try:
        return batch.arm([candidate])
    except IntegrityError as error:
        logger.warning("arm: invoice %s breaks %s", candidate[0], _constraint(error))
        _refuse_alone(candidate[0], batch.now)
        return ArmResult(refused=1)


class _Batch:
    """One call of `arm`; the instance only carries its arguments."""

    def __init__(
        self,
        account_id: int,
        gateway: Gateway,
        run_id: int | None,
        tuning: Tuning,
        now: datetime,
        count: int,
    ) -> None:
        self.account_id = account_id
        self.gateway = gateway
        self.run_id = run_id
        self.tuning = tuning
        self.now = now
        self.count = count
        self.candidates: list[Candidate] = []

    def arm(self, candidates: list[Candidate] | None) -> ArmResult:
        about = f"charges of account {self.account_id}"
        answer = permission.ask_permission(partial(self._freeze_due, candidates), about=about, now=self.now)
        match answer:
            case permission.Permitted(result):
                return result
            case permission.Unacknowledged(result):
                return ArmResult(unacknowledged=[one.marker for one in result.armed])
            case permission.Unattested(result, permission.NOT_ATTESTED):
                return ArmResult(refused=result.refused, unacknowledged=[one.marker for one in result.armed])
            case permission.Unattested(result, why):
                return self._not_sent([one.marker for one in result.armed], why)
            case permission.Closed():
                return ArmResult(stopped=True)
            case _:
                assert_never(answer)

    def _freeze_due(self, candidates: list[Candidate] | None) -> permission.Frozen[ArmResult]:
        result, ready = self._choose(candidates)
        ids = self._insert([attempt for attempt, _ in ready])
        result.armed = [
            Armed(ids[attempt.marker], attempt.marker, prepared, _asked(attempt)) for attempt, prepared in ready
        ]
        return permission.Frozen(result, marker=ready[-1][0].marker if ready else "")

    def _not_sent(self, markers: list[str], why: str) -> ArmResult:
        """What was committed and could not be witnessed does not leave."""
        finding = Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED, reason=why)
        settle([AttemptFinding(marker, finding) for marker in markers], tuning=self.tuning, now=self.now)
        return ArmResult(stopped=True)

    def _choose(
        self, candidates: list[Candidate] | None
    ) -> tuple[ArmResult, list[tuple[arming.NewAttempt, PreparedRequest]]]:
        account = arming.lock_account(self.account_id)
        account = replace(account, preflight_always=account.preflights_always(self.now))
        environment = Environment(account.environment)
        if account.stopped or (environment is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE):
            return ArmResult(stopped=True), []
        if clock_refusal(account.api_url, gateway=self.gateway, now=self.now):
            return ArmResult(stopped=True), []
        if candidates is None:
            candidates = self.candidates = self._due(account)
        cards = arming.lock_cards(sorted({card for _, _, card in candidates if card is not None}))
        subscriptions = arming.lock_subscriptions(sorted({sub for _, sub, _ in candidates if sub is not None}))
        invoices = arming.lock_invoices([invoice for invoice, _, _ in candidates], now=self.now)
        ready: list[tuple[arming.NewAttempt, PreparedRequest]] = []
        refusals: list[arming.Refused] = []
        holds: list[tuple[int, str, str]] = []
        avoided: list[int] = []
        for invoice_id, subscription_id, card_id in candidates:
            invoice = invoices.get(invoice_id)
            card = cards.get(card_id) if card_id is not None else None
            subscription = subscriptions.get(subscription_id) if subscription_id is not None else None
            if (
                invoice is None  # another worker has it, or it is no longer due
                or (card_id is not None and card is None)
                or (subscription_id is not None and subscription is None)
                or not _still_the_card(invoice, subscription, card)
            ):
                continue
            if price_jumped(invoice.amount_minor, invoice.paid_before_minor):
                holds.append((invoice.id, invoice.public_id, Hold.PRICE_JUMPED.value))
                continue
            facts = _facts(account, invoice, subscription, card)
            reason = refusal(facts, self.now)
            outcome = reason or (self._freeze(account, invoice, card) if card else Refusal.NO_CARD)
            if isinstance(outcome, Refusal):
                held = card_held(facts, self.now) if outcome in FOR_ITS_DECLINES else None
                refusals.append(_refused(invoice.id, outcome, self.now, held))
                if held is not None and held[0] is not Held.RESTS:
                    avoided.append(invoice.id)
            else:
                ready.append(outcome)
        arming.refuse(refusals, now=self.now)
        self._hold(holds)
        return ArmResult(refused=len(refusals) + len(holds), avoided=avoided), ready

    def _hold(self, holds: list[tuple[int, str, str]]) -> None:
        arming.hold([(invoice, hold) for invoice, _, hold in holds])
        state = InvoiceState.OPEN.value
        moves = [
            NewTransition(
                account_id=self.account_id,
                subject_type="invoice",
                subject_id=invoice,
                from_state=state,
                to_state=f"{state} ({hold})",
                reason=hold,
                detail={"invoice": public_id, "hold": hold},
            )
            for invoice, public_id, hold in holds
        ]
        record_transitions(moves, actor="engine", now=self.now)

    def _due(self, account: arming.LockedAccount) -> list[Candidate]:
        """The first due invoices, at most one a card: two charges of one card never run side by side."""
        found = arming.due_invoices(
            self.account_id,
            now=self.now,
            limit=self.count,
            preflight_always=account.preflight_always,
            preflight_fresh=PREFLIGHT_FRESH,
        )
        taken: set[int] = set()
        chosen = []
        for candidate in found:
            card = candidate[2]
            if card is None or card not in taken:
                chosen.append(candidate)
            if card is not None:
                taken.add(card)
        return chosen

    def _freeze(
        self, account: arming.LockedAccount, invoice: arming.LockedInvoice, card: arming.LockedCard
    ) -> tuple[arming.NewAttempt, PreparedRequest] | Refusal:
        """The attempt with its signed request, unless account, URL and card do not agree."""
        if not url_fits_environment(Environment(account.environment), account.api_url):
            return Refusal.ENVIRONMENT_DIFFERS
        marker = new_marker()
        charge = Charge(
            gateway_customer_id=card.gateway_customer_id or "",
            amount_minor=invoice.amount_minor,
            currency=invoice.currency,
            title=charge_title(invoice.description, marker),
            description=charge_description(invoice.description, invoice.public_id, marker),
        )
        try:
            prepared = self.gateway.freeze(charge, timestamp=int(self.now.timestamp()), charge_path=account.charge_path)
        except ValueError:
            logger.exception("arm: no request can be made for invoice %s", invoice.public_id)
            return Refusal.REQUEST_IMPOSSIBLE
        if not is_for(prepared, account.api_url):
            return Refusal.ENVIRONMENT_DIFFERS
        attempt = arming.NewAttempt(
            public_id=new_id("att", self.now),
            account_id=account.id,
            invoice_id=invoice.id,
            payment_method_id=card.id,
            number=invoice.attempt_count + 1,
            marker=marker,
            amount_minor=charge.amount_minor,
            currency=charge.currency,
            gateway_customer_id=charge.gateway_customer_id,
            charge_path=account.charge_path,
            title=charge.title,
            description=charge.description,
            **request_columns(prepared),
        )
        return attempt, prepared

    def _insert(self, attempts: list[arming.NewAttempt]) -> dict[str, int]:
        if not attempts:
            return {}
        ids = arming.insert_attempts(attempts, run_id=self.run_id, **send_times(self.tuning, self.now))
        record_transitions(
            [
                NewTransition(
                    account_id=self.account_id,
                    subject_type="attempt",
                    subject_id=ids[attempt.marker],
                    from_state="",
                    to_state="sending",
                    reason=Reason.ARMED,
                )
                for attempt in attempts
            ],
            actor="engine",
            now=self.now,
        )
        return ids


def _asked(attempt: arming.NewAttempt) -> Asked:
    return Asked(
        account_id=attempt.account_id,
        nonce=attempt.request_nonce,
        gateway_customer_id=attempt.gateway_customer_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        title=attempt.title,
        description=attempt.description,
    )


def _still_the_card(
    invoice: arming.LockedInvoice, subscription: arming.LockedSubscription | None, card: arming.LockedCard | None
) -> bool:
    """Whether the card chosen before the locks is the one that the invoice is to be charged on."""
    named = invoice.payment_method_id or (subscription.payment_method_id if subscription else None)
    if named is not None:
        return card is not None and card.id == named
    return card is None or (card.is_default and card.customer_id == invoice.customer_id)


def _facts(
    account: arming.LockedAccount,
    invoice: arming.LockedInvoice,
    subscription: arming.LockedSubscription | None,
    card: arming.LockedCard | None,
) -> ArmFacts:
    return ArmFacts(
        subscription_state=SubscriptionState(subscription.state)
        if subscription and not invoice.collect_regardless
        else None,
        collected_by_gateway=subscription is not None and subscription.collector == Collector.GATEWAY.value,
        card_state=CardState(card.state) if card else None,
        card_kind=CardKind(card.kind) if card else None,
        card_environment=Environment(card.environment) if card else None,
        card_held=card is not None and card.held,
        card_given_up=card is not None and card.given_up,
        card_has_unresolved_attempt=card is not None and card.has_unresolved_attempt,
        invoice_has_holder=invoice.has_holder,
        amount_minor=invoice.amount_minor,
        amount_refunded_minor=invoice.amount_refunded_minor,
        account_environment=Environment(account.environment),
        account_limit_minor=account.charge_limit_minor,
        preflight_needed=invoice.attempt_count > 0 or account.preflight_always,
        preflight_at=invoice.preflight_at,
        look_from_at=invoice.look_from_at,
        tried_card_held=invoice.tried_card_held,
        checkout_open=invoice.checkout_open,
        card_standing=card.standing if card else Standing(),
        # Whoever starts a subscription wants its first payment.
        asked_for=invoice.asked_for
        or (subscription is not None and subscription.state == SubscriptionState.INCOMPLETE.value),
    )


def _refuse_alone(invoice_id: int, now: datetime) -> None:
    with durable():
        arming.refuse([_refused(invoice_id, Refusal.CONSTRAINT, now)], now=now)


def _refused(invoice_id: int, why: Refusal, now: datetime, held: tuple[Held, datetime] | None = None) -> arming.Refused:
    again = held[1] if held is not None and held[0] is Held.RESTS else now + LOOK_AGAIN[why]
    return arming.Refused(invoice_id, why.value, again)


def _constraint(error: IntegrityError) -> str:
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) or "a constraint"
