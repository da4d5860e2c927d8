"""What is charged sooner than planned because its card is there or free, and what is not."""

from tests.mutation.edits import always_sql, drop, drop_sql, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

SQL = "billing/models/bulk/waking.py"
WAKING = "billing/subscriptions/waking.py"
TEST = "tests/charging/test_waking.py"

MUTATIONS: list[Mutation] = [
    *each(
        "wake: a card that is free",
        SQL,
        {
            "wakes what waited for it": always_sql("wake_refused", "i.refusal = ANY(%(refusals)s)"),
            "wakes what is charged on it": always_sql("wake_refused", "c.id = ANY(%(cards)s)"),
            "brings nothing nearer than the gateway's lists": drop_sql("wake_refused", "look_from_at,"),
            "waits for nobody": drop_sql("wake_refused", "SKIP LOCKED"),
        },
        TEST,
    ),
    *each(
        "wake: another card",
        SQL,
        {
            "is charged when it is active": always_sql("wake_for_another_card", "c.state = 'active'"),
            "is charged where it was not tried": always_sql("wake_for_another_card", "a.payment_method_id = c.id"),
            "is charged for what was declined": swap_sql("wake_for_another_card", "i.tries > 0", "false"),
            "is charged for what was refused": swap_sql(
                "wake_for_another_card", "i.refusal = ANY(%(refusals)s)", "%(refusals)s IS NULL"
            ),
            "is charged for its customer": always_sql("wake_for_another_card", "i.customer_id = %(customer)s"),
            "brings nothing nearer than the gateway's lists": drop_sql("wake_for_another_card", "look_from_at,"),
            "makes older readings of the cards worthless": drop_sql(
                "wake_for_another_card", "lease_token = lease_token + 1,"
            ),
        },
        TEST,
    ),
    one(
        "wake: an attempt that settles frees its card",
        "billing/charging/attempts/consequences.py",
        drop("write", "wake(..., Refusal.CARD_HAS_UNRESOLVED_ATTEMPT, now=self._now)"),
        TEST,
        "three_one_offs",
    ),
    one(
        "wake: it leaves a line of history",
        WAKING,
        drop("charge_on_another_card", "record_transitions(moves, actor=actor, now=now)"),
        TEST,
        "new_default",
    ),
    one(
        "wake: a try before its day uses up none",
        "billing/domain/dunning.py",
        swap("ladder", "policy.retry_days", "policy.retry_days[1:]"),
        "tests/domain/test_dunning.py",
    ),
]
