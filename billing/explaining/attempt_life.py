"""One attempt in sentences: recorded, sent, answered or lost, checked, decided."""

from collections.abc import Iterator, Sequence

from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.decisions import Decision
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.reasons import Reason
from billing.domain.subscriptions import InvoiceState, SubscriptionState
from billing.explaining.lines import Kind, Line, Proposers
from billing.explaining.wording import consequence, decided, decided_by, sentence, shown_by, span
from billing.models import Evidence, PaymentAttempt, Transition

S = AttemptState
_KIND_OF_STATE = {
    S.SUCCEEDED: Kind.PAID,
    S.DECLINED: Kind.DECLINED,
    S.SURPLUS: Kind.SURPLUS,
    S.REVERSED: Kind.REVERSED,
    S.NEEDS_REVIEW: Kind.WITH_A_PERSON,
}
_KIND_OF_SOURCE = {
    Source.ANSWER: Kind.ANSWERED,
    Source.SWEEPER: Kind.LOST,
    Source.COMMIT_UNACKNOWLEDGED: Kind.LOST,
    Source.ORDER_LIST: Kind.CHECKED,
    Source.TRANSACTION_QUERY: Kind.CHECKED,
    Source.HOLDER_ENDED: Kind.CHECKED,
    Source.OPERATOR: Kind.DECIDED,
}


class AttemptLife:
    """`evidence` is the attempt's; `transitions` are those of the invoice, its attempts and its subscription. Both are
    in order. `rank` places its beginning among what happened at the same instant."""

    def __init__(
        self,
        attempt: PaymentAttempt,
        evidence: Sequence[Evidence],
        transitions: Sequence[Transition],
        rank: int,
        *,
        to_staff: bool,
        proposers: Proposers,
    ) -> None:
        self._proposers = proposers
        self._rank = rank
        self._evidence_rows = evidence
        self._attempt = attempt
        self._to_staff = to_staff
        self._by_evidence: dict[int, list[Transition]] = {}
        for row in transitions:
            if row.evidence_id is not None:
                self._by_evidence.setdefault(row.evidence_id, []).append(row)

    def lines(self) -> Iterator[Line]:
        """What happened to the attempt, in order."""
        attempt = self._attempt
        amount = display(attempt.amount_minor, attempt.currency)
        text = f"Attempt {attempt.number}: a request for {amount} was recorded, to be sent once."
        if attempt.recovered_at:
            text = (
                f"Attempt {attempt.number}: a charge of {amount} was made. The database had lost it. On "
                f"{attempt.recovered_at:%Y-%m-%d} it was recovered from the gateway's records."
            )
        named = (attempt.public_id, f"card {attempt.payment_method.public_id}" if attempt.payment_method else "")
        if attempt.checkout:
            text = f"Attempt {attempt.number}: {amount} was paid on a payment page."
            named = (attempt.public_id, f"checkout {attempt.checkout.public_id}")
        yield Line(attempt.armed_at, text, Kind.ARMED, named, self._rank)
        for row in self._evidence_rows:
            yield self._line_of(row)
        if attempt.released_at:
            what = "released the card for other invoices"
            by, why = attempt.released_by, attempt.released_reason
            first = self._proposers.get((attempt.released_at, by), "")
            text = decided_by(by, what, why, to_staff=self._to_staff, proposed_by=first)
            yield Line(
                attempt.released_at, sentence(text) if not self._to_staff else text, Kind.DECIDED, (attempt.public_id,)
            )

    def _line_of(self, row: Evidence) -> Line:
        source, verdict = Source(row.source), Verdict(row.verdict)
        parts = [f"Attempt {self._attempt.number}: {self._shown(row, source, verdict)}"]
        moved = [one for one in self._by_evidence.get(row.pk, []) if one.subject_type == "attempt"]
        own = [one for one in moved if one.subject_id == self._attempt.pk]
        kind = _KIND_OF_SOURCE[source]
        for one in own:
            if one.from_state == one.to_state:
                kind = Kind.ALARM
                why = reason_words(one.reason.removeprefix("alarm: "))  # older rows say so
                parts.append(f"That contradicts what is recorded ({why}), so an alarm was raised.")
            else:
                state = S(one.to_state)
                kind = Kind.DECIDED if source is Source.OPERATOR else _KIND_OF_STATE.get(state, kind)
                parts.append(self._meant(one, state, verdict))
        parts += self._around(row)
        return Line(row.recorded_at, " ".join(filter(None, parts)), kind, self._evidence(row), 2 * row.pk)

    def _shown(self, row: Evidence, source: Source, verdict: Verdict) -> str:
        detail = row.content.get("detail")
        number = detail.get("check") if isinstance(detail, dict) else None
        check = number if isinstance(number, int) else None
        if row.reason == Reason.REVERSED_ON_REQUEST:
            return "the payment was reversed, as requested."
        if source is Source.OPERATOR:
            return decided(verdict, Decision.of(row.content), to_staff=self._to_staff)
        text = shown_by(source, verdict, row.reason, check)
        if source is Source.ANSWER and verdict in (Verdict.PAID, Verdict.DECLINED):
            return text.removesuffix(".") + f", {span(row.recorded_at - self._attempt.armed_at)} after it was recorded."
        return text

    def _meant(self, row: Transition, state: AttemptState, verdict: Verdict) -> str:
        meant = consequence(state)
        if self._attempt.recovered_at and row.reason == Reason.LATE_MONEY:
            return meant
        if state is S.NEEDS_REVIEW and verdict in (Verdict.PAID, Verdict.DECLINED):
            meant = f"It does not fit the attempt: {reason_words(row.reason)}. {meant}"
        if state is S.SUCCEEDED and row.reason == Reason.LATE_MONEY:
            meant = f"The money came late. {meant}"
        return meant

    def _around(self, row: Evidence) -> Iterator[str]:
        """What the same evidence did to the invoice and the subscription."""
        for one in self._by_evidence.get(row.pk, []):
            if one.subject_type == "invoice" and one.to_state == InvoiceState.UNCOLLECTIBLE:
                yield "It was the last try: the invoice is uncollectible."
            elif one.subject_type == "invoice" and one.reason == Reason.PAYMENT_REVERSED:
                yield "The invoice is open again, and is collected only if a person decides so."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.CANCELED:
                yield "The subscription was cancelled for it."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.PAUSED:
                yield "The subscription was paused for it."
            elif one.subject_type == "subscription" and one.reason == Reason.FIRST_PAYMENT_PAID:
                yield "The subscription is active by it."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.PAST_DUE:
                yield "The subscription is past due until it is paid."

    def _evidence(self, row: Evidence) -> tuple[str, ...]:
        named = [("transaction", row.content.get("transaction_id")), ("order", row.content.get("order_id"))]
        return (
            self._attempt.public_id,
            f"evidence {row.pk}",
            *(f"{noun} {value}" for noun, value in named if value),
        )
