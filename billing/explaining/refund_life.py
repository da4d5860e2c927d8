"""One refund in sentences: requested, recorded, answered or lost, checked, decided; or seen at the gateway."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import assert_never

from billing.domain.decisions import Decision
from billing.domain.money import display
from billing.domain.reason_words import reason_words
from billing.domain.refunds import (
    ENDED_WITHOUT_REFUND,
    RefundEnd,
    RefundKind,
    RefundOrigin,
    RefundSource,
    RefundState,
    RefundVerdict,
)
from billing.explaining.lines import Kind, Line
from billing.explaining.wording import decided_by, moment, sentence, span
from billing.models import Refund, RefundEvidence, Transition

R = RefundState
_KIND_OF_SOURCE = {
    RefundSource.ENGINE: Kind.ARMED,
    RefundSource.ANSWER: Kind.ANSWERED,
    RefundSource.TRANSACTION_QUERY: Kind.CHECKED,
    RefundSource.SWEEPER: Kind.LOST,
    RefundSource.COMMIT_UNACKNOWLEDGED: Kind.LOST,
    RefundSource.OPERATOR: Kind.DECIDED,
}
_KIND_OF_STATE = {
    R.SUCCEEDED: Kind.GIVEN_BACK,
    R.REFUSED: Kind.NOT_GIVEN_BACK,
    R.NOT_SENT: Kind.NOT_GIVEN_BACK,
    R.NOT_REFUNDED: Kind.NOT_GIVEN_BACK,
    R.NEEDS_REVIEW: Kind.WITH_A_PERSON,
}


class RefundLife:
    """`evidence` and `transitions` are the refund's, in order; `attempt_number` is that of the attempt it is of. `zone`
    is the IANA time zone that the sentences speak in. The ranks of the lines are for the caller to set."""

    def __init__(
        self,
        refund: Refund,
        evidence: Sequence[RefundEvidence],
        transitions: Sequence[Transition],
        attempt_number: int,
        zone: str,
        *,
        to_staff: bool,
    ) -> None:
        self._refund = refund
        self._evidence = evidence
        self._became = {row.evidence_id: R(row.to_state) for row in transitions if row.evidence_id is not None}
        self._number = attempt_number
        self._zone = zone
        self._to_staff = to_staff
        self._money = display(refund.amount_minor, refund.currency)
        self._is_reversal = refund.kind == RefundKind.REVERSE
        self._name = f"{'Reversal' if self._is_reversal else 'Refund'} of {self._money}"

    def lines(self) -> Iterator[Line]:
        """What happened to the refund, in order."""
        refund = self._refund
        if refund.origin == RefundOrigin.ENGINE:
            yield Line(refund.created_at, self._asked(), Kind.REFUND_ASKED, (refund.public_id,))
        for row in self._evidence:
            yield self._line_of(row)

    def _asked(self) -> str:
        if self._is_reversal:
            what = f"requested the reversal of attempt {self._number}, of all {self._money}"
        elif self._refund.kind == RefundKind.FULL:
            what = f"requested a refund of all {self._money} of attempt {self._number}"
        else:
            what = f"requested a refund of {self._money} of attempt {self._number}"
        text = decided_by(self._refund.requested_by, what, self._refund.requested_reason, to_staff=self._to_staff)
        return text if self._to_staff else sentence(text)

    def _line_of(self, row: RefundEvidence) -> Line:
        source, verdict = RefundSource(row.source), RefundVerdict(row.verdict)
        named = (self._refund.public_id, f"evidence {row.pk}")
        if self._refund.origin == RefundOrigin.GATEWAY:
            text = f"{self._money} of attempt {self._number} was refunded in the gateway's own portal, and found there."
            return Line(row.recorded_at, text, Kind.GIVEN_BACK, named)
        kind, parts = _KIND_OF_SOURCE[source], [f"{self._name}: {self._shown(row, source, verdict)}"]
        became = self._became.get(row.pk)
        if became is not None:
            kind = Kind.DECIDED if source is RefundSource.OPERATOR else _KIND_OF_STATE.get(became, kind)
            parts.append(self._rest(row) or refund_consequence(became))
        elif verdict is RefundVerdict.REFUNDED and self._refund.state in ENDED_WITHOUT_REFUND:
            kind = Kind.ALARM
            parts.append("That contradicts what is recorded, so an alarm was raised.")
        return Line(row.recorded_at, " ".join(filter(None, parts)), kind, named)

    def _rest(self, row: RefundEvidence) -> str:
        """What is left of a refund that something else was faster with; "" for any other end."""
        if row.reason == RefundEnd.ALREADY_GIVEN_BACK:
            return "Nothing was sent, and nothing of it is left to refund."
        if row.reason != RefundEnd.PARTLY_GIVEN_BACK:
            return ""
        kept = row.content.get("detail")
        left = kept.get("still_owed_minor") if isinstance(kept, dict) else None
        what = "the rest" if left is None else display(int(left), self._refund.currency)
        return f"Nothing was sent; {what} of it was not refunded, and may be requested again."

    def _shown(self, row: RefundEvidence, source: RefundSource, verdict: RefundVerdict) -> str:
        kept = row.content.get("detail")
        detail = kept if isinstance(kept, dict) else {}
        if source is RefundSource.OPERATOR:
            decision = Decision.of(row.content)
            return decided_by(decision.actor, _DECIDED[verdict], decision.reason, to_staff=self._to_staff)
        text = refund_shown_by(source, verdict, row.reason, detail.get("check"))
        armed_at = self._refund.armed_at
        if source is RefundSource.ANSWER and verdict in (RefundVerdict.REFUNDED, RefundVerdict.REFUSED) and armed_at:
            return f"{text.removesuffix('.')}, {span(row.recorded_at - armed_at)} after it was recorded."
        return text

    def next(self, now: datetime) -> Line | None:
        """What happens to it next; None when it is over."""
        refund, name = self._refund, self._name
        at = refund.next_check_at if refund.next_check_at and refund.next_check_at > now else now
        match R(refund.state):
            case R.REQUESTED if refund.state_reason:
                why = reason_words(refund.state_reason)
                text = f"{name}: it waits to be sent, because {why}; it is checked again automatically."
            case R.REQUESTED:
                text = f"{name}: it is sent as soon as a worker takes it up."
            case R.SENDING:
                text = f"{name}: it is being sent; nothing else happens before its outcome."
            case R.UNKNOWN:
                text = f"{name}: the gateway is checked again on {moment(at, self._zone)}; it is never sent again."
            case R.NEEDS_REVIEW:
                text = f"{name}: nothing happens automatically; it needs review."
            case _:
                return None
        return Line(at, text, Kind.NEXT, (refund.public_id,))

    def open_sentence(self) -> str:
        """Whether the money is still to go back, or may have gone, as a sentence; "" when it is known."""
        match R(self._refund.state):
            case R.REQUESTED:
                return f"{self._money} of it is to be refunded: the refund is requested, and not sent yet."
            case R.SENDING | R.UNKNOWN | R.NEEDS_REVIEW:
                return f"Whether {self._money} of it was refunded is not known yet."
            case _:
                return ""


_DECIDED = {
    RefundVerdict.REFUNDED: "decided that the money was refunded",
    RefundVerdict.PERSON_NOT_REFUNDED: "decided that no money was refunded",
    RefundVerdict.CANNOT: "withdrew the request before it was sent",
}


def refund_shown_by(source: RefundSource, verdict: RefundVerdict, reason: str, number: int | None) -> str:
    """One piece of evidence about a refund that no person gave, as what follows a colon. `number` is the check's."""
    match source:
        case RefundSource.SWEEPER:
            return "the program that was to send the request was lost, so it is not known whether it left."
        case RefundSource.COMMIT_UNACKNOWLEDGED:
            return "the database did not confirm that the request was recorded, so nothing was sent."
        case RefundSource.ENGINE | RefundSource.ANSWER | RefundSource.OPERATOR:
            return _shown_by("the gateway answered", verdict, reason)
        case RefundSource.TRANSACTION_QUERY:
            check = f"at check {number} the" if number else "the"
            return _shown_by(f"{check} gateway's record of the payment showed", verdict, reason)
        case _:
            assert_never(source)


def _shown_by(by: str, verdict: RefundVerdict, reason: str) -> str:
    match verdict:
        case RefundVerdict.ARMED:
            return "a request was recorded, to be sent once."
        case RefundVerdict.CANNOT:
            return f"it was not sent: {reason_words(reason)}."
        case RefundVerdict.REFUNDED:
            return f"{by} that the money was refunded."
        case RefundVerdict.REFUSED:
            return f"{by} that it is refused ({reason_words(reason)})."
        case RefundVerdict.NOT_SENT:
            return f"it is certain that nothing was executed ({reason_words(reason)})."
        case RefundVerdict.UNCLEAR:
            return f"the outcome of the request is not known: {reason_words(reason)}."
        case RefundVerdict.UNCHANGED:
            return f"{by} no change. That alone does not prove that no money was refunded."
        case RefundVerdict.NOTHING_AT_LAST:
            return f"the payment was checked for the last time: {reason_words(reason)}."
        case RefundVerdict.CONTRADICTION:
            return f"{by} a change that is not this one: {reason_words(reason)}."
        case RefundVerdict.PERSON_NOT_REFUNDED:
            return "it was decided that no money was refunded."
        case _:
            assert_never(verdict)


def refund_consequence(to: RefundState) -> str:
    """What becoming this state meant, as a sentence; "" when the evidence says it all."""
    match to:
        case R.SUCCEEDED | R.SENDING | R.REQUESTED:
            return ""
        case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:
            return "It refunded no money, and may be requested again."
        case R.UNKNOWN:
            return "It is never sent again; the gateway is checked until the outcome is known."
        case R.NEEDS_REVIEW:
            return "A person has to decide."
        case _:
            assert_never(to)
