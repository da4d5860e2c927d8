"""Which policy an invoice has, and the grace after its last try."""

from tests.mutation.edits import drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

BULK = "billing/models/bulk/dunning.py"
GRACE = "billing/charging/collecting/grace.py"
DECLINE = "billing/charging/attempts/decline.py"
TEST = "tests/charging/test_dunning_policies.py"

MUTATIONS: list[Mutation] = [
    *each(
        "policy",
        BULK,
        {
            "an invoice keeps that of its first decline": never("_Chosen.id", "self.kept_id is not None"),
            "a share gets the second": never("_Chosen.id", "gets_second(self.lot_by, self.second_percent)"),
            "a plan's own goes before that of all": swap_sql("policies_of_invoices", "n.plan_code DESC", "n.plan_code"),
            "one-offs have their own": swap_sql(
                "policies_of_invoices", "n.scope = 'one_offs'", "n.scope = 'subscriptions'"
            ),
            "another plan's is not taken": swap_sql(
                "policies_of_invoices", "n.scope = 'plan' AND n.plan_code = p.code", "n.scope = 'plan'"
            ),
            "is of the account": drop_sql("policies_of_invoices", "n.account_id = i.account_id"),
        },
        TEST,
        "policy",
    ),
    one(
        "policy: the first decline's is written down",
        "billing/charging/attempts/changes.py",
        drop("policy_of", "invoice.dunning_policy_id = in_force.id"),
        TEST,
        "keeps_the_policy",
    ),
    *each(
        "grace: ends",
        GRACE,
        {
            "only while it is open": drop("_is_over", "row.state == InvoiceState.OPEN"),
            "not before its time": drop("_is_over", "row.grace_ends_at <= now"),
            "not while a try is planned": drop("_is_over", "row.next_attempt_at is None"),
            "not while a person decides": drop("_is_over", "row.hold is None"),
            "not while a try is under way": drop("_is_over", "not any(...)"),
            "not while somebody may be paying on a page": drop("_is_over", "not arming.invoices_being_paid([row.id])"),
            "not in an account that was stopped": swap(
                "_end_if_over", "arming.lock_account(invoice.account_id).stopped", "False"
            ),
        },
        TEST,
        "found_too_late",
    ),
    one(
        "grace: begins with the last decline",
        DECLINE,
        swap("_go_on", "step.at if isinstance(step, WaitUntil) else None", "None"),
        TEST,
        "final_action",
    ),
    one("grace: is over once", DECLINE, drop("give_up", "invoice.grace_ends_at = None"), TEST, "final_action"),
    one(
        "grace: a try that leaves ends it",
        "billing/models/bulk/arming.py",
        drop_sql("insert_attempts", "grace_ends_at = NULL"),
        TEST,
        "under_way",
    ),
    one(
        "grace: a new card is charged in it",
        "billing/models/bulk/waking.py",
        swap_sql("wake_for_another_card", "i.grace_ends_at IS NOT NULL", "false"),
        TEST,
        "new_card",
    ),
    one(
        "grace: a rejected proposal charges nobody",
        "billing/charging/cases/ways_out.py",
        swap("reject_closing", "invoice.grace_ends_at is not None", "False"),
        TEST,
        "rejected",
    ),
]
