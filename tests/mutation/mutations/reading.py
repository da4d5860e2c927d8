"""The guards of reading a card: in a preflight, and for what is not known."""

from tests.mutation.harness import ANY_TRANSACTION, Mutation, each, named, one

KNOWN = "billing/charging/reading/known.py"
FETCH = "billing/charging/reading/fetch.py"
MATCHING = "billing/domain/matching.py"
RECORD = "billing/charging/reading/record.py"
PREFLIGHT = "billing/charging/reading/preflight.py"
CHECKING = "billing/models/bulk/checking.py"
RECONCILE = "billing/charging/reading/reconcile.py"

HINTS = "billing/callbacks/hints.py"
RETRY = "billing/charging/cases/retry_now.py"
SWEEP = "billing/charging/collecting/sweep.py"
HOLDS = "billing/charging/cases/holds.py"
LOOKING = "billing/charging/reading/before_decision.py"

TEST_ISOLATION = "tests/charging/test_isolation.py"
TEST_READS = "tests/hostile/test_reads.py"
TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_MATCHING = "tests/domain/test_matching.py"
TEST_READING = "tests/charging/test_card_reading.py"
TEST_PREFLIGHT = "tests/charging/test_preflight.py"
TEST_REPORTS = "tests/charging/test_reports.py"

_READ = [
    one("read: what is learned is one durable commit", RECORD, "with durable():",
        ANY_TRANSACTION, *named(TEST_READING, "inside_another")),
    one("read: the baseline is nobody's", FETCH, "if order.order_id not in card.explained:", "if True:",
        *named(TEST_READING, "before_the_card")),
    one("read: an order and its transaction agree", FETCH, 'if found.order_id in (None, "", order.order_id):',
        "if True:", *named(TEST_READING, "disagree")),
    *each("read: nothing new is", FETCH, {
        "what has no other transaction": ("if attempt.wanted.transaction_id not in (None, order.transaction_id):",
                                          "if False:"),
        "a success of which the money is known": ("return attempt.state in HAS_MONEY\n", "return True\n"),
        "a failure of what is declined": ('order.status == "FAILED" and attempt.state is AttemptState.DECLINED',
                                          'order.status == "FAILED"'),
    }, *named(TEST_READING, "order_is_new")),
    one("read: two possible makers", MATCHING, "case Match(order) if _may_be_anothers(order, attempt, attempts, taken):",
        "case Match(order) if False:", *named(TEST_MATCHING, "two_attempts")),
    one("read: attempts armed meanwhile", RECORD, "read.unexplained = _still_unexplained(read)", "pass",
        *named(TEST_READING, "armed_while")),
    one("read: an unexplained order holds the card", RECORD,
        'settling.hold_cards([(read.card.id, Reason.UNEXPLAINED_ORDER)], now=now)', "pass",
        *named(TEST_CHARGE, "unexplained_order")),
    one("read: an unexplained order is told", RECORD, "            alert_unexplained(read, now)\n", "",
        *named(TEST_CHARGE, "unexplained_order")),
    one("read: an order of what is being sent or decided is not unexplained", MATCHING,
        "not order.failed and not _may_be_undecided(order, attempts, doubtful=order.order_id in doubtful)",
        "not order.failed", *named(TEST_MATCHING, "unexplained")),
    one("read: a failed order is not unexplained", MATCHING,
        "not order.failed and not _may_be_undecided(order,", "not _may_be_undecided(order,",
        *named(TEST_MATCHING, "unexplained")),
    one("read: a doubtful order is matched with nothing", MATCHING,
        "[order for order in nameless if order.order_id not in doubtful]", "[*nameless]",
        *named(TEST_MATCHING, "doubtful")),
    one("read: an attempt that was answered is not matched again", MATCHING,
        "if attempt.state in ASKED_ABOUT and attempt.wanted.marker not in named:", "if attempt.state in ASKED_ABOUT:",
        *named(TEST_MATCHING, "answered")),
    one("read: an order goes to one attempt", MATCHING,
        "            nameless = [order for order in nameless if order.order_id not in found.owners]\n", "",
        *named(TEST_MATCHING, "one_attempt_only")),
    one("read: a lost transaction is asked for", FETCH,
        "        if attempt.wanted.transaction_id:\n            read.absent", "        if False:\n            read.absent",
        *named(TEST_READING, "asked_about_by_its_transaction")),
    one("read: an inactive card is noted", RECORD, "        if read.inactive:\n", "        if False:\n",
        *named(TEST_CHARGE, "inactive_card_after")),
    one("read: only a refusal of inactive cards counts as one", KNOWN,
        "            content__detail__code__in=REFUSALS_OF_INACTIVE_CARDS,\n", "",
        *named(TEST_CHARGE, "switched_off_later")),
    one("read: a card with a schedule of the gateway's own", KNOWN, "    if card.kind == CardKind.RECURRING:\n",
        "    if False:\n", *named(TEST_REPORTS, "unmarked_order")),
    one("preflight: unexplained money stops the try", PREFLIGHT,
        "if any(card.unexplained or card.doubts or _is_undecided(card) for card in read):", "if False:",
        *named(TEST_CHARGE, "unexplained_order")),
    one("preflight: what the gateway still works on stops the try", PREFLIGHT, " or _is_undecided(card)", "",
        *named(TEST_PREFLIGHT, "works_on_the_try_before")),
    one("read: an order of an ended attempt without a transaction is a doubt", FETCH,
        "        if ended or attempt.state in ASKED_ABOUT:\n", "        if attempt.state in ASKED_ABOUT:\n",
        *named(TEST_PREFLIGHT, "without_a_transaction")),
    one("read: an order of an attempt that is asked about is no absence", FETCH,
        "        if ended or attempt.state in ASKED_ABOUT:\n", "        if ended:\n",
        *named(TEST_PREFLIGHT, "without_a_transaction")),
    one("preflight: what cannot be read stops the try", PREFLIGHT,
        "if any(states[one.card.id] is None for one in unread):", "if False:", *named(TEST_CHARGE, "cards_cannot_be_read")),
    one("preflight: it is as old as its beginning", PREFLIGHT, "read_at=reading.started_at", "read_at=now",
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
    one("preflight: one reader an invoice", CHECKING,
        "AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(no_lease)s)", "AND %(no_lease)s > now()",
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
        "    elif limits.checks.is_last(check.checks_done):\n", "    elif False:\n", *named(TEST_CHARGE, "absence_never_permits")),
    one("reconcile: not before the ladder ends", RECONCILE,
        "    elif limits.checks.is_last(check.checks_done):\n", "    elif True:\n", *named(TEST_REPORTS, "report_without")),
    one("reconcile: an inactive card is a decline only after an error", RECONCILE,
        "return read.inactive and any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)",
        "return read.inactive", *named(TEST_READING, "declines_only")),
    one("reconcile: a card that is active declines nothing", RECONCILE,
        "return read.inactive and any(", "return any(", *named(TEST_READING, "still_active")),
    one("reconcile: what is never decided goes to a person", RECONCILE,
        "    if not (_is_a_rung(check, limits) and limits.checks.is_last(check.checks_done)):\n",
        "    if True:\n", *named(TEST_READING, "never_decided")),
    one("reconcile: what is not decided yet is looked at again", RECONCILE,
        "    if not (_is_a_rung(check, limits) and limits.checks.is_last(check.checks_done)):\n",
        "    if False:\n", *named(TEST_READING, "never_decided")),
    one("reconcile: each look is told as its own", RECONCILE, 'detail = {**found.finding.detail, **_numbered(check, limits)}',
        "detail = found.finding.detail", *named(TEST_READING, "never_decided")),
    one("reconcile: reads that fail for days end with a person", RECONCILE,
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up: list[checking.Check] = []", *named(TEST_READING, "for_days")),
    one("reconcile: reads that fail do not count", RECONCILE,
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up = list(checks)", *named(TEST_READING, "for_days")),
    one("reconcile: a look is leased", CHECKING, "SET next_check_at = %s, looked_at = %s\n",
        "SET next_check_at = least(next_check_at, %s), looked_at = %s\n",
        *named(TEST_READING, "attempt_is_checked")),
    one("reconcile: what ended meanwhile is not looked at again", CHECKING,
        "WHERE a.id = n.id AND a.state = ANY(%s)", "WHERE a.id = n.id AND (a.state = ANY(%s) OR true)",
        *named(TEST_READING, "ended_while")),
    one("reconcile: one card holds up no other", RECONCILE,
        "            logger.exception(\"reconcile: card %s failed\", cards[card].public_id)\n",
        "            raise\n", *named(TEST_CHARGE, "holds_up_no_other")),
    one("reconcile: no more is claimed than is read", CHECKING, "WHERE id = ANY(ARRAY(SELECT id FROM billing_paymentattempt WHERE",
        "WHERE id IN ((SELECT id FROM billing_paymentattempt WHERE", *named("tests/charging/test_claims.py", "checks_claimed")),
    one("reconcile: a held row is no reason to give up", RECONCILE, "except HeldError as error:",
        "except ZeroDivisionError as error:", *named(TEST_ISOLATION, "given_up")),
    one("reconcile: a reader that fails is a failed read", RECONCILE,
        '        return Unread(card, GatewayUnavailableError(f"reading failed: {type(error).__name__}"))\n\n\n'
        "def _read_reports",
        "        raise\n\n\ndef _read_reports", *named(TEST_CHARGE, "reader_that_fails and reconcile")),
    *each("reconcile: before its rung is reached", RECONCILE, {
        "absence means nothing": ("    elif not counts:\n", "    elif False:\n"),
        "a decline by an inactive card is none": ("    elif not counts:\n",
                                                  "    elif not counts and not _inactive(read, check):\n"),
        "it is evidence of another read": ('"check" if _is_a_rung(check, limits) else "before_check"', '"check"'),
    }, *named(TEST_READING, "before_its_rung")),
    one("reconcile: what is not decided goes to a person at its rung alone", RECONCILE,
        "if not (_is_a_rung(check, limits) and limits.checks", "if not (limits.checks",
        *named(TEST_READING, "undecided_attempt_waits")),
    one("reconcile: in doubt nothing is absent", RECONCILE, "    if read.doubts:\n", "    if False:\n",
        *named(TEST_READS, "odd_record_stands")),
    one("reconcile: after a clock was set back", CHECKING, "OR next_check_at > %s)\n", "OR next_check_at + '99 years' < %s)\n",
        *named(TEST_READS, "check_planned")),
    one("hints: one read in a while", HINTS, "sooner = Greatest(", "sooner = (lambda at_once, _: at_once)(", *named(TEST_READS, "forged")),
]  # fmt: skip

_CARDS = [
    one("read: what is not understood is in doubt", FETCH, "            read.doubts.append(order.order_id)\n        if order.t",
        "            pass\n        if order.t", *named(TEST_READS, "odd_record")),
    one("read: a transaction that is not shown is no end of the card", FETCH,
        "        asked = [attempt.wanted", "        raise\n        asked = [attempt.wanted", *named(TEST_READS, "card_is_gone")),
    one("preflight: a card that cannot be read for long waits for a person", CHECKING,
        "AND unreadable_at IS NULL AND unread_since <= %s", "AND unreadable_at IS NULL AND unread_since > %s",
        *named(TEST_READS, "block_the_new_one")),
    one("preflight: the person is asked after long", PREFLIGHT, 'states[one.card.id] == "unreadable"', "False",
        *named(TEST_READS, "block_the_new_one")),
    one("preflight: a look that took too long permits nothing", "billing/charging/reading/preflight.py",
        "if now - reading.started_at > PREFLIGHT_FRESH:", "if False:", *named(TEST_READING, "longer_than_it_is_good")),
    one("preflight: a read ends what was unreadable", RECORD, "        checking.note_read(read.card.id)\n", "",
        *named(TEST_READS, "given_up")),
    one("sweep: an invoice says that it waits for the lists", SWEEP, "    checking.wait_for_lists(now=now)\n", "",
        *named(TEST_READS, "some_other_way")),
    one("sweep: by a clock that is off nothing is due", SWEEP, ", not_at=not_at)\n    checking", ")\n    checking",
        *named("tests/charging/test_work_list.py", "clock_that_is_off")),
    one("retry: an invoice says that it waits for the lists", RETRY,
        "        checking.wait_for_lists(now=now, invoice_id=invoice.pk)\n", "", *named(TEST_READS, "retry_request_waits")),
    one("preflight: what waits for a clock that was set back", CHECKING, "WHERE next_attempt_at > %(latest)s\n",
        "WHERE next_attempt_at > %(latest)s + '99 years'\n", *named(TEST_READS, "invoice_planned")),
    one("look: a card that could be read is no card that cannot", LOOKING, "            if not card.unreadable:\n",
        "            if False:\n", *named(TEST_READS, "unknown_attempt")),
    one("hold: only an unreadable card is gone on without", HOLDS, "filter(undecided, unreadable_at__isnull=False)",
        "filter(undecided)", *named(TEST_READS, "block_the_new_one")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_READ, *_RECONCILE, *_CARDS]
