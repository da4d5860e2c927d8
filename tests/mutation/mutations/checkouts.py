"""The guards of payment pages: one page an invoice, no charge beside it, and only evidence makes money."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Mutation, each, one

DOMAIN = "billing/domain/checkouts.py"
ARMING = "billing/domain/arming.py"
ARM_SQL = "billing/models/bulk/arming.py"
OPEN = "billing/charging/checkouts/open.py"
LOOK = "billing/charging/checkouts/look.py"
PAYMENTS = "billing/charging/reading/page_payments.py"
REPORTS = "billing/charging/reading/report_days.py"
EXPIRE = "billing/charging/collecting/expire.py"
FIRST = "billing/domain/first_payment.py"
RETURN = "billing/callbacks/checkout_return.py"

TEST = "tests/charging/test_checkouts.py"
TEST_DOMAIN = "tests/domain/test_checkouts.py"
TEST_ARMING = "tests/domain/test_arming.py"
TEST_RETURN = "tests/callbacks/test_checkout_return.py"

_OPEN = [
    one(
        "checkout: no page beside a charge that may have the money",
        DOMAIN,
        never("refuse_opening", "state in HOLDS_PLACE"),
        TEST_DOMAIN,
        "beside_a_charge",
    ),
    one(
        "checkout: none for what is not owed",
        DOMAIN,
        never("refuse_opening", "facts.invoice_state not in CLOSABLE"),
        TEST_DOMAIN,
        "what_is_owed",
    ),
    one(
        "checkout: none while charging is stopped",
        DOMAIN,
        never("refuse_opening", "facts.account_stopped"),
        TEST_DOMAIN,
        "each_fact",
    ),
    one(
        "checkout: none while lists may lag",
        DOMAIN,
        swap(
            "refuse_opening",
            "lists_lag = facts.look_from_at is not None and facts.look_from_at > now",
            "lists_lag = False",
        ),
        TEST_DOMAIN,
        "each_fact",
    ),
    one(
        "checkout: a page that was closed meanwhile is shown to nobody",
        OPEN,
        never("_hand_out", "fresh.state != CheckoutState.CREATING"),
        TEST,
        "shown_to_nobody",
    ),
    one(
        "checkout: an old page is looked at before another one",
        OPEN,
        never("_usable", "look_now(...) is CheckoutState.PAID"),
        TEST,
        "not_paid_again",
    ),
    one(
        "checkout: a page that ends soon is not handed out again",
        OPEN,
        drop("_usable", "now < row.expires_at - LEAST_LEFT"),
        TEST,
        "not_paid_again or another_one_is_made",
    ),
    one(
        "checkout: nothing is opened in a database that is not recognised",
        OPEN,
        swap("_put_on_record", "permission.ask_permission(write, ...)", "permission.Permitted(write().what)"),
        TEST,
        "has_forgotten",
    ),
]
_EXCLUDE = [
    one(
        "checkout: no card is charged while a page is open",
        ARMING,
        drop("refusal", "(facts.checkout_open, Refusal.CHECKOUT_OPEN)"),
        TEST_ARMING,
        "each_reason",
    ),
    one(
        "checkout: a page is seen after the locks",
        ARM_SQL,
        swap("lock_invoices", "checkout_open=invoice.id in paying", "checkout_open=False"),
        TEST,
        "may_be_being_paid",
    ),
    one(
        "checkout: nothing expires while a page is open",
        FIRST,
        drop("why_not_expired", "(unpaid.checkout_open, Wait.CHECKOUT_OPEN)"),
        TEST,
        "does_not_expire",
    ),
    one(
        "checkout: what waited for a page is woken",
        LOOK,
        never("close", "checkouts.wake(...)"),
        TEST,
        "is_charged_on_its_card",
    ),
]
_END = [
    one(
        "checkout: a payment under way keeps the card waiting",
        DOMAIN,
        never("is_over", "shown not in (Shown.NOTHING, Shown.FAILED)"),
        TEST_DOMAIN,
        "after_a_day_alone",
    ),
    one(
        "checkout: a card does not wait longer than a day",
        DOMAIN,
        drop("is_over", "if read_at >= excludes_until:"),
        TEST_DOMAIN,
        "after_a_day_alone",
    ),
    one(
        "checkout: a page ends by its time", DOMAIN, drop("is_over", "read_at >= ends"), TEST_DOMAIN, "ends_by_its_time"
    ),
    one(
        "checkout: who pressed at the last moment has time",
        DOMAIN,
        swap("is_over", "expires_at + GRACE", "expires_at"),
        TEST_DOMAIN,
        "ends_by_its_time",
    ),
]
_MONEY = [
    *each(
        "checkout: a payment is compared with what was asked for",
        PAYMENTS,
        {
            "its amount and currency": swap(
                "differs", "(seen.amount_minor, seen.currency) != (checkout.amount_minor, checkout.currency)", "False"
            ),
        },
        TEST,
        "another_amount",
    ),
    one(
        "checkout: only a success is money",
        PAYMENTS,
        drop("record_payment", "_finding(checkout, checkout.marker, read).verdict is not Verdict.PAID"),
        TEST,
        "confirms_later",
    ),
    one(
        "checkout: a payment is written down once",
        PAYMENTS,
        always("record_payment", "attempt is None"),
        TEST,
        "recorded_once",
    ),
    one(
        "checkout: where the place is taken it is not born sending",
        PAYMENTS,
        swap("_insert", "AttemptState.SENDING if has_room else AttemptState.NOT_CHARGED", "AttemptState.SENDING"),
        TEST,
        "late_payment_of_a_closed",
    ),
    one(
        "checkout: two payments on one page are two",
        PAYMENTS,
        swap("_insert", "checkout.marker if is_first else new_marker()", "checkout.marker"),
        TEST,
        "second_payment",
    ),
    one(
        "checkout: a payment of a page is explained",
        REPORTS,
        swap(
            "record",
            "unexplained_payments(account_id, transactions, owners, pages)",
            "unexplained_payments(account_id, transactions, owners)",
        ),
        TEST,
        "when_nobody_looks",
    ),
    one(
        "checkout: the browser's claim decides nothing",
        RETURN,
        swap("_ask", "return look_now(...)", "return CheckoutState.PAID"),
        TEST_RETURN,
        "is_not_believed",
    ),
]

MUTATIONS: list[Mutation] = [*_OPEN, *_EXCLUDE, *_END, *_MONEY]
