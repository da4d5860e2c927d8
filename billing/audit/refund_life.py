"""One refund in sentences: asked for, written down, answered or lost, looked for, decided; or seen at the gateway."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import assert_never

from billing.audit.lines import Kind, Line
from billing.audit.wording import REFUND_ENDS, REFUND_WAITS, moment, reason_words, said_by, sentence, span
from billing.domain.money import display
from billing.domain.refunds import (
    ENDED_WITHOUT_REFUND,
    RefundKind,
    RefundOrigin,
    RefundSource,
    RefundState,
    RefundVerdict,
)
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
    R.NEEDS_HUMAN: Kind.WITH_A_PERSON,
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
            yield self._heard(row)

    def _asked(self) -> str:
        if self._is_reversal:
            what = f"asked for attempt {self._number} to be taken back, all {self._money} of it, as if it had not been"
        elif self._refund.kind == RefundKind.FULL:
            what = f"asked for all {self._money} of attempt {self._number} to be given back"
        else:
            what = f"asked for {self._money} of attempt {self._number} to be given back"
        said = said_by(self._refund.requested_by, what, self._refund.requested_reason, to_staff=self._to_staff)
        return said if self._to_staff else sentence(said)

    def _heard(self, row: RefundEvidence) -> Line:
        source, verdict = RefundSource(row.source), RefundVerdict(row.verdict)
        named = (self._refund.public_id, f"evidence {row.pk}")
        if self._refund.origin == RefundOrigin.GATEWAY:
            said = (
                f"{self._money} of attempt {self._number} was given back in the gateway's own portal, and seen there."
            )
            return Line(row.recorded_at, said, Kind.GIVEN_BACK, named)
        kind, parts = _KIND_OF_SOURCE[source], [f"{self._name}: {self._told(row, source, verdict)}"]
        became = self._became.get(row.pk)
        if became is not None:
            kind = Kind.DECIDED if source is RefundSource.OPERATOR else _KIND_OF_STATE.get(became, kind)
            parts.append(refund_consequence(became))
        elif verdict is RefundVerdict.REFUNDED and self._refund.state in ENDED_WITHOUT_REFUND:
            kind = Kind.ALARM
            parts.append("That does not fit what is recorded, so a person was told.")
        return Line(row.recorded_at, " ".join(filter(None, parts)), kind, named)

    def _told(self, row: RefundEvidence, source: RefundSource, verdict: RefundVerdict) -> str:
        kept = row.content.get("detail")
        detail = kept if isinstance(kept, dict) else {}
        if source is RefundSource.OPERATOR:
            _, _, why = row.reason.partition(": ")
            return said_by(str(detail.get("actor", "")), _DECIDED[verdict], why, to_staff=self._to_staff)
        said = refund_told(source, verdict, row.reason, detail.get("check"))
        armed_at = self._refund.armed_at
        if source is RefundSource.ANSWER and verdict in (RefundVerdict.REFUNDED, RefundVerdict.REFUSED) and armed_at:
            return f"{said.removesuffix('.')}, {span(row.recorded_at - armed_at)} after it was written down."
        return said

    def next(self, now: datetime) -> Line | None:
        """What happens to it next; None when it is over."""
        refund, name = self._refund, self._name
        at = refund.next_check_at if refund.next_check_at and refund.next_check_at > now else now
        match R(refund.state):
            case R.REQUESTED if refund.state_reason:
                why = REFUND_WAITS.get(refund.state_reason, reason_words(refund.state_reason))
                said = f"{name}: it waits to be sent, because {why}; it is looked at again by itself."
            case R.REQUESTED:
                said = f"{name}: it is sent as soon as a worker takes it up."
            case R.SENDING:
                said = f"{name}: it is being sent; its answer, or the lack of one, comes first."
            case R.UNKNOWN:
                said = f"{name}: the gateway is asked again on {moment(at, self._zone)}; it is never sent again."
            case R.NEEDS_HUMAN:
                said = f"{name}: nothing happens by itself; a person decides whether the money went back."
            case _:
                return None
        return Line(at, said, Kind.NEXT, (refund.public_id,))

    def open_words(self) -> str:
        """Whether the money is still to go back, or may have gone, as a sentence; "" when it is known."""
        match R(self._refund.state):
            case R.REQUESTED:
                return f"{self._money} of it is to be given back: that was asked for, and not sent yet."
            case R.SENDING | R.UNKNOWN | R.NEEDS_HUMAN:
                return f"Whether {self._money} of it was given back is not known yet."
            case _:
                return ""


_DECIDED = {
    RefundVerdict.REFUNDED: "decided that the money went back",
    RefundVerdict.PERSON_NOT_REFUNDED: "decided that no money went back",
    RefundVerdict.CANNOT: "took the request back before it was sent",
}


def refund_told(source: RefundSource, verdict: RefundVerdict, reason: str, number: int | None) -> str:
    """One piece of evidence about a refund that no person gave, as what follows a colon. `number` is the look's."""
    match source:
        case RefundSource.SWEEPER:
            return "the program that was to send the request was lost, so nobody knows whether it left."
        case RefundSource.COMMIT_UNACKNOWLEDGED:
            return "the database did not confirm that the request was written down, so nothing was sent."
        case RefundSource.ENGINE | RefundSource.ANSWER | RefundSource.OPERATOR:
            return _said("the gateway answered", verdict, reason)
        case RefundSource.TRANSACTION_QUERY:
            look = f"at look {number} the" if number else "the"
            return _said(f"{look} gateway's record of the payment showed", verdict, reason)
        case _:
            assert_never(source)


def _said(by: str, verdict: RefundVerdict, reason: str) -> str:
    match verdict:
        case RefundVerdict.ARMED:
            return "a request was written down, to be sent once."
        case RefundVerdict.CANNOT:
            return f"it was not sent: {REFUND_ENDS.get(reason, reason_words(reason))}."
        case RefundVerdict.REFUNDED:
            return f"{by} that the money went back."
        case RefundVerdict.REFUSED:
            return f"{by} that it is not given back ({reason_words(reason)})."
        case RefundVerdict.NOT_SENT:
            return f"it is certain that nothing was executed ({reason_words(reason)})."
        case RefundVerdict.UNCLEAR:
            return f"what came of the request is not known: {reason_words(reason)}."
        case RefundVerdict.UNCHANGED:
            return f"{by} no change. That alone does not prove that no money goes back."
        case RefundVerdict.NOTHING_AT_LAST:
            return f"the payment was looked at for the last time: {reason_words(reason)}."
        case RefundVerdict.CONTRADICTION:
            return f"{by} a change that is not this one: {reason_words(reason)}."
        case RefundVerdict.PERSON_NOT_REFUNDED:
            return "it was decided that no money went back."
        case _:
            assert_never(verdict)


def refund_consequence(to: RefundState) -> str:
    """What becoming this state meant, as a sentence; "" when the evidence says it all."""
    match to:
        case R.SUCCEEDED | R.SENDING | R.REQUESTED:
            return ""
        case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:
            return "No money went back by it, and it may be asked for again."
        case R.UNKNOWN:
            return "It is never sent again; the gateway is asked until it is known."
        case R.NEEDS_HUMAN:
            return "A person has to decide."
        case _:
            assert_never(to)
