"""How often a card that declines is tried: our limits, the networks', and what ends them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.card_limits import (
    A_MONTH,
    CAPS,
    UNKNOWN_A_MONTH,
    DeclinedTry,
    Held,
    Limit,
    Network,
    Standing,
    network_of,
    standing,
    why_held,
)
from billing.domain.declines import DeclineKind

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
S, H, U = DeclineKind.SOFT, DeclineKind.HARD, DeclineKind.UNKNOWN


def tried(kind: DeclineKind, *days: float, own: bool = True) -> list[DeclinedTry]:
    return [DeclinedTry(NOON + day * DAY, "43" if kind is H else "51", kind, own) for day in days]


@pytest.mark.parametrize(
    ("label", "network"),
    [
        ("411111****1111", Network.VISA),
        ("555555****4444", Network.MASTERCARD),
        ("510000****0000", Network.MASTERCARD),
        ("559999****0000", Network.MASTERCARD),
        ("222100****0000", Network.MASTERCARD),
        ("272099****0000", Network.MASTERCARD),
        ("222099****0000", Network.OTHER),
        ("272100****0000", Network.OTHER),
        ("378282****0005", Network.OTHER),
        ("500000****0000", Network.OTHER),
        ("560000****0000", Network.OTHER),
        ("****1111", Network.OTHER),
        ("", Network.OTHER),
    ],
)
def test_the_network_is_told_by_the_first_digits(label: str, network: Network) -> None:
    assert network_of(label) is network


def test_a_decline_lets_the_card_rest_for_a_day() -> None:
    assert standing(tried(S, 0), paid_at=None, network=Network.VISA) == Standing(
        rests_until=NOON + DAY, declined_at=NOON
    )


@pytest.mark.parametrize(("kind", "most"), [(S, 8), (U, 4)])
def test_so_many_declines_use_up_a_month(kind: DeclineKind, most: int) -> None:
    before = standing(tried(kind, *range(most - 1)), paid_at=None, network=Network.VISA)
    assert before.rests_until == NOON + (most - 2) * DAY + DAY
    full = standing(tried(kind, *range(most)), paid_at=None, network=Network.VISA)
    assert full.rests_until == NOON + 30 * DAY


def test_soft_declines_do_not_count_against_those_without_a_reason() -> None:
    mixed = tried(S, 0, 1, 2, 3) + tried(U, 4, 5, 6)
    assert standing(mixed, paid_at=None, network=Network.VISA).rests_until == NOON + 7 * DAY


def test_a_payment_wipes_our_count_and_not_the_networks() -> None:
    declines = tried(S, *(hour / 24 for hour in range(10)))
    found = standing(declines, paid_at=NOON + 12 * HOUR, network=Network.MASTERCARD)
    assert (found.rests_until, found.capped_until) == (None, NOON + DAY)


def test_a_hard_decline_freezes_until_the_bank_approves() -> None:
    assert standing(tried(H, 0), paid_at=None, network=Network.VISA).frozen_by == "43"
    assert standing(tried(H, 0) + tried(S, 1), paid_at=None, network=Network.VISA).frozen_by == "43"
    assert standing(tried(H, 0), paid_at=NOON - HOUR, network=Network.VISA).frozen_by == "43"
    assert standing(tried(H, 0), paid_at=NOON + HOUR, network=Network.VISA).frozen_by is None


def test_an_earlier_copy_of_the_card_counts_for_the_network_alone() -> None:
    copies = tried(H, 0, own=False) + tried(S, *(hour / 24 for hour in range(1, 10)), own=False)
    found = standing(copies, paid_at=None, network=Network.MASTERCARD)
    assert (found.frozen_by, found.rests_until, found.capped_until) == (None, None, NOON + DAY)


@pytest.mark.parametrize(
    ("network", "tries", "span"),
    [
        (Network.VISA, 20, 30 * DAY),
        (Network.MASTERCARD, 10, DAY),
        (Network.MASTERCARD, 35, 30 * DAY),
        (Network.OTHER, 10, DAY),
        (Network.OTHER, 20, 30 * DAY),
    ],
)
def test_networks_cap_tries_as_they_publish(network: Network, tries: int, span: timedelta) -> None:
    apart = span / (tries + 1)
    at = [NOON + n * apart for n in range(tries)]

    def capped_until(count: int) -> datetime | None:
        found = [DeclinedTry(moment, "51", S) for moment in at[:count]]
        return standing(found, paid_at=NOON + 90 * DAY, network=network).capped_until

    assert capped_until(tries) == NOON + span
    before = capped_until(tries - 1)
    assert before is None or before < at[tries - 1], "one less is not capped any more when the last one is made"


instants = st.lists(st.integers(0, 90 * 24 * 60), max_size=60).map(
    lambda minutes: [NOON + timedelta(minutes=minute) for minute in minutes]
)
limits = st.builds(Limit, tries=st.integers(1, 10), span=st.integers(1, 40).map(lambda days: days * DAY))


@given(limit=limits, moments=instants)
def test_from_when_a_limit_allows_another_no_span_holds_more(limit: Limit, moments: list[datetime]) -> None:
    """Tried as soon as it is allowed, again and again, no span of the limit's length holds more tries than it says."""
    tries: list[datetime] = []
    for moment in sorted(moments):
        allowed = limit.allows_from(tries)
        if allowed is None or moment >= allowed:
            tries.append(moment)
    for first in tries:
        assert sum(first <= other < first + limit.span for other in tries) <= limit.tries


@given(moments=instants, kinds=st.lists(st.sampled_from(list(DeclineKind)), min_size=60, max_size=60))
def test_whoever_obeys_stays_below_every_network(moments: list[datetime], kinds: list[DeclineKind]) -> None:
    done: list[DeclinedTry] = []
    for moment, kind in zip(sorted(moments), kinds, strict=False):
        found = standing(done, paid_at=None, network=Network.OTHER)
        if why_held(found, asked_for=False, now=moment) is None:
            done.append(DeclinedTry(moment, "x", kind))
    for first in done:
        within = [one for one in done if first.at <= one.at < first.at + 30 * DAY]
        assert len(within) <= A_MONTH.tries < min(cap.tries for caps in CAPS.values() for cap in caps)
        assert sum(one.kind is U for one in within) <= UNKNOWN_A_MONTH.tries
    assert all(one.kind is not H for one in done[:-1]), "nothing is tried after a hard decline"


def test_our_limits_give_way_to_somebody_who_asks_and_the_networks_do_not() -> None:
    later = NOON + HOUR
    assert why_held(Standing(None, later, None), asked_for=False, now=NOON) == (Held.RESTS, later)
    assert why_held(Standing(None, later, None), asked_for=True, now=NOON) is None
    assert why_held(Standing(None, None, later), asked_for=True, now=NOON) == (Held.RESTS, later)
    assert why_held(Standing("43", None, None), asked_for=True, now=NOON) == (Held.FROZEN, NOON)


@pytest.mark.parametrize(
    ("until", "held"),
    [(NOON, None), (NOON + HOUR, Held.RESTS), (NOON + DAY, Held.RESTS), (NOON + DAY + HOUR, Held.USED_UP)],
)
def test_a_try_waits_a_day_at_most_and_is_avoided_otherwise(until: datetime, held: Held | None) -> None:
    found = why_held(Standing(None, until, None), asked_for=False, now=NOON)
    assert (found and found[0]) is held


def test_decline_that_is_still_to_come_forbids_nothing_but_by_what_the_bank_said() -> None:
    """The clock was ahead when it was made, and was set back since."""
    ahead = standing(tried(S, 40), paid_at=None, network=Network.VISA)
    assert ahead.rests_until == NOON + 41 * DAY
    assert why_held(ahead, asked_for=False, now=NOON) is None
    assert why_held(ahead, asked_for=False, now=NOON + 40 * DAY) == (Held.RESTS, NOON + 41 * DAY)
    stolen = standing(tried(H, 40), paid_at=None, network=Network.VISA)
    assert why_held(stolen, asked_for=False, now=NOON) == (Held.FROZEN, NOON)
