"""The guards of reading a card: in a preflight, and for what is not known."""

from tests.mutation.harness import Mutation, each, named, one

READING = "billing/charging/card_reading.py"
PREFLIGHT = "billing/charging/preflight.py"
CHECKING = "billing/models/bulk/checking.py"
RECONCILE = "billing/charging/reconcile.py"

TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_READING = "tests/charging/test_card_reading.py"
TEST_REPORTS = "tests/charging/test_reports.py"

_READ = [
    one("read: what is learned is one durable commit", READING, "with transaction.atomic(durable=True):",
        "with transaction.atomic():", *named(TEST_READING, "inside_another")),
    one("read: the baseline is nobody's", READING, "if order.order_id not in card.explained:", "if True:",
        *named(TEST_READING, "before_the_card")),
    one("read: an order and its transaction agree", READING, 'if found.order_id in (None, "", order.order_id):',
        "if True:", *named(TEST_READING, "disagree")),
    *each("read: nothing new is", READING, {
        "what has no other transaction": ("if attempt.wanted.transaction_id not in (None, order.transaction_id):",
                                          "if False:"),
        "a success of which the money is known": ("return attempt.state in HAS_MONEY\n", "return True\n"),
        "a failure of what is declined": ('order.status == "FAILED" and attempt.state is AttemptState.DECLINED',
                                          'order.status == "FAILED"'),
    }, *named(TEST_READING, "says_something_new")),
    one("read: two possible makers", READING, "case Match(found) if _anothers_as_well(read, attempt, found):",
        "case Match(found) if False:", *named(TEST_READING, "two_attempts")),
    one("read: attempts armed meanwhile", READING, "read.unexplained = _still_unexplained(read)", "pass",
        *named(TEST_READING, "armed_while")),
    one("read: an unexplained order holds the card", READING,
        'settling.hold_cards([(read.card.id, "unexplained_order")], now=now)', "pass",
        *named(TEST_CHARGE, "unexplained_order")),
    one("read: an unexplained order is told", READING, "            _alert(read, now)\n", "",
        *named(TEST_CHARGE, "unexplained_order")),
    one("read: an order of what is being sent or decided is no stranger's", READING,
        'order.status != "FAILED" and not any(_could_be(w, order) for w in waiting)', 'order.status != "FAILED"',
        *named(TEST_READING, "no_riddle")),
    one("read: a failed order is no riddle", READING,
        'order.status != "FAILED" and not any(_could_be(w, order) for w in waiting)',
        "not any(_could_be(w, order) for w in waiting)", *named(TEST_READING, "no_riddle")),
    one("read: a lost transaction is asked for", READING,
        "        if attempt.wanted.transaction_id:\n            found =", "        if False:\n            found =",
        *named(TEST_READING, "asked_about_by_its_transaction")),
    one("read: an inactive card is noted", READING, "        if read.inactive:\n", "        if False:\n",
        *named(TEST_CHARGE, "inactive_card_after")),
    one("read: only a refusal of inactive cards counts as one", READING,
        "            content__detail__code__in=REFUSALS_OF_INACTIVE_CARDS,\n", "",
        *named(TEST_CHARGE, "switched_off_later")),
    one("read: a card with a schedule of the gateway's own", READING, "    if card.kind == CardKind.RECURRING:\n",
        "    if False:\n", *named(TEST_REPORTS, "schedule_of_the_gateways")),
    one("preflight: unexplained money stops the try", PREFLIGHT, "if any(card.unexplained for card in outcome):",
        "if False:", *named(TEST_CHARGE, "unexplained_order")),
    one("preflight: what cannot be read stops the try", PREFLIGHT, "reason = Refusal.PREFLIGHT_MISSING",
        "reason = None", *named(TEST_CHARGE, "cards_cannot_be_read")),
    one("preflight: it is as old as its beginning", PREFLIGHT, "read_at=reading.begun_at", "read_at=now",
        *named(TEST_READING, "armed_while")),
    one("preflight: every card that was tried", CHECKING,
        "SELECT invoice_id, payment_method_id FROM billing_paymentattempt WHERE invoice_id = ANY(%(ids)s)\n"
        "           UNION\n", "", *named(TEST_READING, "every_card")),
    one("preflight: the card that is next", CHECKING, "COALESCE(i.payment_method_id, s.payment_method_id, d.id)\n",
        "COALESCE(s.payment_method_id, d.id)\n", *named(TEST_READING, "every_card")),
    one("preflight: a lost lease makes nothing ready", CHECKING,
        "SET preflight_at = %s, lease_until = NULL\n               WHERE id = %s AND lease_token = %s",
        "SET preflight_at = %s, lease_until = NULL\n               WHERE id = %s AND lease_token >= %s",
        *named(TEST_READING, "lost_one")),
    one("preflight: one reader an invoice", CHECKING, "AND (lease_until IS NULL OR lease_until <= %(now)s)", "",
        *named(TEST_READING, "lost_one")),
    one("preflight: a lost lease refuses nothing", CHECKING,
        "WHERE id = %s AND lease_token = %s AND next_attempt_at IS NOT NULL",
        "WHERE id = %s AND lease_token >= %s AND next_attempt_at IS NOT NULL", *named(TEST_READING, "lost_one")),
    one("preflight: what failed puts nothing back on the work list", CHECKING,
        "lease_token = %s AND next_attempt_at IS NOT NULL", "lease_token = %s",
        *named(TEST_READING, "puts_nothing_back")),
]  # fmt: skip

_RECONCILE = [
    one("reconcile: the ladder ends with a person", RECONCILE,
        "    elif number >= len(limits.rungs):\n", "    elif False:\n", *named(TEST_CHARGE, "absence_never_permits")),
    one("reconcile: not before the ladder ends", RECONCILE,
        "    elif number >= len(limits.rungs):\n", "    elif True:\n", *named(TEST_REPORTS, "says_nothing")),
    one("reconcile: an inactive card is a decline only after an error", RECONCILE,
        "return read.inactive and any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)",
        "return read.inactive", *named(TEST_READING, "declines_only")),
    one("reconcile: a card that is active declines nothing", RECONCILE,
        "return read.inactive and any(", "return any(", *named(TEST_READING, "still_active")),
    one("reconcile: what is never decided goes to a person", RECONCILE, "    if number < len(limits.rungs):\n",
        "    if True:\n", *named(TEST_READING, "never_decided")),
    one("reconcile: what is not decided yet is looked at again", RECONCILE, "    if number < len(limits.rungs):\n",
        "    if False:\n", *named(TEST_READING, "never_decided")),
    one("reconcile: each look is told as its own", RECONCILE, 'detail = {**told.finding.detail, "check": number}',
        "detail = told.finding.detail", *named(TEST_READING, "never_decided")),
    one("reconcile: reads that fail for days end with a person", RECONCILE,
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up: list[checking.Check] = []", *named(TEST_READING, "for_days")),
    one("reconcile: reads that fail do not count", RECONCILE,
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up = list(checks)", *named(TEST_READING, "for_days")),
    one("reconcile: a look is leased", CHECKING, "UPDATE billing_paymentattempt SET next_check_at = %s\n",
        "UPDATE billing_paymentattempt SET next_check_at = least(next_check_at, %s)\n",
        *named(TEST_READING, "looked_at_by_one")),
    one("reconcile: what ended meanwhile is not looked at again", CHECKING,
        "WHERE a.id = n.id AND a.state IN ('unknown', 'in_process')", "WHERE a.id = n.id",
        *named(TEST_READING, "ended_while")),
    one("reconcile: one card holds up no other", RECONCILE,
        '        logger.exception("reconcile: what card %s said could not be recorded", read.card.public_id)\n'
        "        return None\n", "        raise\n", *named(TEST_CHARGE, "holds_up_no_other")),
    one("reconcile: a reader that fails is a failed read", RECONCILE,
        '        return GatewayUnavailableError(f"reading failed: {type(error).__name__}")\n\n\ndef _read_reports',
        "        raise\n\n\ndef _read_reports", *named(TEST_CHARGE, "unexpected_way and reconcile")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_READ, *_RECONCILE]
