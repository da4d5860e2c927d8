"""The guards of first payments: what starts a subscription, and what keeps it from expiring."""

from tests.mutation.edits import drop, never, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

DOMAIN = "billing/domain/first_payment.py"
BEGIN = "billing/subscriptions/first_payment.py"
SETTLED = "billing/charging/attempts/first_payments.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
DECLINE = "billing/charging/attempts/decline.py"
EXPIRE = "billing/charging/collecting/expire.py"
WAYS_OUT = "billing/charging/cases/ways_out.py"
RETRY = "billing/charging/cases/retry_now.py"
ACTIVATE = "billing/subscriptions/activate.py"
LIFECYCLE = "billing/subscriptions/lifecycle.py"
OPENING = "billing/models/bulk/opening.py"

TEST_SETTLED = "tests/charging/test_first_payment.py"
TEST_BEGIN = "tests/subscriptions/test_first_payment.py"

_BEGUN_AT = "self._now if attempt.state_reason == Reason.LATE_MONEY else attempt.armed_at"

_PAID = [
    *each("first payment: it is needed only", DOMAIN, {
        "where something is charged at the start":
            swap("pays_first", "charge_at_start and not trial_days", "not trial_days"),
        "without a trial": swap("pays_first", "charge_at_start and not trial_days", "charge_at_start"),
        "where the plan says so": drop("pays_first", "activates_on is ActivatesOn.PAYMENT"),
    }, TEST_BEGIN, "active_at_once"),
    one("first payment: what has begun does not begin again", ACTIVATE,
        never("activate_waiting", "subscription.anchor_date is not None"), TEST_BEGIN, "saved_after_a_decline"),
    one("first payment: it starts the subscription", CONSEQUENCES,
        never("_pay", "subscription.state == SubscriptionState.INCOMPLETE"), TEST_SETTLED, "makes_it_active"),
    one("first payment: the schedule runs from the charge that paid", SETTLED, swap("paid", _BEGUN_AT, "self._now"),
        TEST_SETTLED, "due_since_the_charge"),
    one("first payment: late money starts it when it comes", SETTLED, swap("paid", _BEGUN_AT, "attempt.armed_at"),
        TEST_SETTLED, "late_money_of"),
    one("first payment: a clock that stepped back opens no date twice", BEGIN,
        swap("schedule_from", "max(at, first_due_at) if first_due_at else at", "at"), TEST_SETTLED, "stepped_back"),
    one("first payment: the only one leaves nothing due", BEGIN,
        swap("schedule_from", "None if over else following.due_at", "following.due_at"), TEST_SETTLED, "only_one"),
    one("first payment: a decline is not retried by the retry days", DECLINE,
        never("_go_on", "subscription and subscription.state == SubscriptionState.INCOMPLETE"),
        TEST_SETTLED, "decline_leaves_it"),
    one("first payment: the same card is not tried again by itself", BEGIN, never("_waits_for",
        "refusal is Refusal.FIRST_CHARGE_DECLINED and tried and tried[-1][1] == card.pk"),
        TEST_BEGIN, "the_same_is_not"),
    one("first payment: no other card while an outcome is open", DOMAIN,
        drop("waits_for_a_card", "may_be_charged_again(attempts)"), TEST_BEGIN, "outcome_is_open"),
    one("first payment: another card waits for the lists", BEGIN,
        swap("_try_now", 'Greatest(F("look_from_at"), now)', "now"), TEST_BEGIN, "lists_may_show"),
    one("first payment: a person's retry is due", RETRY, drop("retry_now", "refusal=None",
        of="first.update(next_attempt_at=now, asked_for=True, refusal=None, "
            "refused_at=None, lease_token=F('lease_token') + 1)"), TEST_BEGIN, "tried_again"),
    one("first payment: a rejected proposal charges nobody", WAYS_OUT, drop("reject_closing",
        "tried_at is None and invoice.refusal == Refusal.FIRST_CHARGE_DECLINED"), TEST_SETTLED, "rejected"),
    one("first payment: cancelling keeps what may still be paid", BEGIN, never("void_unpaid",
        "invoice.hold is not None or proposed or not may_be_charged_again(attempts)"), TEST_BEGIN, "may_still_pay"),
    one("first payment: what was cancelled unpaid is not owed", LIFECYCLE, never("cancel", "if unpaid:"),
        TEST_BEGIN, "never_paid"),
]  # fmt: skip

_EXPIRY = [
    *each("expire: not under the locks", DOMAIN, {
        "before its time": never("why_not_expired", "now < unpaid.ends_at"),
        "while an outcome is open": never("why_not_expired", "not may_be_charged_again(unpaid.attempts)"),
        "while a person decides": never("why_not_expired", "unpaid.held"),
        "while its card is held": never("why_not_expired", "unpaid.card_held"),
        "while the lists may lag":
            never("why_not_expired", "unpaid.look_from_at is not None and now < unpaid.look_from_at"),
    }, TEST_SETTLED, "under_the_locks"),
    one("expire: not under the locks before its cards were read", DOMAIN,
        never("why_not_expired", "_is_unread(unpaid)"), TEST_SETTLED, "is_read_first"),
    one("expire: a retry after a write-off is due", RETRY, drop("retry_now", "refusal=None",
        of="again.update(state=InvoiceState.OPEN.value, state_reason='', closed_at=None, next_attempt_at=now, "
           "refusal=None, refused_at=None, collect_regardless=True, asked_for=True, lease_token=F('lease_token') + 1)"),
        TEST_SETTLED, "after_a_write_off_is_tried"),
    one("expire: not in an account that is stopped", DOMAIN, never("why_not_expired", "unpaid.account_stopped"),
        TEST_SETTLED, "while_money_may_come and stop_all"),
    one("expire: not before a charge that is due", DOMAIN,
        never("why_not_expired", "_is_due(unpaid.next_attempt_at, unpaid.refusal)"), TEST_SETTLED, "under_the_locks"),
    one("expire: not while another card of the customer is held", EXPIRE, swap("_facts",
        "PaymentMethod.objects.filter(customer_id=invoice.customer_id, held_at__isnull=False)",
        "PaymentMethod.objects.filter(paymentattempt__invoice=invoice, held_at__isnull=False)"),
        TEST_SETTLED, "under_the_locks"),
    one("expire: not while a proposal waits", EXPIRE, drop("_facts", "open_proposal(invoice) is not None"),
        TEST_SETTLED, "under_the_locks"),
    one("expire: not in a database that is not recognised", "billing/charging/protocol/permission.py",
        swap("ask_permission", "recognise.confirm()", "None"), TEST_SETTLED, "not_recognised"),
    one("expire: not by a wrong clock", EXPIRE, swap("_overdue",
        "found.exclude(account__api_url__in=addresses_not_to_open(now))", "found.all()"),
        TEST_SETTLED, "may_be_wrong"),
    one("expire: the time begins anew with a decline", OPENING, swap_sql("wait_for_another_card",
        "%s + make_interval(hours => a.first_payment_hours)", "%s"), TEST_SETTLED, "decline_leaves_it"),
    one("expire: the subscription ends with its invoice", BEGIN, drop("expire", "change_state(...)"),
        TEST_SETTLED, "time_is_over"),
    one("expire: it ends where a person voids its invoice", WAYS_OUT,
        never("_carry_on", "state is SubscriptionState.INCOMPLETE and to is InvoiceState.VOID"),
        TEST_BEGIN, "stays_expired"),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_PAID, *_EXPIRY]
