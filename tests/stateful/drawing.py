"""What is drawn for a step, and which steps belong to which examples."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition

from rm_gateway.simulator.outcomes import OUTCOMES, OUTCOMES_OF_REFUNDS

# Those take as long as the deadline, or many megabytes; they come to the same as a lost answer.
SLOW = {"hangs_after", "hangs_before", "trickles_body", "trickles_headers", "huge"}
FATES = sorted(set(OUTCOMES) - SLOW)
FATES_OF_REFUNDS = sorted(set(OUTCOMES_OF_REFUNDS) - SLOW - {"deep"})

picks = st.integers(0, 9)
workers = st.integers(0, 1)
# The ones in which our books and the gateway's part ways, more often than others.
PARTING = [
    "lost_after",
    "dropped_before",
    "in_process_success",
    "in_process_failed",
    "system_error_after",
    "failed_then_success",
    "success_then_reversed",
    "decline_9010",
    "throttled",
    "wrong_amount",
]
fates = st.lists(st.sampled_from(PARTING) | st.sampled_from(FATES), min_size=1, max_size=3)
fates_of_refunds = st.sampled_from(["auto", "auto", "lost_after", "dropped_before"]) | st.sampled_from(FATES_OF_REFUNDS)
amounts = st.sampled_from([500, None, 1000, None, 500, 1, 1990])  # sen to give back; None: all that is left
ends = st.sampled_from(["settle", "settle", "settle", "keep", "die", "unacknowledged"])
USUAL_LAG, LONGEST_DELAY = 3600, 172_800
delays = st.sampled_from([0, 0, 60, 1800, LONGEST_DELAY])  # seconds until an order shows in its card's list
changes = st.sampled_from([5, 600, 86_400, 345_600])  # seconds until an outcome with a second thought takes it
moments = st.sampled_from(
    [timedelta(seconds=s) for s in (1, 5, 19, 30)]
    + [timedelta(minutes=m) for m in (2, 6, 16)]
    + [timedelta(hours=h) for h in (1, 7)]
    + [timedelta(days=d) for d in (1, 3, 4)]
)
spans = st.sampled_from([timedelta(hours=1), timedelta(hours=6), timedelta(days=3)])

TOPICS = ("portal", "outage", "notify", "cards", "life", "stop", "mind", "urgent")
REFUNDS = "refunds"  # money is given back
PEOPLE = "people"  # what one person decides waits for another
FIRST_PAYMENT = "first payment"  # a subscription is active once its first charge is paid, or expires
DISASTERS = "disasters"  # the database forgets, is copied, its clock steps; and the gateway lies
# How far the database's clock steps.
steps = st.sampled_from(
    [timedelta(days=40), timedelta(hours=3), timedelta(seconds=90), -timedelta(hours=3), -timedelta(days=4)]
)
KINDS: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {  # what every example is about, and what it may be about
    "charges": (frozenset({FIRST_PAYMENT}), TOPICS),
    "refunds": (frozenset({REFUNDS}), (*TOPICS, PEOPLE)),
    "people": (frozenset({PEOPLE}), (*TOPICS, REFUNDS)),
    # Not what a person does at the gateway's portal, nor a card that only a forgotten database knew.
    "disasters": (frozenset({DISASTERS, FIRST_PAYMENT}), ("outage", "notify", "life", "stop", "mind", "urgent")),
}


def about(topic: str) -> Any:
    """A rule that is tried only in examples about `topic`."""
    return precondition(lambda self: topic in self.topics)
