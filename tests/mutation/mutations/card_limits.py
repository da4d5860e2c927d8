"""The limits of cards that decline, and tries that are not made."""

from tests.mutation.edits import drop, drop_sql, never, swap
from tests.mutation.harness import Mutation, each, one

DOMAIN = "billing/domain/card_limits.py"
ARMING = "billing/domain/arming.py"
ARM = "billing/charging/attempts/arm.py"
AVOID = "billing/charging/attempts/avoid.py"
DECLINE = "billing/charging/attempts/decline.py"
STANDING = "billing/charging/attempts/card_standing.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
SQL = "billing/models/bulk/card_limits.py"
TEST = "tests/charging/test_card_limits.py"
TEST_DOMAIN = "tests/domain/test_card_limits.py"
TEST_RULINGS = "tests/charging/test_decline_rulings.py"

MUTATIONS: list[Mutation] = [
    *each("card limits: a decline counts", DOMAIN, {
        "for a day": drop("standing", "A_DAY.allows_from(times)"),
        "for a month": drop("standing", "A_MONTH.allows_from(times)"),
        "for a month without a reason": drop("standing", "UNKNOWN_A_MONTH.allows_from(unknown)"),
        "since the last payment": drop("standing", "(paid_at is None or one.at > paid_at)"),
        "on its own card": drop("standing", "one.own"),
    }, TEST_DOMAIN),
    *each("card limits: a try is held", DOMAIN, {
        "on a frozen card": never("why_held", "found.frozen_by is not None"),
        "by our limits": swap("why_held", "None if asked_for else found.rests_until", "None"),
        "not by ours when it is asked for": swap("why_held",
            "None if asked_for else found.rests_until", "found.rests_until"),
        "no longer than it must": drop("why_held", "until <= now"),
        "by no decline that is still to come": never("why_held",
            "found.declined_at is not None and found.declined_at > now"),
    }, TEST_DOMAIN),
    one("card limits: arm asks", ARMING, drop("refusal", "(facts.card_standing.frozen_by is not None, ...)"),
        "tests/domain/test_arming.py", "each_reason"),
    one("card limits: arm reads the card", ARM, swap("_facts", "card.standing if card else Standing()", "Standing()"),
        TEST, "stolen_card"),
    one("card limits: arm reads who asked", ARM, swap("_facts", "invoice.asked_for", "False"), TEST, "asked_for"),
    one("card limits: it waits until its time", ARM, swap("_refused",
        "held[1] if held is not None and held[0] is Held.RESTS else now + LOOK_AGAIN[why]", "now + LOOK_AGAIN[why]"),
        TEST, "waits_for_the_next_day"),
    *each("avoid: only", AVOID, {
        "what is still refused for it": drop("avoid", "refusal__in=FOR_ITS_DECLINES"),
        "what is still due": drop("avoid", "next_attempt_at__isnull=False"),
        "while the card forbids it": drop("avoid", "why is None"),
        "what does not just wait": drop("avoid", "why[0] is Held.RESTS"),
    }, TEST, "avoided"),
    *each("avoid: a try that is not made", DECLINE, {
        "is in the history": drop("after_avoided", "changes.log(...)"),
        "is written": drop("after_avoided", "changes.touch(invoice)"),
    }, "tests/audit/test_explain.py", "not_made"),
    one("avoid: a try that is not made is counted", DECLINE,
        drop("after_avoided", "invoice.tries_avoided += 1"), TEST, "stolen_card"),
    one("card limits: a wish is used up by the try", DECLINE, drop("after_decline", "invoice.asked_for = False"),
        TEST, "staff_try"),
    *each("card limits: settling decides anew", CONSEQUENCES, {
        "after a decline": drop("_move", "S.DECLINED in (before, to)"),
        "after a payment": drop("_move", "(to in HAS_MONEY and ...)"),
    }, TEST, "frees or stolen"),
    one("card limits: it is in the history", STANDING, drop("recount", "record_transitions(moves, ...)"),
        TEST, "says_so"),
    one("card limits: what waited is woken", STANDING, drop("recount", "wake(freed, refusal, now=now)"), TEST, "wakes"),
    one("card limits: staff come before the table", "billing/domain/declines.py",
        drop("kind_of", "rulings.get(code)"), TEST_RULINGS, "follow"),
    one("card limits: copies of a card are one card", SQL,
        drop_sql("tried", "OR (s.label = c.label AND c.label <> '')"), TEST, "copy"),
    one("card limits: a frozen card is tried for nobody", STANDING,
        never("why_not_tried", "held[0] is Held.FROZEN"), TEST, "staff_try"),
]  # fmt: skip
