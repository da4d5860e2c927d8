"""How fast an account may charge, and when it pauses: pure decisions, a gateway that fails played against them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.attempts import Finding, Source, Verdict
from billing.domain.manifests import History, Manifest, abnormal, price_jumped
from billing.domain.outcomes import Fault, Outcomes, fault_of
from billing.domain.pacing import (
    CANARY,
    LET_RUN_FOR,
    MOST_PAUSE,
    PAUSES,
    RUN_OVER,
    SETUP_PAUSES,
    Grant,
    Pace,
    PaceState,
    Share,
    Terms,
    held,
    learn,
    let_run,
    take,
)

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
TERMS = Terms(share_lasts=timedelta(seconds=130))
PAID = Finding(Verdict.PAID, Source.ANSWER, amount_minor=1990, currency="MYR")
DECLINED = Finding(Verdict.DECLINED, Source.ANSWER)
BAD_GATEWAY = Finding(Verdict.UNCLEAR, Source.ANSWER, kind="answer", reason="answer")
REFUSED = Finding(Verdict.NOT_SENT, Source.ANSWER, kind="connect", reason="connect")
SIGNATURE = Finding(Verdict.NOT_SENT, Source.ANSWER, kind="signature", reason="INVALID_SIGNATURE")
INVALID = Finding(Verdict.NOT_SENT, Source.ANSWER, kind="validation", reason="VALIDATION_ERROR")


def ask(
    pace: Pace,
    *,
    wanted: int = 64,
    in_flight: int = 0,
    worker: str = "a",
    terms: Terms = TERMS,
    now: datetime = NOW,
    may_probe: bool = True,
) -> tuple[Pace, Grant]:
    return take(pace, worker=worker, in_flight=in_flight, wanted=wanted, may_probe=may_probe, terms=terms, now=now)


def after(pace: Pace, *findings: Finding, now: datetime = NOW, **told: bool) -> Pace:
    outcomes = Outcomes(**told)  # type: ignore[arg-type]
    for finding in findings:
        outcomes.add(finding)
    return learn(pace, outcomes, terms=TERMS, now=now)


RUNNING = Pace(last_charge_at=NOW)


def test_a_run_begins_small_and_grows_with_charges_that_end_well() -> None:
    pace, grant = ask(Pace(allowance=500))
    assert (grant.permits, grant.begins) == (CANARY, True)
    rounds = []
    for _ in range(4):
        pace = after(pace, *[PAID] * grant.permits)
        pace, grant = ask(pace)
        rounds.append(grant.permits)
    assert rounds == [16, 64, 64, 64]
    assert not grant.begins


def test_after_a_rest_the_next_run_begins_small_again() -> None:
    grown = replace(RUNNING, allowance=500)
    assert ask(grown, now=NOW + RUN_OVER - timedelta(seconds=1))[1].permits == 64
    assert ask(grown, now=NOW + RUN_OVER)[1].permits == CANARY
    assert ask(grown, now=NOW + RUN_OVER, in_flight=1)[1].permits == 64, "a slow charge is no rest"


def test_permits_that_nobody_uses_are_no_charges() -> None:
    """An invoice behind an open case is looked at again every minute."""
    pace, now = replace(RUNNING, allowance=500, tried=1000), NOW
    for _ in range(10):
        now += timedelta(minutes=1)
        pace, grant = ask(pace, now=now)
        assert grant.permits
        pace, _ = ask(pace, wanted=0, now=now)
    pace, grant = ask(pace, now=now)
    assert (grant.permits, pace.tried) == (CANARY, 0)


def test_an_outcome_says_that_something_was_charged() -> None:
    charged = after(replace(RUNNING, allowance=500), PAID, now=NOW + RUN_OVER - timedelta(seconds=1))
    assert not ask(charged, now=NOW + RUN_OVER)[1].begins


def test_declines_neither_break_nor_grow() -> None:
    pace = after(RUNNING, *[DECLINED] * 10)
    assert (pace.state, pace.allowance) == (PaceState.CLOSED, CANARY)


def test_the_allowance_is_that_of_all_workers_together() -> None:
    pace, grant = ask(replace(RUNNING, allowance=10), worker="a")
    assert grant.permits == 10
    assert ask(pace, worker="b")[1].permits == 0


def test_an_account_has_no_more_in_flight_than_its_own_limit() -> None:
    assert ask(replace(RUNNING, allowance=10), terms=replace(TERMS, most=3))[1].permits == 3


@given(st.data())
def test_workers_in_flight_never_exceed_the_allowance(data: st.DataObject) -> None:
    allowance = data.draw(st.integers(1, 100))
    most = data.draw(st.none() | st.integers(1, 50))
    terms = replace(TERMS, most=most)
    pace = replace(RUNNING, allowance=allowance)
    in_flight = dict.fromkeys("abc", 0)
    now = NOW
    for _ in range(data.draw(st.integers(1, 20))):
        now += timedelta(seconds=data.draw(st.integers(0, 5)))
        worker = data.draw(st.sampled_from("abc"))
        in_flight[worker] -= data.draw(st.integers(0, in_flight[worker]))
        pace, grant = ask(
            pace, worker=worker, in_flight=in_flight[worker], wanted=data.draw(st.integers(0, 64)), terms=terms, now=now
        )
        in_flight[worker] += grant.permits
        assert sum(in_flight.values()) <= min(allowance, most or allowance)


def test_share_of_a_lost_worker_is_returned_when_it_expires() -> None:
    pace = replace(RUNNING, shares={"gone": Share(CANARY, NOW + TERMS.share_lasts)})
    assert ask(pace)[1].permits == 0
    assert ask(pace, now=NOW + TERMS.share_lasts)[1].permits == CANARY
    assert ask(pace, now=NOW - timedelta(days=40))[1].permits == CANARY, "a share of a clock that was set back"


# --- the breaker --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [BAD_GATEWAY, REFUSED])
def test_the_canary_that_fails_pauses_the_account(bad: Finding) -> None:
    pace, grant = ask(Pace())
    pace = after(pace, *[bad] * grant.permits)
    assert (pace.state, pace.retry_at) == (PaceState.OPEN, NOW + PAUSES[0])
    assert bad.reason in pace.reason
    assert ask(pace)[1] == Grant()


def test_one_unknown_outcome_among_many_pauses_nothing() -> None:
    pace = after(replace(RUNNING, allowance=64, good=30), BAD_GATEWAY, *[PAID] * 9)
    assert (pace.state, pace.allowance) == (PaceState.CLOSED, 32)


def test_account_that_charges_fast_breaks_after_three_in_a_row() -> None:
    pace = replace(RUNNING, allowance=64, good=40)
    pace = after(pace, BAD_GATEWAY, BAD_GATEWAY)
    assert pace.state is PaceState.CLOSED
    assert after(pace, PAID, BAD_GATEWAY).state is PaceState.CLOSED
    assert after(pace, BAD_GATEWAY).state is PaceState.OPEN


def test_third_of_all_outcomes_unresolved_is_too_many() -> None:
    pace = RUNNING
    for _ in range(3):
        pace = after(pace, BAD_GATEWAY, PAID)
    assert pace.state is PaceState.OPEN


def test_one_worker_reads_before_one_charge_leaves() -> None:
    pace = after(RUNNING, *[BAD_GATEWAY] * 3)
    later = NOW + PAUSES[0]
    assert not ask(pace, now=later, may_probe=False)[1].probe
    assert ask(ask(pace, now=later, may_probe=False)[0], now=later)[1].probe
    pace, grant = ask(pace, now=later)
    assert (grant.probe, grant.permits) == (True, 0)
    assert not ask(pace, worker="b", now=later)[1].probe, "one probe at a time"
    pace = after(pace, probe_succeeded=True, now=later)
    pace, grant = ask(pace, now=later)
    assert (pace.state, grant.permits) == (PaceState.HALF_OPEN, 1)
    assert ask(pace, worker="b", now=later)[1].permits == 0
    pace = after(pace, PAID, now=later)
    assert (pace.state, pace.allowance, pace.reason) == (PaceState.CLOSED, CANARY, "")


def test_each_pause_is_longer_until_the_gateway_stays_well() -> None:
    pace, now, seen = after(RUNNING, *[BAD_GATEWAY] * 3), NOW, []
    for _ in range(6):
        assert pace.retry_at is not None
        seen.append(pace.retry_at - now)
        now = pace.retry_at
        pace = after(pace, probe_succeeded=False, now=now)
    assert seen == [*PAUSES, PAUSES[-1]]
    pace = after(after(pace, probe_succeeded=True, now=now), PAID, now=now)
    again = after(pace, *[BAD_GATEWAY] * 3, now=now)
    assert again.retry_at == now + PAUSES[-1]
    well = after(pace, *[PAID] * 10, now=now)
    assert after(well, *[BAD_GATEWAY] * 3, now=now).retry_at == now + PAUSES[0]


def test_outcomes_of_before_the_pause_do_not_change_it() -> None:
    pace = after(RUNNING, *[BAD_GATEWAY] * 3)
    for late in ([PAID] * 5, [BAD_GATEWAY] * 5):
        changed = after(pace, *late, now=NOW + timedelta(seconds=1))
        assert (changed.state, changed.retry_at, changed.openings) == (pace.state, pace.retry_at, pace.openings)


def test_an_hour_of_bad_answers_costs_a_handful_of_charges() -> None:
    """Reads work, charges answer 502; then all is well. 500 are due."""
    pace, now, doubtful, due = Pace(), NOW, 0, 500
    while due:
        pace, grant = ask(pace, now=now)
        broken = now < NOW + timedelta(hours=1)
        if grant.probe:
            pace = after(pace, probe_succeeded=True, now=now)
        elif grant.permits:
            count = min(grant.permits, due)
            due -= count
            doubtful += count if broken else 0
            pace = after(pace, *[BAD_GATEWAY if broken else PAID] * count, now=now)
        now += timedelta(seconds=1)
        assert now < NOW + timedelta(hours=2)
    assert doubtful <= 10
    assert pace.state is PaceState.CLOSED


@pytest.mark.parametrize(
    ("kind", "pauses"),
    [
        ("signature", SETUP_PAUSES),
        ("permission", SETUP_PAUSES),
        ("environment", SETUP_PAUSES),
        ("path", (MOST_PAUSE,) * 3),
    ],
)
def test_a_wrong_set_up_pauses_at_once_and_for_long(kind: str, pauses: tuple[timedelta, ...]) -> None:
    wrong, pace, now = replace(SIGNATURE, kind=kind), RUNNING, NOW
    for pause in pauses:
        pace = after(pace, wrong, now=now)
        assert (pace.state, pace.retry_at) == (PaceState.OPEN, now + pause)
        now += pause
        pace, grant = ask(pace, now=now)
        assert grant.probe
        pace = after(pace, probe_succeeded=True, now=now)


def test_no_token_pauses_at_once() -> None:
    pace = after(RUNNING, no_token=True)
    assert (pace.state, pace.retry_at) == (PaceState.OPEN, NOW + PAUSES[0])


def test_pause_lasts_as_long_as_the_gateway_asks_up_to_an_hour() -> None:
    throttled = replace(REFUSED, kind="throttled", retry_after_seconds=120)
    assert after(RUNNING, *[throttled] * 3).retry_at == NOW + timedelta(seconds=120)
    forever = replace(throttled, retry_after_seconds=10**6)
    assert after(RUNNING, *[forever] * 3).retry_at == NOW + MOST_PAUSE


def test_a_clock_that_is_set_back_does_not_pause_for_ever() -> None:
    pace = after(RUNNING, *[BAD_GATEWAY] * 3, now=NOW + timedelta(days=40))
    assert ask(pace, now=NOW)[1].probe


def test_finding_about_one_invoice_does_not_affect_the_account() -> None:
    assert after(RUNNING, *[INVALID] * 50).state is PaceState.CLOSED
    half_open = replace(RUNNING, state=PaceState.HALF_OPEN, reason="away")
    assert after(half_open, INVALID).state is PaceState.CLOSED, "the gateway answers"


def test_charge_this_process_did_not_send_changes_nothing() -> None:
    late, no_sender = replace(REFUSED, kind="expired"), replace(REFUSED, kind="no_sender")
    unsent = late, no_sender, Finding(Verdict.NOT_SENT, Source.COMMIT_UNACKNOWLEDGED)
    assert after(RUNNING, *unsent * 20) == RUNNING


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_classified(verdict: Verdict) -> None:
    assert fault_of(Finding(verdict, Source.ANSWER)) in Fault


# --- people -------------------------------------------------------------------------------------------------


def test_run_of_declines_waits_until_it_is_let_run() -> None:
    pace = after(RUNNING, *[DECLINED] * 19)
    assert pace.state is PaceState.CLOSED
    pace = after(pace, DECLINED)
    assert (pace.state, pace.kind) == (PaceState.HELD, "declines")
    assert "20 of 20" in pace.reason
    assert ask(pace, now=NOW + timedelta(days=30))[1] == Grant()
    let = let_run(pace, now=NOW)
    assert after(let, *[DECLINED] * 100).state is PaceState.CLOSED
    assert after(let, *[DECLINED] * 100, now=NOW + LET_RUN_FOR).state is PaceState.HELD


def test_account_with_mostly_declined_charges_is_not_held() -> None:
    usual = replace(RUNNING, usually_tried=100, usually_declined=85)
    assert after(usual, *[DECLINED] * 40).state is PaceState.CLOSED
    assert after(replace(usual, usually_declined=5), *[DECLINED] * 40).state is PaceState.HELD


def test_pause_ended_by_staff_starts_with_a_read() -> None:
    pace = let_run(after(RUNNING, SIGNATURE), now=NOW)
    assert ask(pace)[1].probe


@pytest.mark.parametrize(
    ("charges", "sen", "days", "why"),
    [
        (1000, 1000, 7, None),
        (1001, 1000, 7, "1001 charges are due"),
        (1001, 1000, 6, None),
        (900, 200_001, 7, "RM 2,000.01 are due"),
        (200, 10**9, 7, None),
    ],
)
def test_run_far_above_the_accounts_own_history_waits(charges: int, sen: int, days: int, why: str | None) -> None:
    known = History(days, most_charges=100, highest_sums_minor={"MYR": 20_000})
    reason = abnormal(RUNNING, Manifest(charges, {"MYR": sen}, sen), known, NOW)
    assert reason is None if why is None else why in (reason or "")
    let = let_run(held(RUNNING, kind="size", reason="x", now=NOW), now=NOW)
    assert abnormal(let, Manifest(charges, {"MYR": sen}, sen), known, NOW) is None


def test_what_was_charged_today_counts_with_what_is_due() -> None:
    known = History(7, 100, {"MYR": 10**9}, today=900)
    assert abnormal(RUNNING, Manifest(101, {}, 0), known, NOW) is not None


def test_a_price_a_hundred_times_as_high_is_a_slip() -> None:
    assert price_jumped(199_000, 1990)
    assert not price_jumped(198_999, 1990)
    assert not price_jumped(199_000, None)


# --- the rate -----------------------------------------------------------------------------------------------


def test_slots_lie_apart_across_workers() -> None:
    terms, fifth = replace(TERMS, per_second=5), timedelta(milliseconds=200)
    pace, first = ask(replace(RUNNING, allowance=400), wanted=2, worker="a", terms=terms)
    _, second = ask(pace, wanted=2, worker="b", terms=terms)
    slots = [*first.slots, *second.slots]
    assert len(slots) == 4
    assert all(later - earlier >= fifth for earlier, later in pairwise(slots))


@given(st.integers(1, 60), st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 3))
def test_no_second_has_more_charges_than_the_rate(rate: int, steps: list[int], workers: int) -> None:
    terms = replace(TERMS, per_second=rate)
    pace, now, slots = replace(RUNNING, allowance=4000), NOW, []
    for number, step in enumerate(steps):
        pace, grant = ask(pace, wanted=64, worker=str(number % workers), terms=terms, now=now)
        slots += grant.slots
        now += timedelta(milliseconds=step)
    for first, at in enumerate(slots):
        assert sum(at <= other < at + timedelta(seconds=1) for other in slots[first:]) <= rate


@given(st.integers(1, 60))
def test_nearly_the_whole_rate_is_used(rate: int) -> None:
    terms = replace(TERMS, per_second=rate)
    pace, slots = replace(RUNNING, allowance=4000), []
    for tenth in range(300):
        pace, grant = ask(pace, terms=terms, now=NOW + timedelta(milliseconds=100 * tenth))
        slots += grant.slots
    assert len([at for at in slots if at < NOW + timedelta(seconds=30)]) >= 0.9 * rate * 30


def test_a_slot_far_ahead_is_of_a_clock_that_was_set_back() -> None:
    pace = replace(RUNNING, next_slot_at=NOW + timedelta(days=40))
    assert ask(pace, terms=replace(TERMS, per_second=5), wanted=1)[1].slots == (NOW,)
