"""The guards of first payments: what starts a subscription, and what keeps it from expiring."""

from tests.mutation.harness import Mutation, each, named, one

DOMAIN = "billing/domain/first_payment.py"
BEGIN = "billing/subscriptions/first_payment.py"
SETTLED = "billing/charging/attempts/first_payments.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
EXPIRE = "billing/charging/collecting/expire.py"
WAYS_OUT = "billing/charging/cases/ways_out.py"
RETRY = "billing/charging/cases/retry_now.py"
ACTIVATE = "billing/subscriptions/activate.py"
LIFECYCLE = "billing/subscriptions/lifecycle.py"
OPENING = "billing/models/bulk/opening.py"

TEST_SETTLED = "tests/charging/test_first_payment.py"
TEST_BEGIN = "tests/subscriptions/test_first_payment.py"

_PAID = [
    *each("first payment: it is needed only", DOMAIN, {
        "where something is charged at the start": ("charge_at_start and not trial_days", "not trial_days"),
        "without a trial": ("charge_at_start and not trial_days", "charge_at_start"),
        "where the plan says so": ("activates_on is ActivatesOn.PAYMENT and ", ""),
    }, *named(TEST_BEGIN, "active_at_once")),
    one("first payment: what has begun does not begin again", ACTIVATE,
        "        if subscription.anchor_date is not None:\n", "        if False:\n",
        *named(TEST_BEGIN, "saved_after_a_decline")),
    one("first payment: it starts the subscription", CONSEQUENCES,
        "            if subscription.state == SubscriptionState.INCOMPLETE:\n                self._first",
        "            if False:\n                self._first", *named(TEST_SETTLED, "makes_it_active")),
    one("first payment: the schedule runs from the charge that paid", SETTLED,
        "self._now if attempt.state_reason == Reason.LATE_MONEY else attempt.armed_at", "self._now",
        *named(TEST_SETTLED, "due_since_the_charge")),
    one("first payment: late money starts it when it comes", SETTLED,
        "self._now if attempt.state_reason == Reason.LATE_MONEY else attempt.armed_at", "attempt.armed_at",
        *named(TEST_SETTLED, "late_money_of")),
    one("first payment: a clock that stepped back opens no date twice", BEGIN,
        "max(at, first_due_at) if first_due_at else at", "at", *named(TEST_SETTLED, "stepped_back")),
    one("first payment: the only one leaves nothing due", BEGIN, "None if over else following.due_at",
        "following.due_at", *named(TEST_SETTLED, "only_one")),
    one("first payment: a decline is not retried by the retry days", CONSEQUENCES,
        "        if subscription and subscription.state == SubscriptionState.INCOMPLETE:\n"
        "            self._first_payments.declined(subscription, invoice)\n            return\n", "",
        *named(TEST_SETTLED, "decline_leaves_it")),
    one("first payment: the same card is not tried again by itself", BEGIN,
        "if refusal is Refusal.FIRST_CHARGE_DECLINED and tried and tried[-1][1] == card.pk:", "if False:",
        *named(TEST_BEGIN, "the_same_is_not")),
    one("first payment: no other card while an outcome is open", DOMAIN,
        "return not held and may_be_charged_again(attempts) and", "return not held and", *named(TEST_BEGIN, "outcome_is_open")),
    one("first payment: another card waits for the lists", BEGIN, 'Greatest(F("look_from_at"), now)', "now",
        *named(TEST_BEGIN, "lists_may_show")),
    one("first payment: a person's retry is due", RETRY, "next_attempt_at=now, refusal=None, refused_at=None",
        "next_attempt_at=now", *named(TEST_BEGIN, "tried_again")),
    one("first payment: a rejected proposal charges nobody", WAYS_OUT,
        "waits = before or (tried_at is None and invoice.refusal == Refusal.FIRST_CHARGE_DECLINED)", "waits = before",
        *named(TEST_SETTLED, "rejected")),
    one("first payment: cancelling keeps what may still be paid", BEGIN,
        "if invoice.hold is not None or proposed or not may_be_charged_again(attempts):", "if False:",
        *named(TEST_BEGIN, "may_still_pay")),
    one("first payment: what was cancelled unpaid is not owed", LIFECYCLE, "        if unpaid:\n", "        if False:\n",
        *named(TEST_BEGIN, "never_paid")),
]  # fmt: skip

_EXPIRY = [
    *each("expire: not under the locks", DOMAIN, {
        "before its time": ("(now < unpaid.ends_at, Wait", "(False, Wait"),
        "while an outcome is open": ("(not may_be_charged_again(unpaid.attempts), Wait", "(False, Wait"),
        "while a person decides": ("(unpaid.held, Wait", "(False, Wait"),
        "while its card is held": ("(unpaid.tried_card_held, Wait", "(False, Wait"),
        "while the lists may lag": ("(unpaid.look_from_at is not None and now < unpaid.look_from_at, Wait",
                                    "(False, Wait"),
    }, *named(TEST_SETTLED, "under_the_locks")),
    one("expire: not in an account that is stopped", DOMAIN, "(unpaid.account_stopped, Wait", "(False, Wait",
        *named(TEST_SETTLED, "while_money_may_come and stop_all")),
    one("expire: not before a charge that is due", DOMAIN, "(_is_due(unpaid.next_attempt_at, unpaid.refusal), Wait", "(False, Wait",
        *named(TEST_SETTLED, "under_the_locks")),
    one("expire: not while a proposal waits", EXPIRE, " or open_proposal(invoice) is not None", "",
        *named(TEST_SETTLED, "under_the_locks")),
    one("expire: not in a database that is not recognised", "billing/charging/protocol/permission.py",
        "            confirmed = recognise.confirm()\n", "            confirmed = None\n",
        *named(TEST_SETTLED, "not_recognised")),
    one("expire: not by a wrong clock", EXPIRE, "found.exclude(account__api_url__in=addresses_not_to_open(now))",
        "found.all()", *named(TEST_SETTLED, "may_be_wrong")),
    one("expire: the time begins anew with a decline", OPENING,
        "GREATEST(s.first_payment_ends_at, %s + make_interval(hours => a.first_payment_hours))",
        "GREATEST(s.first_payment_ends_at, %s)", *named(TEST_SETTLED, "decline_leaves_it")),
    one("expire: the subscription ends with its invoice", WAYS_OUT,
        "if state is SubscriptionState.INCOMPLETE and to is InvoiceState.VOID:", "if False:",
        *named(TEST_SETTLED, "time_is_over")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_PAID, *_EXPIRY]
