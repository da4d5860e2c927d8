"""What a payment link lets its holder do, and what cancelling leaves."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Mutation, each, one

RULES = "billing/domain/paying.py"
PAY = "billing/charging/cases/pay_now.py"
LINKS = "billing/subscriptions/payment_links.py"
FORMS = "billing/payer/forms.py"
PAGES = "billing/payer/pages.py"
SHOWN = "billing/payer/shown.py"
CANCEL = "billing/charging/cases/cancel.py"
TEST_RULES = "tests/domain/test_paying.py"
TEST_PAY = "tests/payer/test_pay_now.py"
TEST_LINKS = "tests/payer/test_links.py"
TEST_PAGE = "tests/payer/test_page.py"
TEST_ENDS = "tests/payer/test_cancel.py"
TEST_CANCEL = "tests/charging/test_cancel.py"

MUTATIONS: list[Mutation] = [
    *each(
        "pay now: refused",
        RULES,
        {
            "while a charge is sent": drop("standing", "(AttemptState.SENDING in states, Standing.PROCESSING)"),
            "while an outcome is open": drop("standing", "(bool(states & UNRESOLVED), Standing.BEING_CHECKED)"),
            "while it is held or proposed": drop("standing", "not open_to_payers"),
            "when a part went back": drop("standing", "facts.amount_refunded_minor > 0"),
            "when there is an overpayment": drop("standing", "AttemptState.SURPLUS in states"),
            "on a held card": drop("standing", "facts.card_held"),
            "while the account is stopped": drop("standing", "(facts.charges_nothing, Standing.NOT_NOW)"),
            "behind another charge": drop("standing", "(facts.card_is_busy, Standing.BEHIND_ANOTHER)"),
            "when it is due anyway": drop("standing", "(due, Standing.PROCESSING)"),
            "when it was written off": drop("standing", "facts.state_reason == Reason.WRITTEN_OFF"),
            "while a page is open": drop("standing", "(facts.page_is_open, Standing.ON_A_PAGE)"),
            "on a card that is not active": drop("standing", "facts.card_state is not CardState.ACTIVE"),
            "on a card whose bank refuses for good": drop("standing", "not facts.card_may_be_tried"),
        },
        TEST_RULES,
    ),
    *each(
        "pay now: the act",
        PAY,
        {
            "is refused by the same rule": never("pay_now", "found is not Standing.PAYABLE"),
            "is refused when it was seen otherwise": never("pay_now", "as_shown(fresh) != seen"),
            "frees what a cancellation held": swap(
                "pay_now", "collect_held(invoice=fresh, decision=decision, now=now)", "None"
            ),
            "charges what does not run any more": never(
                "pay_now", "fresh.subscription is not None and fresh.subscription.state not in USABLE_SUBSCRIPTIONS"
            ),
        },
        TEST_PAY,
    ),
    one(
        "pay another way: what is not asked for has no page",
        PAY,
        never("page_to_pay_on", "found not in PAID_ON_A_PAGE"),
        "tests/payer/test_other_way.py",
    ),
    *each(
        "payment link",
        LINKS,
        {
            "expires": always("_read", "now.timestamp() < int(expires)"),
            "ends with its epoch": drop("customer_of", "link_epoch=epoch"),
            "is signed": swap("_read", "signing.Signer(salt=SALT, sep='.').unsign(token)", "token.rpartition('.')[0]"),
        },
        TEST_LINKS,
    ),
    *each(
        "customer page: a form",
        FORMS,
        {
            "is of its link": never("read_form", "tuple(link) != _link(customer)"),
            "is too old": never("read_form", "now.timestamp() >= int(ends)"),
        },
        TEST_PAY,
        "a_form_",
    ),
    one(
        "customer page: a receipt is the customer's own",
        SHOWN,
        drop("receipt_of", "customer=customer"),
        TEST_PAGE,
        "never_sees_another",
    ),
    *each(
        "customer page: a subscription that is cancelled",
        SHOWN,
        {
            "is the customer's own": drop("cancellable", "customer=customer"),
            "is not the gateway's": drop("cancellable", "collector=Collector.ENGINE.value"),
            "only where the account says so": always("cancellable", "customer.account.payers_may_cancel"),
        },
        TEST_ENDS,
    ),
    *each(
        "cancel: open invoices",
        CANCEL,
        {
            "are collected as before": swap("cancel", "open_invoices is OpenInvoices.COLLECT", "False"),
            "are closed": never("cancel", "open_invoices in _WAYS"),
            "that cannot be closed are left": swap(
                "_close", "contextlib.suppress(ResolutionError)", "contextlib.nullcontext()"
            ),
        },
        TEST_CANCEL,
    ),
    one(
        "cancel: what is left is told",
        "billing/subscriptions/lifecycle.py",
        drop("cancel", "record_transitions(leave_to_staff([locked.pk]), actor=actor, now=now)"),
        TEST_CANCEL,
        "is_told",
    ),
]
