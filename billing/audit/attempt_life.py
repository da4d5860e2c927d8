"""One attempt in sentences: written down, sent, answered or lost, looked for, decided."""

from collections.abc import Iterator, Sequence

from billing.audit.lines import Kind, Line
from billing.audit.wording import consequence, reason_words, said_by, sentence, span, told
from billing.domain.attempts import AttemptState, Source, Verdict
from billing.domain.money import display
from billing.domain.subscriptions import InvoiceState, SubscriptionState
from billing.models import Evidence, PaymentAttempt, Transition

S = AttemptState
_KIND_OF_STATE = {
    S.SUCCEEDED: Kind.PAID,
    S.DECLINED: Kind.DECLINED,
    S.SURPLUS: Kind.SURPLUS,
    S.REVERSED: Kind.REVERSED,
    S.NEEDS_HUMAN: Kind.WITH_A_PERSON,
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
    ) -> None:
        self._rank = rank
        self._told_us = evidence
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
        said = f"Attempt {attempt.number}: a request for {amount} was written down, to be sent once."
        named = (attempt.public_id, f"card {attempt.payment_method.public_id}")
        yield Line(attempt.armed_at, said, Kind.ARMED, named, self._rank)
        for row in self._told_us:
            yield self._heard(row)
        if attempt.released_at:
            what = "let the card be charged for other invoices meanwhile"
            said = said_by(attempt.released_by, what, attempt.released_reason, to_staff=self._to_staff)
            yield Line(
                attempt.released_at, sentence(said) if not self._to_staff else said, Kind.DECIDED, (attempt.public_id,)
            )

    def _heard(self, row: Evidence) -> Line:
        source, verdict = Source(row.source), Verdict(row.verdict)
        parts = [f"Attempt {self._attempt.number}: {self._told(row, source, verdict)}"]
        moved = [one for one in self._by_evidence.get(row.pk, []) if one.subject_type == "attempt"]
        own = [one for one in moved if one.subject_id == self._attempt.pk]
        kind = _KIND_OF_SOURCE[source]
        for one in own:
            if one.from_state == one.to_state:
                kind = Kind.ALARM
                why = reason_words(one.reason.removeprefix("alarm: "))
                parts.append(f"That does not fit what is recorded ({why}), so a person was told.")
            else:
                state = S(one.to_state)
                kind = Kind.DECIDED if source is Source.OPERATOR else _KIND_OF_STATE.get(state, kind)
                parts.append(self._meant(one, state, verdict))
        parts += self._around(row)
        return Line(row.recorded_at, " ".join(filter(None, parts)), kind, self._evidence(row), 2 * row.pk)

    def _told(self, row: Evidence, source: Source, verdict: Verdict) -> str:
        detail = row.content.get("detail")
        number = detail.get("check") if isinstance(detail, dict) else None
        check = number if isinstance(number, int) else None
        said = told(source, verdict, row.reason, check, to_staff=self._to_staff)
        if source is Source.ANSWER and verdict in (Verdict.PAID, Verdict.DECLINED):
            return (
                said.removesuffix(".")
                + f", {span(row.recorded_at - self._attempt.armed_at)} after it was written down."
            )
        return said

    def _meant(self, row: Transition, state: AttemptState, verdict: Verdict) -> str:
        meant = consequence(state)
        if state is S.NEEDS_HUMAN and verdict in (Verdict.PAID, Verdict.DECLINED):
            meant = f"It does not fit the attempt: {reason_words(row.reason)}. {meant}"
        if state is S.SUCCEEDED and row.reason == "late_money":
            meant = f"The money came late. {meant}"
        return meant

    def _around(self, row: Evidence) -> Iterator[str]:
        """What the same evidence did to the invoice and the subscription."""
        for one in self._by_evidence.get(row.pk, []):
            if one.subject_type == "invoice" and one.to_state == InvoiceState.UNCOLLECTIBLE:
                yield "It was the last try: the invoice is given up as uncollectible."
            elif one.subject_type == "invoice" and one.reason == "payment_reversed":
                yield "The invoice is open again, and is collected only if a person decides so."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.CANCELED:
                yield "The subscription was cancelled for it."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.PAUSED:
                yield "The subscription was paused for it."
            elif one.subject_type == "subscription" and one.to_state == SubscriptionState.PAST_DUE:
                yield "The subscription is past due until it is paid."

    def _evidence(self, row: Evidence) -> tuple[str, ...]:
        named = [("transaction", row.content.get("transaction_id")), ("order", row.content.get("order_id"))]
        return (
            self._attempt.public_id,
            f"evidence {row.pk}",
            *(f"{noun} {value}" for noun, value in named if value),
        )
