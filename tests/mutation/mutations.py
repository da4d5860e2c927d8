"""The guards that are taken away, as data. A text that is not found exactly once in its file is an error."""

from tests.mutation.harness import Edit, Mutation

ARM = "billing/charging/arm.py"
ARMING = "billing/domain/arming.py"
ARM_SQL = "billing/models/bulk/arming.py"
SETTLE = "billing/charging/settle.py"
CONSEQUENCES = "billing/charging/consequences.py"
ATTEMPTS = "billing/domain/attempts.py"
MATCHING = "billing/domain/matching.py"
READING = "billing/charging/card_reading.py"
PREFLIGHT = "billing/charging/preflight.py"
CHECKING = "billing/models/bulk/checking.py"
RECONCILE = "billing/charging/reconcile.py"
COLLECT = "billing/charging/collect.py"

TEST_GUARDS = "tests/charging/test_guards.py"
TEST_ARM = "tests/charging/test_arm.py"
TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_SETTLE = "tests/charging/test_settle.py"
TEST_READING = "tests/charging/test_card_reading.py"
TEST_ARMING = "tests/domain/test_arming.py"
TEST_ATTEMPTS = "tests/domain/test_attempts.py"
TEST_MATCHING = "tests/domain/test_matching.py"
TEST_KILLS = "tests/faults/test_kills.py"


def one(name: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(name, (Edit(file, old, new),), tests)


def named(file: str, words: str) -> tuple[str, ...]:
    return (file, "-k", words)


_ARM = [
    one("arm: nothing is sent of a commit that was not acknowledged", ARM,
        "            return ArmResult(unacknowledged=inserted)\n", "            pass\n",
        *named(TEST_KILLS, "arms_commit_raises")),
    one("arm: its commit is durable", ARM, "with transaction.atomic(durable=True):\n                result, ready",
        "with transaction.atomic():\n                result, ready", *named(TEST_GUARDS, "inside_another")),
    one("arm: the stop switches", ARM, "if account.stopped or (", "if (", *named(TEST_GUARDS, "stopped")),
    one("arm: live accounts wait for the installation", ARM,
        "(environment is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE)", "False",
        *named(TEST_GUARDS, "live")),
    one("arm: everything is re-checked", ARM,
        "reason = refusal(_facts(account, invoice, subscription, card), self.now)", "reason = None", TEST_ARM),
    one("arm: the card is still the one to be charged", ARM,
        "or not _still_the_card(invoice, subscription, card)", "or False", TEST_GUARDS),
    one("arm: one invoice a card", ARM, "if card is None or card not in taken:", "if True:",
        *named(TEST_GUARDS, "side_by_side")),
    one("arm: account and host agree", ARM, "if not url_fits_environment(Environment(account.environment), "
        "account.api_url):", "if False:", *named(TEST_ARM, "live")),
    one("arm: the request goes to the account's own host", ARM,
        'if not prepared.url.startswith(f"{account.api_url}/"):', "if False:", *named(TEST_GUARDS, "host")),
    one("arm: a refusal by a constraint is written down", ARM, "            _refuse_alone(candidate[0], now)\n", "",
        *named(TEST_ARM, "breaks_a_constraint")),
    Mutation("arm: read before another try", (
        Edit(ARM, "preflight_needed=invoice.attempt_count > 0 or account.preflight_always", "preflight_needed=False"),
        Edit(ARM_SQL, "AND ((i.attempt_count = 0 AND NOT %(always)s) OR i.preflight_at >= %(fresh_since)s)",
             "AND (true OR %(always)s OR %(fresh_since)s IS NULL)"),
    ), named(TEST_CHARGE, "tried_again_only_after or money_that_came_after"),
        why="the work list leaves out what has to be read first, and arm re-checks the same under its locks"),
    *(
        one(f"arm: refused when {words}", ARMING, f"({old}, Refusal", "(False, Refusal", TEST_ARMING)
        for words, old in (
            ("the invoice has a holder", "facts.invoice_has_holder"),
            ("the gateway collects", "facts.collected_by_gateway"),
            ("the card has a schedule of the gateway", "facts.card_kind is CardKind.RECURRING"),
            ("the card is not active", "facts.card_state is not CardState.ACTIVE"),
            ("the card is held", "facts.card_held"),
            ("the card has an unresolved attempt", "facts.card_has_unresolved_attempt"),
            ("the environments differ", "facts.card_environment is not facts.account_environment"),
            ("the amount is above the limit", "facts.amount_minor > facts.account_limit_minor"),
            ("the invoice was refunded", "facts.amount_refunded_minor > 0"),
            ("the cards were not read", "facts.preflight_needed and not _fresh(facts.preflight_at, now)"),
        )
    ),
    one("arm: a read counts for a minute", ARMING, "timedelta(0) <= now - preflight_at <= PREFLIGHT_FRESH", "True",
        TEST_ARMING),
    one("arm: cards are locked", ARM_SQL, "c.id = ANY(%s) ORDER BY c.id FOR UPDATE SKIP LOCKED",
        "c.id = ANY(%s) ORDER BY c.id", *named(TEST_GUARDS, "somebody_else_holds")),
    one("arm: subscriptions are locked", ARM_SQL, "WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED",
        "WHERE id = ANY(%s) ORDER BY id", *named(TEST_GUARDS, "somebody_else_holds")),
    Mutation("arm: invoices are locked", (
        Edit(ARM_SQL, "LIMIT %(limit)s FOR UPDATE OF i SKIP LOCKED", "LIMIT %(limit)s"),
        Edit(ARM_SQL, "AND next_attempt_at <= %s ORDER BY id FOR UPDATE SKIP LOCKED",
             "AND next_attempt_at <= %s ORDER BY id"),
    ), named(TEST_GUARDS, "somebody_else_holds"),
        why="the work list locks what it gives out, and invoices that are armed one by one are locked again"),
    one("arm: a card with an open outcome is known", ARM_SQL,
        "AND state IN ('sending', 'unknown', 'in_process', 'needs_human') AND released_at IS NULL", "AND false",
        *named(TEST_CHARGE, "side_by_side")),
    one("arm: an invoice with a holder is known", ARM_SQL,
        "AND state IN ('sending', 'unknown', 'in_process', 'needs_human', 'succeeded')", "AND false",
        *named(TEST_ARM, "unresolved_is_not_tried")),
    one("arm: what is no longer due is left alone", ARM_SQL, "AND next_attempt_at <= %s ORDER BY id FOR UPDATE",
        "AND (next_attempt_at <= %s OR true) ORDER BY id FOR UPDATE", *named(TEST_GUARDS, "no_longer_due")),
    one("arm: what is armed leaves the work list", ARM_SQL,
        "SET next_attempt_at = NULL, attempt_count", "SET attempt_count", *named(TEST_GUARDS, "leaves_the_work_list")),
    one("send: not after the window", "rm_gateway/client.py", "if abs(age) > self._settings.window_seconds:",
        "if False:", *named(TEST_KILLS, "wakes_late")),
    one("send: only listed refusals are certain", "billing/gateway/answers.py",
        "if not isinstance(error, (NotSent, Rejected)):", "if False:", *named(TEST_CHARGE, "absence_never_permits")),
]  # fmt: skip

_SETTLE = [
    one("settle: its commit is durable", SETTLE, "with transaction.atomic(durable=True):", "with transaction.atomic():",
        *named(TEST_GUARDS, "inside_another")),
    one("settle: what was told is not told again", SETTLE, '{content}{since}".encode()',
        '{content}{since}{id(one)}".encode()', *named(TEST_SETTLE, "told_again")),
    one("settle: money is heard again after a decision", SETTLE, 'f"\\nsince {ended_by}" if ended_by and', '"" if',
        *named(TEST_SETTLE, "overlooked")),
    one("settle: what cannot be recorded is unknown", SETTLE, "in (one.finding, one.finding, unclear):",
        "in (one.finding, one.finding):", *named(TEST_SETTLE, "cannot_be_stored")),
    one("settle: the place is taken", CONSEQUENCES,
        "place_taken=any(AttemptState(other.state) in HOLDS_PLACE for other in self._others(attempt)),",
        "place_taken=False,", *named(TEST_SETTLE, "surplus or arrives_twice")),
    one("settle: the invoice still wants money", CONSEQUENCES,
        "money_wanted=invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE),", "money_wanted=True,",
        *named(TEST_GUARDS, "void")),
    one("settle: a transaction is claimed once", CONSEQUENCES,
        "transaction_claimed=self._claimed_by_another(attempt, finding),", "transaction_claimed=False,",
        *named(TEST_SETTLE, "one_transaction_never")),
    one("settle: a claimed transaction is not taken over", CONSEQUENCES,
        "if not transaction or self._claimed_by_another(attempt, finding):", "if not transaction:",
        *named(TEST_SETTLE, "one_transaction_never")),
    one("settle: the surplus inherits", CONSEQUENCES, "            self._promote_surplus(attempt)\n",
        "            pass\n", *named(TEST_SETTLE, "surplus_is_the_payment")),
    one("settle: a lost sender is asked about at once", CONSEQUENCES, "if finding.source is Source.SWEEPER:",
        "if False:", *named(TEST_SETTLE, "sweeper_calls")),
    one("settle: a young reversal waits", CONSEQUENCES, "if finding.verdict is Verdict.REVERSED:", "if False:",
        *named(TEST_SETTLE, "first_answer_of_reversed")),
    one("settle: each complete read is a rung", CONSEQUENCES, "attempt.checks_done += 1", "attempt.checks_done += 0",
        *named(TEST_CHARGE, "absence_never_permits")),
    one("settle: an alarm holds the card", CONSEQUENCES,
        'self._holds.append((attempt.payment_method_id, reason))\n        self._tell("attempt.alarm"',
        'self._tell("attempt.alarm"', *named(TEST_SETTLE, "alarm")),
    one("settle: a contradiction holds the card", CONSEQUENCES, "if finding.verdict is Verdict.CONTRADICTION:",
        "if False:", *named(TEST_GUARDS, "contradiction")),
    one("settle: a person is told of the case", CONSEQUENCES,
        'self._tell("attempt.needs_human", "attempt", attempt.id, attempt.account_id, "", payload)', "pass",
        *named(TEST_SETTLE, "charged_with_the_transaction")),
    one("settle: a reversed invoice waits for a person", CONSEQUENCES, "invoice.hold = Hold.REVERSED.value",
        "invoice.next_attempt_at = self._now", *named(TEST_SETTLE, "reversal_opens")),
    one("settle: a decline of a closed invoice asks for nothing", CONSEQUENCES,
        "        if invoice.state != InvoiceState.OPEN:\n            return\n        invoice.not_sent",
        "        invoice.not_sent", *named(TEST_GUARDS, "closed")),
    one("settle: what was not sent stops an account after twenty", CONSEQUENCES,
        "account.not_sent_in_a_row >= NOT_SENT_LIMIT", "False", *named(TEST_CHARGE, "twenty")),
    one("settle: a wrong set-up stops the account", CONSEQUENCES, "(finding.stops_account or ", "(",
        *named(TEST_CHARGE, "wrong_set_up")),
    one("decide: only a person decides what is with one", ATTEMPTS,
        "if state is S.NEEDS_HUMAN and finding.source is not Source.OPERATOR:", "if False:", TEST_ATTEMPTS),
    one("decide: the amount", ATTEMPTS, "if finding.amount_minor != attempt.amount_minor:", "if False:", TEST_ATTEMPTS),
    one("decide: the currency", ATTEMPTS, "if finding.currency != attempt.currency:", "if False:", TEST_ATTEMPTS),
    one("decide: the store", ATTEMPTS,
        "if finding.store_id is not None and attempt.store_id and finding.store_id != attempt.store_id:", "if False:",
        TEST_ATTEMPTS),
    one("decide: the card", ATTEMPTS, "if finding.gateway_customer_id is not None and "
        "finding.gateway_customer_id != attempt.gateway_customer_id:", "if False:", TEST_ATTEMPTS),
    one("decide: the marker", ATTEMPTS, "if finding.marker is not None and finding.marker != attempt.marker:",
        "if False:", TEST_ATTEMPTS),
    one("decide: the claim", ATTEMPTS, 'return "transaction_id_claimed" if attempt.transaction_claimed else None',
        "return None", TEST_ATTEMPTS),
    one("decide: money names its transaction", ATTEMPTS,
        '(None if finding.transaction_id else "transaction_id_missing")', "None", TEST_ATTEMPTS),
    one("decide: surplus", ATTEMPTS, "if attempt.place_taken or not attempt.money_wanted:", "if False:", TEST_ATTEMPTS),
    one("decide: absence closes nothing", ATTEMPTS, 'return Stay("absent")', 'return Move(S.NOT_CHARGED, "absent")',
        TEST_ATTEMPTS),
    one("decide: at last a person", ATTEMPTS,
        "return Move(S.NEEDS_HUMAN, finding.reason or finding.verdict.value)",
        "return Move(S.NOT_CHARGED, finding.reason or finding.verdict.value)", TEST_ATTEMPTS),
    one("decide: what is not clear is unknown", ATTEMPTS,
        'return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay("still_unclear")',
        'return Move(S.NOT_SENT, finding.reason) if state is S.SENDING else Stay("still_unclear")', TEST_ATTEMPTS),
    one("decide: a decline takes no money back", ATTEMPTS,
        '    if state in HAS_MONEY:\n        return Alarm("declined_after_money")\n', "", TEST_ATTEMPTS),
    one("decide: a reversal has to age", ATTEMPTS,
        "if state in UNRESOLVED and now - attempt.armed_at >= settles_after:", "if state in UNRESOLVED:",
        TEST_ATTEMPTS),
    one("decide: a second transaction is an alarm", ATTEMPTS,
        'Stay("already_paid") if known else Alarm("second_transaction")', 'Stay("already_paid")', TEST_ATTEMPTS),
    one("decide: money after a reversal is an alarm", ATTEMPTS,
        "if state is S.REVERSED or (attempt.found_reversed", "if (attempt.found_reversed", TEST_ATTEMPTS),
    one("decide: an answer that is older than a reversal is an alarm", ATTEMPTS,
        " or (attempt.found_reversed and finding.transaction_id == attempt.transaction_id):", ":", TEST_ATTEMPTS),
    one("reconcile: absence permits only after long", RECONCILE,
        "number >= len(limits.ladder) and now - check.armed_at >= permitted_after", "True",
        "tests/charging/test_reports.py"),
    one("decide: a person decides only what is with one", ATTEMPTS,
        'return Move(S.NOT_CHARGED, finding.reason) if state is S.NEEDS_HUMAN else Stay("not_with_a_person")',
        "return Move(S.NOT_CHARGED, finding.reason)", TEST_ATTEMPTS),
    one("sweep: not before the deadline", "billing/charging/sweep.py", ', deadline_at__lte=now', "",
        *named(TEST_SETTLE, "sweeper_calls")),
]  # fmt: skip

_READ = [
    one("match: the amount", MATCHING, "if amount_minor != wanted.amount_minor or currency != wanted.currency:",
        "if currency != wanted.currency:", TEST_MATCHING),
    one("match: the currency", MATCHING, "if amount_minor != wanted.amount_minor or currency != wanted.currency:",
        "if amount_minor != wanted.amount_minor:", TEST_MATCHING),
    one("match: not too early", MATCHING, "wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
        "created_at <= wanted.armed_at + LATEST", TEST_MATCHING),
    one("match: not too late", MATCHING, "wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
        "wanted.armed_at - EARLIEST <= created_at", TEST_MATCHING),
    one("match: another's marker is no candidate", MATCHING, "if marker_in(order.words) is None\n        and could_be(",
        "if could_be(", TEST_MATCHING),
    one("match: an order without a marker is a person's", MATCHING,
        "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if len(nameless) == 1:", TEST_MATCHING),
    one("match: two candidates are a person's", MATCHING,
        "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if echo is MarkerEcho.PROVED_ABSENT:",
        TEST_MATCHING),
    one("match: two orders of one attempt are a person's", MATCHING,
        'Match(own[0]) if len(own) == 1 else Ambiguous(tuple(own), "two_orders_for_one_attempt")', "Match(own[0])",
        TEST_MATCHING),
    one("read: the baseline is nobody's", READING, "if order.order_id not in card.explained:", "if True:",
        *named(TEST_READING, "before_the_card")),
    one("read: an order and its transaction agree", READING, 'if found.order_id in (None, "", order.order_id):',
        "if True:", *named(TEST_READING, "disagree")),
    one("read: two possible makers", READING, "case Match(found) if _anothers_as_well(read, attempt, found):",
        "case Match(found) if False:", *named(TEST_READING, "two_attempts")),
    one("read: attempts armed meanwhile", READING, "read.unexplained = _still_unexplained(read)", "pass",
        *named(TEST_READING, "armed_while")),
    one("read: an unexplained order holds the card", READING,
        'settling.hold_cards([(read.card.id, "unexplained_order")], now=now)', "pass",
        *named(TEST_CHARGE, "unexplained_order")),
    one("read: a lost transaction is asked for", READING,
        "        if attempt.wanted.transaction_id:\n            found =", "        if False:\n            found =",
        *named(TEST_READING, "asked_about_by_its_transaction")),
    one("read: an inactive card is noted", READING, "        if read.inactive:\n", "        if False:\n",
        *named(TEST_CHARGE, "inactive_card")),
    one("preflight: unexplained money stops the try", PREFLIGHT, "if any(card.unexplained for card in outcome):",
        "if False:", *named(TEST_CHARGE, "unexplained_order")),
    one("preflight: what cannot be read stops the try", PREFLIGHT, "reason = Refusal.PREFLIGHT_MISSING",
        "reason = None", *named(TEST_CHARGE, "cards_cannot_be_read")),
    one("preflight: it is as old as its beginning", PREFLIGHT, "read_at=reading.begun_at", "read_at=now",
        *named(TEST_READING, "armed_while")),
    one("preflight: every card that was tried", CHECKING,
        "SELECT invoice_id, payment_method_id FROM billing_paymentattempt WHERE invoice_id = ANY(%(ids)s)\n"
        "           UNION\n", "", *named(TEST_READING, "every_card")),
    one("preflight: a lost lease makes nothing ready", CHECKING,
        "SET preflight_at = %s, lease_until = NULL\n               WHERE id = %s AND lease_token = %s",
        "SET preflight_at = %s, lease_until = NULL\n               WHERE id = %s AND lease_token >= %s",
        *named(TEST_READING, "lease")),
    one("preflight: one reader an invoice", CHECKING, "AND (lease_until IS NULL OR lease_until <= %(now)s)", "",
        *named(TEST_READING, "lease")),
    one("reconcile: the ladder ends with a person", RECONCILE,
        "    elif number >= len(limits.rungs):\n", "    elif False:\n", *named(TEST_CHARGE, "absence_never_permits")),
    one("reconcile: an inactive card is a decline only after an error", RECONCILE,
        "return read.inactive and any(a.id == check.attempt_id and a.answered_with_error for a in read.absent)",
        "return read.inactive", *named(TEST_READING, "inactive")),
    one("reconcile: reads that fail for days end with a person", RECONCILE,
        "given_up = [check for check in checks if now - check.armed_at > PATIENCE]",
        "given_up: list[checking.Check] = []", *named(TEST_READING, "for_days")),
    one("reconcile: a look is leased", CHECKING, "UPDATE billing_paymentattempt SET next_check_at = %s\n",
        "UPDATE billing_paymentattempt SET next_check_at = least(next_check_at, %s)\n",
        *named(TEST_READING, "for_days or looked_at_by_one")),
    one("collect: no token, no attempt", COLLECT, "if not self._has_token(gateway, account):", "if False:",
        *named(TEST_ARM, "without_a_token")),
    one("collect: what was not acknowledged is settled", COLLECT,
        "self._count(settle([Told(attempt, finding) for attempt in found], limits=self._limits, now=self._clock()))",
        "del finding, found", *named(TEST_KILLS, "arms_commit_raises")),
    one("collect: an answer is kept until it is settled", COLLECT,
        "            self._count(settle(told, limits=self._limits, now=self._clock()))\n"
        "            del self._unsettled[: len(group)]",
        "            del self._unsettled[: len(group)]\n"
        "            self._count(settle(told, limits=self._limits, now=self._clock()))",
        *named(TEST_KILLS, "settles_commit_raises")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_ARM, *_SETTLE, *_READ]
