"""The guards of recognising a database, of its witness, and of the way out of a quarantine."""

from tests.mutation.edits import always, drop, drop_sql, never, swap
from tests.mutation.harness import Edit, Mutation, each, one

DOUBTS = "billing/domain/doubts.py"
RECOVERY = "billing/domain/recovery.py"
PERMISSION = "billing/charging/protocol/permission.py"
ARM_SQL = "billing/models/bulk/arming.py"
REFUND = "billing/charging/refunds/arm.py"
RECOGNISE = "billing/operating/recognise.py"
RECOVER = "billing/charging/recovery/recover.py"
CARDS = "billing/charging/recovery/from_cards.py"
LOST_ORDERS = "billing/charging/reading/lost_orders.py"
QUARANTINE = "billing/operating/quarantine.py"
FROM_REPORTS = "billing/charging/recovery/from_reports.py"
REPORT_DAYS = "billing/charging/reading/report_days.py"
HOLDS = "billing/charging/cases/holds.py"
CLEAR = "billing/charging/cases/clear_hold.py"
UNEXPLAINED = "billing/charging/cases/unexplained_payments.py"
WAYS_OUT = "billing/charging/cases/ways_out.py"
BINDING = "billing/subscriptions/cards.py"
BEGINNING = "billing/subscriptions/activate.py"
CLOCKS = "billing/operating/clocks.py"
CLOCK_SQL = "billing/models/bulk/recognising.py"

TEST_DOUBTS = "tests/domain/test_doubts.py"
TEST_RECOVERY = "tests/domain/test_recovery.py"
TEST_WAY_OUT = "tests/hostile/test_quarantine_way_out.py"
TEST_OPEN_ENDS = "tests/hostile/test_quarantine_open_ends.py"

MUTATIONS: list[Mutation] = [
    one("doubt: a forgotten attempt is one", DOUBTS, never("judge", "if seen.forgotten:"),
        TEST_DOUBTS, "strongest_doubt"),
    one("doubt: a witness of another life is one", DOUBTS,
        swap("judge", "seen.witness_epochs - seen.past_epochs - {seen.epoch}", "seen.witness_epochs & frozenset()"),
        TEST_DOUBTS, "never_had"),
    one("doubt: another database is one", DOUBTS, swap("judge", "seen.actual.difference(seen.stored)", '""'),
        TEST_DOUBTS, "another_cluster"),
    one("doubt: the timeline is compared", DOUBTS, drop("difference", '("timeline", stored.timeline, self.timeline)'),
        TEST_DOUBTS, "another_cluster"),
    one("doubt: a host that is not admitted waits", DOUBTS, swap("judge",
        "Step.GO_ON if seen.host_admitted else Step.WAIT", "Step.GO_ON"), TEST_DOUBTS, "only_once_it_is_admitted"),
    one("doubt: an old sign of life admits nobody", DOUBTS, always("admission", "others_last_seen_at > first_seen_at"),
        TEST_DOUBTS, "sign_of_life"),
    one("doubt: a sign of life from the future admits nobody", RECOGNISE, drop("_consider_host",
        "recognising.forget_future_signs(now=now)"), TEST_WAY_OUT, "clock_that_was_ahead_admits_no_copy"),
    one("reading: an order with a marker is spoken for by no other attempt", "billing/domain/matching.py",
        never("_may_be_undecided", "marker_in(order.words) is not None"), TEST_WAY_OUT, "no_other_attempts"),
    one("quarantine: nobody lifts it by a wrong clock", QUARANTINE,
        never("lift", "is_known_to_be_wrong(account.api_url, now)"), TEST_WAY_OUT, "by_a_wrong_clock_nothing_is_read"),
    one("doubt: a quarantine outlasts the lag", DOUBTS, never("why_not_lifted", "now < from_when"),
        TEST_DOUBTS, "outlasts_the_lag"),
    one("doubt: a quarantine outlasts every card", DOUBTS, swap("why_not_lifted",
        "NotYet(from_when, unread) if unread else None", "None"), TEST_DOUBTS, "outlasts_the_lag"),
    one("recovery: another amount is not assigned", RECOVERY,
        always("_agrees", "(order.amount_minor, order.currency) == (invoice.amount_minor, invoice.currency)"),
        TEST_RECOVERY, "another_amount or differs_in_anything"),
    one("recovery: of two that fit neither is taken", RECOVERY, swap("_invoice_of", "len(nearest) == 1", "nearest"),
        TEST_RECOVERY, "fit_alike"),
    one("recovery: two lost invoices do not share one", RECOVERY, always("assign", "guessed.count(invoice.id) == 1"),
        TEST_RECOVERY, "do_not_share"),
    Mutation("arm: the database is recognised first", (
        Edit(PERMISSION,
            swap("ask_permission", "recognise.confirm()", 'recognise.Confirmed("", "e", frozenset(), {})')),
        Edit(PERMISSION, always("ask_permission", "if frozen.is_empty:")),
    ), TEST_WAY_OUT, "missing_witnessed_marker",
        why="before a request leaves, the files of the witness are asked about once more"),
    one("arm: what is not witnessed is not sent", PERMISSION, always("ask_permission", "if frozen.is_empty:"),
        TEST_WAY_OUT, "could_not_be_witnessed"),
    one("arm: an account in quarantine is stopped", ARM_SQL, drop_sql("lock_account", "OR quarantined_at IS NOT NULL"),
        TEST_WAY_OUT, "in_quarantine_nothing_is_charged"),
    one("attest: the others' files are read again", RECOGNISE, never("attest",
        "strange or (changed and recognising.forgotten(markers, nonces))"), TEST_WAY_OUT, "see_each_other"),
    one("attest: the own marker is looked for beside the others'", RECOGNISE, swap("attest",
        "[*changed, Witnessed(confirmed.epoch, marker, nonce)]", "changed"), TEST_WAY_OUT, "loses_its_own_attempt"),
    one("enter: the witness's epochs are past", RECOGNISE, drop("_enter", "past=past"), TEST_WAY_OUT, "begins_once"),
    one("lost orders: an order of ours begins a quarantine", LOST_ORDERS,
        never("quarantine_for_lost_orders", "if found:"), TEST_WAY_OUT, "never_made_begins"),
    one("recover: what fits nothing holds every card", RECOVER, drop("recover", "_hold_all(card, now)"),
        TEST_WAY_OUT, "holds_every_card"),
    one("recover: a card that could not be read stays unread", CARDS, swap("_record_all",
        "unread.append(Unread(known[card], read)); continue", "read = None"), TEST_WAY_OUT, "cannot_be_read_keeps"),
    one("lift: first attempts are preceded by a look", QUARANTINE,
        swap("lift", "now + max(LOOK_FIRST_FOR, shown_after(locked))", "None"), TEST_WAY_OUT, "lifting_is_refused"),
    *each("reports in quarantine", FROM_REPORTS, {
        "what nothing explains outlasts the quarantine": drop("read_reports", "ours.append(read)"),
        "what was not recorded is read again": never("read_reports", "if problem:"),
        "what the watch found first is asked about": swap("_known",
            "known_to(GatewayOrder, GatewayTransaction) - undecided", "known_to(GatewayOrder, GatewayTransaction)"),
    }, TEST_OPEN_ENDS, "outlasts or read_again or watch_found_first"),
    *each("a payment of a report", REPORT_DAYS, {
        "names its invoice": drop("unexplained_payments", "invoice_id=invoices.get(seen.transaction_id)"),
        "holds the cards of whom it may have paid for": never("_hold_customer", "invoice.state in CLOSABLE"),
        "tells the merchant which invoice": swap("_list", '"invoice": invoice', '"invoice": None'),
    }, TEST_OPEN_ENDS, "outlasts or watch_found_first"),
    one("a payment of a report: names an invoice of its account", REPORT_DAYS,
        drop("_named_invoices", "account_id=account_id"), TEST_WAY_OUT, "holds_no_card_of_another"),
    one("a payment of a report: a card in place of the lost one is held", BINDING, never("_hold_like_the_others",
        "others.filter(held_at__isnull=False).exists()"), TEST_OPEN_ENDS, "in_place_of_the_lost"),
    one("a payment of a report: a hold that was cleared holds no new card", BINDING, swap("_hold_like_the_others",
        "others.filter(held_at__isnull=False)", "PaymentMethod.objects.filter(customer_id=card.customer_id)",
        of="others = PaymentMethod.objects.filter(..., customer_id=card.customer_id)\n..."),
        TEST_OPEN_ENDS, "in_place_of_the_lost"),
    one("clear a hold: found payments are named first", UNEXPLAINED, swap("candidates", "found = _found_payments(...)",
        "found: list[Candidate] = []"), TEST_OPEN_ENDS, "by_the_way"),
    one("clear a hold: a payment is named by its transaction too", CLEAR, swap("_refuse",
        'not {one.order.gateway_order_id, one.order.gateway_transaction_id} & (although - {""})',
        "one.order.gateway_order_id not in although"), TEST_OPEN_ENDS, "charges_although"),
    *each("found payments of a customer", HOLDS, {
        "a decision ends it": drop("found_payments_of", "decided_at=None"),
        "only what is still owed": drop("found_payments_of", "invoice__state__in=sorted(CLOSABLE)"),
        "only what no attempt has": drop("found_payments_of", "~Exists(attempts)"),
    }, TEST_OPEN_ENDS, "waits_only_while"),
    one("found payments: recorded as an invoice's payment, one is decided", WAYS_OUT, drop("_close",
        "close_found(locked, found.transaction_id, actor=decision.actor, now=now)"), TEST_OPEN_ENDS, "by_the_way"),
    one("free a card: not while a payment was found that may be its invoice's", UNEXPLAINED,
        drop("mark_as_explained", "found_payments_of(card.customer_id).exists()"), TEST_OPEN_ENDS, "keeps_its_hold"),
    one("free a card in quarantine: not while a payment was found", CARDS,
        never("_free", "found_payments_of(card.customer_id).exists()"), TEST_OPEN_ENDS, "keeps_its_hold"),
    one("clock: by one that is not compared a quarantine is doubted", QUARANTINE,
        swap("enter", "addresses_not_to_open(now)", "()"), TEST_OPEN_ENDS, "before_the_clock"),
    *each("clock: a quarantine", QUARANTINE, {
        "is not read by a wrong one": never("counts_by_the_clock", "is_known_to_be_wrong(account.api_url, now)"),
        "is doubted when it is wrong": drop("counts_by_the_clock", "quarantine_clock_doubted=True"),
        "that is doubted begins anew": always("counts_by_the_clock", "not account.quarantine_clock_doubted"),
        "that is doubted is not lifted": never("status", "account.quarantine_clock_doubted"),
    }, TEST_OPEN_ENDS, "anew"),
    one("clock: a read from the future is none", CLOCK_SQL, never("begin_quarantine_anew", "if restarted:"),
        TEST_WAY_OUT, "clock_that_is_ahead"),
    one("clock: whoever notices that it moves doubts the quarantine", CLOCKS, swap("_judge",
        "quarantine_clock_doubted=True", "quarantine_clock_doubted=False"), TEST_OPEN_ENDS, "breaker_that_moves"),
    *each("a card that is never shown", CARDS, {
        "comes to a person": drop("_record_all", "note_unread(unread, tuning=tuning, now=clock())"),
        "or that cannot be recorded":
            drop("_record_all", "unread.append(Unread(known[card], GatewayUnavailableError(...)))"),
    }, TEST_OPEN_ENDS, "never_be_read or reports_with_unrecordable or card_content"),
    *each("a card that was given up", QUARANTINE, {
        "counts as read": swap("status", 'not_read.exclude(pk__in=given_up.values("pk"))', "not_read"),
        "since the quarantine began":
            swap("status", "given_up_at__gte=account.quarantined_at", "given_up_at__isnull=False"),
    }, TEST_OPEN_ENDS, "never_be_read or given_up_before"),
    one("a card that was given up before the quarantine is given up again", HOLDS, swap("to_go_on_without",
        "Q(given_up_at=None) | Q(...)", "Q(given_up_at=None)"), TEST_OPEN_ENDS, "given_up_before"),
    one("begin: one that cannot keeps nobody waiting", BEGINNING,
        swap("_activate_alone", "(OperationalError, InterfaceError)", "Exception"),
        "tests/subscriptions/test_lifecycle.py", "unstartable_subscription_blocks"),
]  # fmt: skip
