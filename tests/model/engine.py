"""The engine's own decisions, asked with what the model knows. Each answer is kept, for states ask the same often.

The model's time is an attempt's age: 0 while its window is open, 1 after it, 2 after its deadline, and 3 long after,
when lists have caught up.
"""

from datetime import UTC, datetime, timedelta
from functools import cache

from billing.domain import clocks, doubts
from billing.domain.arming import ArmFacts, Environment, Refusal, refusal
from billing.domain.attempts import ENDED_WITHOUT_MONEY, Alarm, AttemptFacts, AttemptState, Finding, Move, Stay, decide
from billing.domain.first_payment import Unpaid
from billing.domain.first_payment import waits_for_a_card as waits
from billing.domain.first_payment import why_not_expired as wait_of
from billing.domain.reads import Ladder, look_from
from billing.domain.subscriptions import CardKind, CardState
from tests.model.state import Attempt, Word

ARMED_AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
WINDOW, DEADLINE, LAG = timedelta(seconds=20), timedelta(seconds=125), timedelta(hours=1)
AFTER_ARMING = (timedelta(0), WINDOW, DEADLINE, DEADLINE + LAG)
UP = timedelta(days=9)
CARDS = {0: CardState.ACTIVE, 1: CardState.ACTIVE, 2: CardState.INACTIVE}


@cache
def refused(off: int, held: bool, busy: bool, holder: bool, preflight_needed: bool, fresh: bool) -> Refusal | None:
    """Whether arm refuses the invoice."""
    facts = ArmFacts(
        subscription_state=None,
        collected_by_gateway=False,
        card_state=CARDS[off],
        card_kind=CardKind.TOKENIZED,
        card_environment=Environment.SIMULATOR,
        card_held=held,
        card_given_up=False,
        card_has_unresolved_attempt=busy,
        invoice_has_holder=holder,
        amount_minor=1,
        amount_refunded_minor=0,
        account_environment=Environment.SIMULATOR,
        account_limit_minor=1,
        preflight_needed=preflight_needed,
        preflight_at=ARMED_AT if fresh else ARMED_AT - timedelta(hours=1),
        look_from_at=None,  # asked when a look begins: `excludes`
    )
    return refusal(facts, ARMED_AT)


def finding(word: Word) -> Finding:
    return Finding(
        word.verdict,
        word.source,
        reason=word.reason,
        amount_minor=word.amount,
        currency="MYR",
        marker=word.marker,
        transaction_id=word.transaction,
        order_id=word.order,
        nothing_left=word.reason == "expired",
    )


@cache
def decided(
    state: str,
    transaction: str | None,
    own_marker: str,
    aged: bool,
    place_taken: bool,
    wanted: bool,
    claimed: bool,
    found_reversed: bool,
    word: Word,
) -> Move | Stay | Alarm:
    """What a piece of evidence makes of an attempt."""
    facts = AttemptFacts(
        state=AttemptState(state),
        amount_minor=1,
        currency="MYR",
        store_id="",
        gateway_customer_id="card",
        marker=own_marker,
        armed_at=ARMED_AT,
        transaction_id=transaction,
        place_taken=place_taken,
        money_wanted=wanted,
        transaction_claimed=claimed,
        found_reversed=found_reversed,
    )
    now = ARMED_AT + (timedelta(hours=1) if aged else timedelta(0))
    return decide(facts, finding(word), now=now, reversed_settles_after=timedelta(minutes=20))


@cache
def excludes(word: Word, age: int) -> bool:
    """Whether a look that begins at this age excludes that an attempt which `word` ended took money all the same."""
    counts_from = look_from(finding(word), armed_at=ARMED_AT, sender_deadline=DEADLINE, list_lag=LAG, now=ARMED_AT)
    return ARMED_AT + AFTER_ARMING[age] >= counts_from


def is_in_doubt(row: Attempt) -> bool:
    """Whether a look that begins now does not exclude yet that an attempt without money took some all the same."""
    return row.state in ENDED_WITHOUT_MONEY and row.last is not None and not excludes(row.last, row.age)


@cache
def rung(rungs: int, done: int, age: int | None) -> tuple[bool, bool]:
    """Whether a complete read counts, and whether it is the last one that does. Without an age any read has waited
    for as long as it must. The last rung comes when lists have caught up."""
    ladder = Ladder((*((n + 1) * DEADLINE for n in range(rungs - 1)), DEADLINE + LAG), LAG)
    before = ARMED_AT + ladder.rungs[min(done, rungs) - 1] if done else None
    due = ladder.due(ARMED_AT, before, done, ARMED_AT + UP)
    read_at = due if age is None else ARMED_AT + AFTER_ARMING[age]
    return ladder.counts(ARMED_AT, before, done, read_at), ladder.is_last(done)


@cache
def doubted(forgotten: bool, other_cluster: bool, has_witness: bool, others_armed: bool) -> str | None:
    """Why nothing is armed in this database, or None. A host without a witness waits to see whether others live."""
    stored = doubts.Identity(system_identifier="0")
    actual = doubts.Identity(system_identifier="1") if other_cluster else stored
    seen = doubts.Seen(
        epoch="epoch",
        past_epochs=frozenset(),
        stored=stored,
        actual=actual,
        witness_epochs=frozenset({"epoch"} if has_witness else ()),
        forgotten=("MARKER",) if forgotten else (),
        host_admitted=True if has_witness else None,
    )
    judgement = doubts.judge(seen)
    if judgement.step is doubts.Step.GO_ON:
        return None
    if judgement.step is doubts.Step.INTRODUCE:
        outcome = doubts.admission(
            first_seen_at=ARMED_AT,
            others_last_seen_at=ARMED_AT if others_armed else None,
            others_armed=others_armed,
            now=ARMED_AT + doubts.WATCH_FOR,
        )
        return None if outcome is doubts.Admission.ADMIT else doubts.Doubt.HOST_UNKNOWN.value
    return str(judgement.doubt)


@cache
def may_be_lifted(ripe: bool, unread: int) -> bool:
    now = doubts.complete_from(ARMED_AT, LAG) if ripe else ARMED_AT
    return not doubts.why_not_lifted(quarantined_at=ARMED_AT, lag=LAG, unread=unread, now=now)


@cache
def clock_is_off(days: int) -> bool:
    """Whether the database's clock, so many days ahead, is known to be off."""
    started = clocks.Span(ARMED_AT, ARMED_AT)
    off = timedelta(days=days)
    refused_for, _ = clocks.judge(
        database=clocks.Span(ARMED_AT + off, ARMED_AT + off),
        reading=clocks.Reading(started, UP),
        breaker=clocks.Breaker(),
        uptime=UP,
        tolerance=timedelta(seconds=10),
        no_older_than=None,
    )
    return refused_for is not None


@cache
def waits_for_a_card(attempts: tuple[str, ...], held: bool, due: bool) -> bool:
    """Whether the unpaid first invoice is tried again only with another card, or because somebody wants it."""
    states = [AttemptState(state) for state in attempts]
    return waits(states, held=held, next_attempt_at=ARMED_AT if due else None, refusal=None)


@cache
def may_expire(
    attempts: tuple[str, ...],
    *,
    stopped: bool,
    held: bool,
    card_held: bool,
    lists_may_lag: bool,
    read: bool,
    due: bool,
    card_refused: bool,
) -> bool:
    """Whether the subscription, whose time has passed, expires unpaid. `read`: its cards were read after all that its
    last attempt did could be seen."""
    look_from_at = ARMED_AT + LAG if lists_may_lag else ARMED_AT
    unpaid = Unpaid(
        ends_at=ARMED_AT,
        account_stopped=stopped,
        attempts=[AttemptState(state) for state in attempts],
        held=held,
        card_held=card_held,
        look_from_at=look_from_at,
        preflight_at=look_from_at if read else None,
        next_attempt_at=ARMED_AT if due else None,
        refusal=Refusal.CARD_NOT_ACTIVE if card_refused else None,
    )
    return wait_of(unpaid, ARMED_AT) is None
