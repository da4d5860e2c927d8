"""The guards of reading a card: in a preflight, and for what is not known."""

from tests.mutation.edits import ANY_TRANSACTION, always, always_sql, drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

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
    one("read: what is learned is one durable commit", RECORD, swap("record", "durable", ANY_TRANSACTION),
        TEST_READING, "inside_another"),
    one("read: the baseline is nobody's", FETCH, always("fetch", "order.order_id not in card.explained"),
        TEST_READING, "before_the_card"),
    one("read: an order and its transaction agree", FETCH,
        always("_finding", 'found.order_id in (None, "", order.order_id)'), TEST_READING, "disagree"),
    *each("read: nothing new is", FETCH, {
        "what has no other transaction":
            never("_says_nothing_new", "attempt.wanted.transaction_id not in (None, order.transaction_id)"),
        "a success of which the money is known": always("_says_nothing_new", "attempt.state in HAS_MONEY"),
        "a failure of what is declined": drop("_says_nothing_new", "attempt.state is AttemptState.DECLINED"),
    }, TEST_READING, "order_is_new"),
    one("read: two possible makers", MATCHING,
        never("_explain_attempt", "_may_be_anothers(order, attempt, attempts, taken)"), TEST_MATCHING, "two_attempts"),
    one("read: attempts armed meanwhile", RECORD, drop("record", "read.unexplained = _still_unexplained(read)"),
        TEST_READING, "armed_while"),
    one("read: an unexplained order holds the card", RECORD, drop("record",
        "settling.hold_cards([(read.card.id, Reason.UNEXPLAINED_ORDER)], now=now)"), TEST_CHARGE, "unexplained_order"),
    one("read: an unexplained order is told", RECORD, drop("record", "alert_unexplained(read, now)"),
        TEST_CHARGE, "unexplained_order"),
    one("read: an order of what is being sent or decided is not unexplained", MATCHING, drop("explain",
        "not _may_be_undecided(order, attempts, doubtful=order.order_id in doubtful)"), TEST_MATCHING, "unexplained"),
    one("read: a failed order is not unexplained", MATCHING, drop("explain", "not order.failed"),
        TEST_MATCHING, "unexplained"),
    one("read: a doubtful order is matched with nothing", MATCHING, swap("explain",
        "[order for order in nameless if order.order_id not in doubtful]", "[*nameless]"), TEST_MATCHING, "doubtful"),
    one("read: an attempt that was answered is not matched again", MATCHING,
        drop("explain", "attempt.wanted.marker not in named"), TEST_MATCHING, "answered"),
    one("read: an order goes to one attempt", MATCHING,
        drop("explain", "nameless = [order for order in nameless if order.order_id not in found.owners]"),
        TEST_MATCHING, "one_attempt_only"),
    one("read: a lost transaction is asked for", FETCH, never("_ask_for_lost_transactions",
        "if attempt.wanted.transaction_id:"), TEST_READING, "asked_about_by_its_transaction"),
    one("read: an inactive card is noted", RECORD, never("record", "read.inactive"),
        TEST_CHARGE, "inactive_card_after"),
    one("read: only a refusal of inactive cards counts as one", KNOWN, drop("_answered_with_error",
        "content__detail__code__in=REFUSALS_OF_INACTIVE_CARDS"), TEST_CHARGE, "switched_off_later"),
    one("read: a card with a schedule of the gateway's own", KNOWN, never("_echo", "card.kind == CardKind.RECURRING"),
        TEST_REPORTS, "unmarked_order"),
    one("preflight: unexplained money stops the try", PREFLIGHT,
        never("finish", "any(card.unexplained or card.doubts or _is_undecided(card) for card in read)"),
        TEST_CHARGE, "unexplained_order"),
    one("preflight: what the gateway still works on stops the try", PREFLIGHT, drop("finish", "_is_undecided(card)"),
        TEST_PREFLIGHT, "works_on_the_try_before"),
    one("read: an order of an ended attempt without a transaction is a doubt", FETCH, drop("_read_transaction_of",
        "ended", of="ended or attempt.state in ASKED_ABOUT"), TEST_PREFLIGHT, "without_a_transaction"),
    one("read: an order of an attempt that is asked about is no absence", FETCH,
        drop("_read_transaction_of", "attempt.state in ASKED_ABOUT"), TEST_PREFLIGHT, "without_a_transaction"),
    one("preflight: what cannot be read stops the try", PREFLIGHT,
        never("finish", "any(states[one.card.id] is None for one in unread)"), TEST_CHARGE, "cards_cannot_be_read"),
    one("preflight: it is as old as its beginning", PREFLIGHT, swap("finish", "read_at=reading.started_at",
        "read_at=now", of="if now - reading.started_at > PREFLIGHT_FRESH: ...\n..."), TEST_READING, "armed_while"),
    one("preflight: every card that was tried", CHECKING, drop_sql("claim_preflights",
        "invoice_id, payment_method_id FROM billing_paymentattempt WHERE invoice_id = ANY(%(ids)s) UNION SELECT"),
        TEST_READING, "every_card"),
    one("preflight: the card that is next", CHECKING, drop_sql("claim_preflights", "i.payment_method_id,"),
        TEST_READING, "every_card"),
    *each("preflight", CHECKING, {
        "a lost lease makes nothing ready": swap_sql("finish_preflight", "lease_token = %s", "lease_token >= %s"),
        "one reader an invoice": swap_sql("claim_preflights",
            "(lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(no_lease)s)", "%(no_lease)s > now()"),
        "a lost lease refuses nothing": swap_sql("fail_preflight", "lease_token = %s", "lease_token >= %s"),
    }, TEST_READING, "lost_one"),
    one("preflight: what failed puts nothing back on the work list", CHECKING,
        drop_sql("fail_preflight", "AND next_attempt_at IS NOT NULL"), TEST_READING, "puts_nothing_back"),
]  # fmt: skip

_RECONCILE = [
    one("reconcile: the ladder ends with a person", RECONCILE,
        never("_absence", "tuning.checks.is_last(check.checks_done)"), TEST_CHARGE, "absence_never_permits"),
    one("reconcile: not before the ladder ends", RECONCILE,
        always("_absence", "tuning.checks.is_last(check.checks_done)"), TEST_REPORTS, "report_without"),
    one("reconcile: an inactive card is a decline only after an error", RECONCILE, drop("_inactive",
        "any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)"), TEST_READING, "declines_only"),
    one("reconcile: a card that is active declines nothing", RECONCILE, drop("_inactive", "read.inactive"),
        TEST_READING, "still_active"),
    one("reconcile: what is never decided goes to a person", RECONCILE, always("_at_last",
        "not (_is_a_rung(check, tuning) and tuning.checks.is_last(check.checks_done))"), TEST_READING, "never_decided"),
    one("reconcile: what is not decided yet is looked at again", RECONCILE, never("_at_last",
        "not (_is_a_rung(check, tuning) and tuning.checks.is_last(check.checks_done))"), TEST_READING, "never_decided"),
    one("reconcile: each look is told as its own", RECONCILE, swap("_at_last",
        "{**found.finding.detail, **_numbered(check, tuning)}", "found.finding.detail"), TEST_READING, "never_decided"),
    one("reconcile: reads that fail for days end with a person", RECONCILE, swap("_postpone",
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up: list[checking.Check] = []"), TEST_READING, "for_days"),
    one("reconcile: reads that fail do not count", RECONCILE, swap("_postpone",
        "[check for check in checks if now - check.armed_at > PATIENCE]", "list(checks)"), TEST_READING, "for_days"),
    one("reconcile: a look is leased", CHECKING, swap_sql("claim", "next_check_at = %s",
        "next_check_at = least(next_check_at, %s)"), TEST_READING, "attempt_is_checked"),
    one("reconcile: what ended meanwhile is not looked at again", CHECKING, always_sql("postpone", "a.state = ANY(%s)"),
        TEST_READING, "ended_while"),
    one("reconcile: one card holds up no other", RECONCILE,
        swap("_check", 'logger.exception("reconcile: card %s failed", cards[card].public_id)', "raise"),
        TEST_CHARGE, "holds_up_no_other"),
    one("reconcile: no more is claimed than is read", CHECKING, swap_sql("claim", "= ANY(ARRAY", "IN ("),
        "tests/charging/test_claims.py", "checks_claimed"),
    one("reconcile: a held row is no reason to give up", RECONCILE, swap("_check", "HeldError", "ZeroDivisionError"),
        TEST_ISOLATION, "given_up"),
    one("reconcile: a reader that fails is a failed read", RECONCILE, swap("_read",
        "return Unread(card, GatewayUnavailableError(...))", "raise"), TEST_CHARGE, "reader_that_fails and reconcile"),
    *each("reconcile: before its rung is reached", RECONCILE, {
        "absence means nothing": never("_absence", "not counts"),
        "a decline by an inactive card is none": swap("_absence", "not counts",
            "not counts and not _inactive(read, check)",
            of="if not counts:\n    ...\nelif _inactive(read, check):\n    ...\nelse:\n    ..."),
        "it is evidence of another read":
            swap("_numbered", '"check" if _is_a_rung(check, tuning) else "before_check"', '"check"'),
    }, TEST_READING, "before_its_rung"),
    one("reconcile: what is not decided goes to a person at its rung alone", RECONCILE,
        drop("_at_last", "_is_a_rung(check, tuning)"), TEST_READING, "undecided_attempt_waits"),
    one("reconcile: in doubt nothing is absent", RECONCILE, never("_absence", "if read.doubts:"),
        TEST_READS, "odd_record_stands"),
    one("reconcile: after a clock was set back", CHECKING,
        swap_sql("claim", "next_check_at > %s", "next_check_at + '99 years' < %s"), TEST_READS, "check_planned"),
    one("hints: one read in a while", HINTS, swap("check_sooner", "Greatest", "lambda at_once, _: at_once"),
        TEST_READS, "forged"),
]  # fmt: skip

_CARDS = [
    one("read: what is not understood is in doubt", FETCH, drop("fetch", "read.doubts.append(order.order_id)"),
        TEST_READS, "odd_record"),
    one("read: a transaction that is not shown is no end of the card", FETCH, swap("_read_transaction",
        "asked = [attempt.wanted for attempt in ... if ...]",
        "raise; asked = [attempt.wanted for attempt in ... if ...]"), TEST_READS, "card_is_gone"),
    one("preflight: a card that cannot be read for long waits for a person", CHECKING,
        swap_sql("note_unread", "unread_since <= %s", "unread_since > %s"), TEST_READS, "block_the_new_one"),
    one("preflight: the person is asked after long", PREFLIGHT, never("finish", 'states[one.card.id] == "unreadable"'),
        TEST_READS, "block_the_new_one"),
    one("preflight: a look that took too long permits nothing", "billing/charging/reading/preflight.py",
        never("finish", "now - reading.started_at > PREFLIGHT_FRESH"), TEST_READING, "longer_than_it_is_good"),
    one("preflight: a read ends what was unreadable", RECORD, drop("record", "checking.note_read(read.card.id)"),
        TEST_READS, "given_up"),
    one("sweep: an invoice says that it waits for the lists", SWEEP, drop("sweep", "checking.wait_for_lists(now=now)"),
        TEST_READS, "some_other_way"),
    one("sweep: by a clock that is off nothing is due", SWEEP, swap("sweep", "checking.pull_back(..., not_at=not_at)",
        "checking.pull_back(...)"), "tests/charging/test_work_list.py", "clock_that_is_off"),
    one("retry: an invoice says that it waits for the lists", RETRY, drop("retry_now",
        "checking.wait_for_lists(now=now, invoice_id=invoice.pk)"), TEST_READS, "retry_request_waits"),
    one("preflight: what waits for a clock that was set back", CHECKING,
        swap_sql("pull_back", "%(latest)s", "%(latest)s + '99 years'"), TEST_READS, "invoice_planned"),
    one("look: a card that could be read is no card that cannot", LOOKING, never("_read", "not card.unreadable"),
        TEST_READS, "unknown_attempt"),
    one("hold: only an unreadable card is gone on without", HOLDS,
        drop("to_go_on_without", "unreadable_at__isnull=False"), TEST_READS, "block_the_new_one"),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_READ, *_RECONCILE, *_CARDS]
