"""The guards of giving money back: asking, arming, sending, settling, and what is seen at the gateway."""

from tests.mutation.harness import Edit, Mutation, each, named, one

ASK = "billing/charging/refund.py"
ARM = "billing/charging/refund_arming.py"
SETTLE = "billing/charging/refund_settling.py"
WORKER = "billing/charging/refund_worker.py"
RULES = "billing/domain/refunds.py"
SQL = "billing/models/bulk/refunding.py"
ANSWERS = "billing/gateway/answers.py"
SEEN = "billing/charging/payments_seen.py"

TEST_RULES = "tests/domain/test_refunds.py"
TEST_GUARDS = "tests/charging/test_refund_guards.py"
TEST_SETTLE = "tests/charging/test_refund_settle_guards.py"
TEST_ASKED = "tests/charging/test_refunds_asked.py"
TEST_SEEN = "tests/charging/test_refunds_seen.py"
TEST_REFUNDS = "tests/charging/test_refunds.py"
TEST_KILLS = "tests/faults/test_refund_kills.py"

_RULES = each("refund", RULES, {
    "only a person decides what is with one": (
        "if state is R.NEEDS_HUMAN and finding.source is not RefundSource.OPERATOR:", "if False:"),
    "nothing leads out of an end": ("    if state not in OPEN:\n", "    if False:\n"),
    "money that went back after all is an alarm": (
        'return Alarm("refunded_after_all") if late else Stay("already_ended")', 'return Stay("already_ended")'),
    "only what was asked for is armed": ("_if(state is R.REQUESTED, R.SENDING, finding)", "_if(True, R.SENDING, finding)"),
    "only what was not sent cannot be": ("_if(state is R.REQUESTED, R.NOT_SENT, finding)",
                                         "_if(True, R.NOT_SENT, finding)"),
    "only what was sent is given back": ("_if(state in MAY_HAVE_ACTED, R.SUCCEEDED, finding)",
                                         "_if(True, R.SUCCEEDED, finding)"),
    "only what was sent is refused": ("_if(state in (R.SENDING, R.UNKNOWN), R.REFUSED, finding)",
                                      "_if(True, R.REFUSED, finding)"),
    "what became unknown is not called not sent": ("R.NOT_SENT if state is R.SENDING else R.NOT_REFUNDED", "R.NOT_SENT"),
    "what is not clear is unknown": ("_if(state is R.SENDING, R.UNKNOWN, finding)",
                                     "_if(state is R.SENDING, R.NOT_SENT, finding)"),
    "what is unchanged is not over": ('return Stay("unchanged")',
                                      "return _if(state is R.UNKNOWN, R.NOT_REFUNDED, finding)"),
    "at last a person": ("_if(state is R.UNKNOWN, R.NEEDS_HUMAN, finding)", "_if(state is R.UNKNOWN, R.NOT_REFUNDED, "
                         "finding)"),
    "a person decides only what is with one": ("_if(state is R.NEEDS_HUMAN, R.NOT_REFUNDED, finding)",
                                               "_if(True, R.NOT_REFUNDED, finding)"),
    "another transaction says nothing": ("    if seen.transaction_id != transaction_id:\n", "    if False:\n"),
    "a reversal is a reversal": ('            return RefundVerdict.CONTRADICTION, "refunded_instead"\n',
                                 '            return RefundVerdict.REFUNDED, "refunded_instead"\n'),
    "a refund is no reversal": ('        return RefundVerdict.CONTRADICTION, "reversed_instead"\n',
                                '        return RefundVerdict.REFUNDED, "reversed_instead"\n'),
    "an amount that is not told says nothing": ('        return RefundVerdict.UNCLEAR, "amount_unknown"\n',
                                                '        return RefundVerdict.UNCHANGED, ""\n'),
    "what went back before is not this one": ("change = seen.refunded_minor - before_minor",
                                              "change = seen.refunded_minor"),
    "only this very amount is this refund": ("    if change == amount_minor:\n", "    if change >= amount_minor:\n"),
    "another amount is a contradiction": (
        '(RefundVerdict.UNCHANGED, "") if change == 0 else (RefundVerdict.CONTRADICTION, "amount_differs")',
        '(RefundVerdict.UNCHANGED, "")'),
    "what a reversal took is no refund": ("if seen.reversed or seen.refunded_minor is None:\n        return 0",
                                          "if seen.refunded_minor is None:\n        return 0"),
    "what our rows explain is not news": ("max(seen.refunded_minor - explained_minor, 0)", "seen.refunded_minor"),
    "armed only for money": ("    if not facts.attempt_has_money:\n", "    if False:\n"),
    "armed only for what is left": ("if facts.refunded_minor + facts.amount_minor > facts.captured_minor:", "if False:"),
    "a reversal is armed within its window": (
        "if facts.kind is RefundKind.REVERSE and (end := cannot_reverse(facts.order_id, facts.charged_at, now)):",
        "if end := None:"),
    "a reversal names its order": ("    if not order_id:\n", "    if False:\n"),
    "the window ends": ("if now - charged_at >= REVERSE_WINDOW else None", "if False else None"),
    "not while it is stopped": ("    if facts.stopped:\n", "    if False:\n"),
    "live accounts wait for the installation": ("    if not facts.live_allowed:\n", "    if False:\n"),
    "account and host agree": ("    if not facts.environment_fits:\n", "    if False:\n"),
    "not above the account's limit": ("    if facts.amount_minor > facts.account_limit_minor:\n", "    if False:\n"),
    "not when nothing is left": ("    if left <= 0:\n", "    if False:\n"),
    "not of nothing": ("    if amount < 1:\n", "    if False:\n"),
    "not of more than is left": ("    if amount > left:\n", "    if False:\n"),
    "full is the whole of an untouched payment": ("RefundKind.FULL if amount == captured_minor",
                                                  "RefundKind.FULL if amount == left"),
}, *named(TEST_RULES, "not leaves_the_table"))  # fmt: skip

_ASK = [
    one("refund: only money is asked back", ASK, "if AttemptState(locked.state) not in HAS_MONEY:", "if False:",
        *named(TEST_ASKED, "only_money and needs or only_money and not_sent")),
    one("refund: one at a time", ASK, "if locked.refunds.filter(state__in=sorted(OPEN)).exists():", "if False:",
        *named(TEST_GUARDS, "one_at_a_time")),
    one("refund: who asks is alone with the attempt", ASK,
        "locked = refunding.lock_around([attempt.pk])[attempt.pk]", "locked = PaymentAttempt.objects.get(pk=attempt.pk)",
        *named(TEST_GUARDS, "alone_with")),
    one("refund: a reversal is of the whole", ASK, "        if locked.amount_refunded_minor:\n", "        if False:\n",
        *named(TEST_ASKED, "needs_the_gateways_order")),
    one("refund: a reversal is asked for within its window", ASK,
        "if end := cannot_reverse(locked.gateway_order_id, locked.armed_at, now):", "if end := None:",
        *named(TEST_ASKED, "needs_the_gateways_order")),
    one("refund: a reason is given", ASK, "    if not reason.strip():\n", "    if False:\n",
        *named(TEST_ASKED, "reason_is_needed")),
    one("refund: only what was not sent is withdrawn", ASK,
        "        if settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor) is None:\n",
        "        settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor)\n"
        "        if False:\n", *named(TEST_GUARDS, "withdrawn")),
    one("refund: a person closes only what is with one", ASK,
        "if refunding.lock_refund(refund.pk).state == RefundState.NEEDS_HUMAN:", "if True:",
        *named(TEST_GUARDS, "closes_only")),
    one("refund: who closes what is closed is told", ASK, "        if state is None:\n            raise RefundError(",
        "        if False:\n            raise RefundError(", *named(TEST_GUARDS, "closes_only")),
]  # fmt: skip

_ARM = [
    one("refund arm: its commit is durable", ARM, "with transaction.atomic(durable=True):", "with transaction.atomic():",
        *named(TEST_GUARDS, "inside_another")),
    one("refund arm: what is no longer asked for is left alone", ARM, "if refund.state != RefundState.REQUESTED:",
        "if False:", *named(TEST_GUARDS, "armed_twice")),
    *each("refund arm: locked", SQL, {
        "the attempt": ("PaymentAttempt.objects.select_for_update(no_key=True).filter(pk__in=ids)",
                        "PaymentAttempt.objects.filter(pk__in=ids)"),
        "the refund": ("return Refund.objects.select_for_update(no_key=True).get(pk=refund_id)",
                       "return Refund.objects.get(pk=refund_id)"),
        "the card": (
            "(SELECT payment_method_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE",
            "(SELECT payment_method_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id"),
        "the subscription": ("WHERE a.id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE", "WHERE a.id = ANY(%s)) ORDER BY id"),
        "the invoice": ("(SELECT invoice_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id FOR NO KEY UPDATE",
                        "(SELECT invoice_id FROM billing_paymentattempt WHERE id = ANY(%s)) ORDER BY id"),
    }, *named(TEST_GUARDS, "armed_at_once")),
    one("refund arm: everything is re-checked", ARM, "outcome = may_arm(_facts(account, attempt, refund), now)",
        "outcome = None", *named(TEST_GUARDS, "re_checked")),
    one("refund arm: what never may be sent is over", ARM, "            if isinstance(outcome, RefundEnd):\n",
        "            if False:\n", *named(TEST_GUARDS, "re_checked")),
    one("refund arm: what may not be sent now waits", ARM, "            if isinstance(outcome, RefundWait):\n",
        "            if False:\n", *named(TEST_GUARDS, "re_checked")),
    *each("refund arm: re-checked under its locks", ARM, {
        "the stop switches": ("stopped=account.stopped,", "stopped=False,"),
        "live": ("live_allowed=environment is not Environment.LIVE or settings.KITARAN_ALLOW_LIVE,",
                 "live_allowed=True,"),
        "the host": ("environment_fits=url_fits_environment(environment, account.api_url),", "environment_fits=True,"),
        "the limit": ("account_limit_minor=account.charge_limit_minor,", "account_limit_minor=refund.amount_minor,"),
        "money": ("attempt_has_money=AttemptState(attempt.state) in HAS_MONEY,", "attempt_has_money=True,"),
        "its order": ("order_id=attempt.gateway_order_id,", 'order_id="1001",'),
        "its age": ("charged_at=attempt.armed_at,", "charged_at=refund.created_at,"),
        "a token": ("    if not gateway.has_token():\n", "    if False:\n"),
        "a request that can be made": ("        return RefundEnd.REQUEST_IMPOSSIBLE\n", "        raise\n"),
        "the account's own host": ('if not prepared.url.startswith(f"{api_url}/"):', "if False:"),
    }, *named(TEST_GUARDS, "re_checked")),
    Mutation("refund arm: re-checked under its locks: what is left", (
        Edit(ARM, "refunded_minor=attempt.amount_refunded_minor,\n        order_id", "refunded_minor=0,\n        order_id"),
        Edit(ARM, "if kind is RefundKind.FULL and attempt.amount_refunded_minor:", "if False:"),
    ), named(TEST_GUARDS, "re_checked"),
        why="a full refund is of the whole amount, so that it is more than what is left once anything went back"),
    one("refund arm: a refusal by a constraint is written down", ARM,
        "        _wait(one.refund_id, RefundWait.CONSTRAINT, now)\n", "", *named(TEST_GUARDS, "breaks_a_constraint")),
    one("refund arm: nothing is sent of a commit that was not acknowledged", ARM,
        "        return Unacknowledged(one.refund_id, frozen[0].prepared.nonce)\n", "        pass\n",
        *named(TEST_KILLS, "arms_commit_raises and answer and default")),
    one("refund arm: only what is asked for waits", ARM,
        "Refund.objects.filter(pk=refund_id, state=RefundState.REQUESTED.value).update(\n        state_reason",
        "Refund.objects.filter(pk=refund_id).update(\n        state_reason", *named(TEST_GUARDS, "only_what_is_asked_for")),
]  # fmt: skip

_SETTLE = [
    one("refund settle: its commit is durable", SETTLE,
        "    with transaction.atomic(durable=True):\n        return settle_refund_in_transaction",
        "    with transaction.atomic():\n        return settle_refund_in_transaction",
        *named(TEST_GUARDS, "inside_another")),
    one("refund settle: what is seen is one durable commit", SETTLE,
        "    with transaction.atomic(durable=True):\n        settling.lock_for_settlement(sorted(reads)",
        "    with transaction.atomic():\n        settling.lock_for_settlement(sorted(reads)",
        *named(TEST_GUARDS, "inside_another")),
    one("refund settle: what was told is not told again", SETTLE, "        if evidence_id is None:\n",
        "        if False:\n", *named(TEST_SETTLE, "told_again")),
    one("refund settle: an alarm is told", SETTLE,
        '                _tell(self._refund, self._attempt, "refund.alarm", reason, self._now)\n',
        "                pass\n", *named(TEST_SETTLE, "after_all")),
    one("refund settle: what is over is looked at no more", SETTLE,
        "self._first_check(finding) if to is R.UNKNOWN else None", "self._now", *named(TEST_SETTLE, "moves_once")),
    one("refund settle: what is unknown is looked into", SETTLE,
        "self._first_check(finding) if to is R.UNKNOWN else None", "None", *named(TEST_SETTLE, "swept")),
    one("refund settle: a move is in the history", SETTLE,
        "        _log(refund, before, reason, evidence_id, self._actor, self._now)\n", "",
        *named(TEST_SETTLE, "moves_once")),
    one("refund settle: a reversal takes the payment back", SETTLE, "                    self._reverse(finding)\n",
        "                    pass\n", *named(TEST_REFUNDS, "fresh_payment_is_reversed and default")),
    one("refund settle: what went back is counted", SETTLE,
        "                    _count(self._attempt, self._refund.amount_minor)\n", "                    pass\n",
        *named(TEST_SETTLE, "moves_once")),
    *each("refund settle: told", SETTLE, {
        "when it succeeds": ('                _tell(self._refund, self._attempt, "refund.succeeded", "", self._now)\n',
                             ""),
        "when it fails": ('                _tell(self._refund, self._attempt, "refund.failed", "", self._now)\n',
                          "                pass\n"),
        "when a person has to decide": (
            '                _tell(self._refund, self._attempt, "refund.needs_human", "", self._now)\n',
            "                pass\n"),
    }, *named(TEST_SETTLE, "moves_once")),
    *each("refund settle: while nothing is decided", SETTLE, {
        "only what is unknown is looked at again": ("if refund.state != R.UNKNOWN or finding.source", "if finding.source"),
        "only a query is a rung": (" or finding.source is not RefundSource.TRANSACTION_QUERY or", " or"),
        "each query is a rung": ("        refund.checks_done += 1\n", ""),
        "it is asked about beyond the ladder": (
            "        refund.next_check_at = after or self._now + self._limits.ladder[-1]\n",
            "        refund.next_check_at = after\n"),
    }, *named(TEST_SETTLE, "nothing_is_decided")),
    one("refund settle: a lost sender is asked about at once", SETTLE,
        "if finding.source is RefundSource.SWEEPER or self._refund.armed_at is None:",
        "if self._refund.armed_at is None:", *named(TEST_SETTLE, "swept")),
    one("refund settle: told twice is recorded once", SQL,
        "           ON CONFLICT ON CONSTRAINT refund_evidence_is_told_once DO NOTHING RETURNING id",
        "           RETURNING id", *named(TEST_SETTLE, "told_again")),
    one("refund settle: money from a surplus was never the invoice's", SQL, "    if pays_its_invoice:\n",
        "    if True:\n", *named(TEST_SETTLE, "of_surplus")),
    one("refund settle: what went back counts on the invoice", SQL, "    if pays_its_invoice:\n", "    if False:\n",
        *named(TEST_SETTLE, "of_surplus")),
    one("refund sweep: not before the deadline", WORKER, ", deadline_at__lte=now)", ")", *named(TEST_SETTLE, "swept")),
    one("refund sweep: only what is being sent", WORKER, "filter(state=RefundState.SENDING.value, deadline",
        "filter(deadline", *named(TEST_SETTLE, "swept")),
]  # fmt: skip

_SEEN = [
    *each("refund seen", SETTLE, {
        "of a payment": ("PaymentAttempt.objects.filter(pk__in=reads, state__in=HAS_MONEY).order_by(\"pk\"):",
                         "PaymentAttempt.objects.filter(pk__in=reads).order_by(\"pk\"):"),
        "in its own transaction": ("read.money.transaction_id != attempt.gateway_transaction_id or not", "not"),
        "in the gateway's own word": (" or not read.says_refunded:", ":"),
        "only what is news": ("        if not amount or (", "        if ("),
        "not while a refund of ours may have acted": (
            "if not amount or (waiting is not None and waiting.state in MAY_HAVE_ACTED):", "if not amount:"),
        "ends a request for more than is left": (
            "if waiting is not None and (waiting.amount_minor > left or waiting.kind == RefundKind.REVERSE):",
            "if waiting is not None and waiting.kind == RefundKind.REVERSE:"),
        # A reversal is of the whole payment, so that it is more than what is left as well.
        "ends a request to reverse": (
            "if waiting is not None and (waiting.amount_minor > left or waiting.kind == RefundKind.REVERSE):",
            "if waiting is not None and waiting.amount_minor > left and waiting.kind != RefundKind.REVERSE:"),
        "leaves a request for what is left": (
            "if waiting is not None and (waiting.amount_minor > left or waiting.kind == RefundKind.REVERSE):",
            "if waiting is not None:"),
        "is counted": ("    _count(attempt, amount_minor)\n", ""),
        "is told": ('    _tell(refund, attempt, "refund.succeeded", "", now)\n', ""),
        "is in the history": (
            '    _log(refund, "", "seen_at_the_gateway", refund.last_evidence_id, actor, now)\n', ""),
        "as a payment that was reversed": ("            if reads[attempt.pk].money.reversed\n",
                                           "            if False\n"),
    }, *named(TEST_SETTLE, "seen_at_the_gateway")),
    one("refund seen: a payment that cannot be read holds nothing up", SEEN,
        "            if attempt.id in look_at:\n                raise\n", "            raise\n",
        *named(TEST_SEEN, "holds_no_other_reading_up")),
    one("refund seen: who looks is told what cannot be read", SEEN,
        "            if attempt.id in look_at:\n                raise\n", "",
        *named(TEST_SEEN, "holds_no_other_reading_up")),
    *each("refund answered", ANSWERS, {
        "what is not on the list is unknown": (
            "    else:\n        verdict = RefundVerdict.UNCLEAR\n", "    else:\n        verdict = RefundVerdict.NOT_SENT\n"),
        "a refusal moved nothing": ("        verdict = RefundVerdict.REFUSED\n", "        verdict = RefundVerdict.UNCLEAR\n"),
    }, *named(TEST_SETTLE, "answered_with_an_error")),
]  # fmt: skip

_WORK = [
    one("refund work: claimed by one", SQL, "UPDATE billing_refund r SET next_check_at = %s\n",
        "UPDATE billing_refund r SET next_check_at = least(next_check_at, %s)\n", *named(TEST_GUARDS, "claimed_by_one")),
    one("refund work: not before its time", SQL, "FROM billing_refund WHERE next_check_at <= %s\n",
        "FROM billing_refund WHERE (next_check_at <= %s OR next_check_at IS NOT NULL)\n",
        *named(TEST_GUARDS, "claimed_by_one")),
    one("refund work: the gateway is looked at first", WORKER,
        "        write_down({one.attempt_id: seen}, limits=self._limits, now=self._clock())\n", "",
        *named(TEST_SEEN, "portal_was_faster and default")),
    one("refund work: nothing is sent that cannot be looked at", WORKER,
        "                if isinstance(seen, GatewayUnavailableError):\n                    self._not_seen(one, seen)\n"
        "                elif one.state == RefundState.REQUESTED:\n",
        "                if one.state == RefundState.REQUESTED:\n", *named(TEST_ASKED, "waits_while_the_gateway")),
    one("refund work: looks that fail for days end with a person", WORKER,
        "if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:", "if False:",
        *named(TEST_ASKED, "person_in_the_end")),
    one("refund work: looks that fail do not count", WORKER,
        "if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:", "if asks:",
        *named(TEST_ASKED, "person_in_the_end")),
    one("refund work: what moved meanwhile is not put back", WORKER,
        "Refund.objects.filter(pk=one.refund_id, state=one.state).update(", "Refund.objects.filter(pk=one.refund_id)"
        ".update(", *named(TEST_GUARDS, "moved_meanwhile")),
    *each("refund work: a look", WORKER, {
        "is the last one after the ladder": (
            "RefundVerdict.UNCLEAR) and number >= len(self._limits.ladder):", "RefundVerdict.UNCLEAR) and False:"),
        "is not the last one before": (
            "RefundVerdict.UNCLEAR) and number >= len(self._limits.ladder):", "RefundVerdict.UNCLEAR):"),
        "is told as its own": ('detail={**seen.content, "check": number}', "detail={**seen.content}"),
    }, *named(TEST_GUARDS, "each_look")),
    one("refund work: an answer is kept until it is settled", WORKER,
        "            self._count(settle_refund(armed.refund_id, finding, limits=self._limits, now=self._clock()))\n"
        "            del self._unsettled[0]\n",
        "            del self._unsettled[0]\n"
        "            self._count(settle_refund(armed.refund_id, finding, limits=self._limits, now=self._clock()))\n",
        *named(TEST_KILLS, "settles_commit_raises and request and default")),
    one("refund work: not sent is only what this process armed", WORKER,
        "Refund.objects.filter(pk=one.refund_id, request_nonce=one.nonce).exists()",
        "Refund.objects.filter(pk=one.refund_id).exists()", *named(TEST_GUARDS, "not_acknowledged")),
    one("refund work: what was not acknowledged is said to be not sent", WORKER,
        "                self._count(settle_refund(one.refund_id, finding, limits=self._limits, now=now))\n"
        "            else:", "                pass\n            else:", *named(TEST_GUARDS, "not_acknowledged")),
    one("refund work: a sender that fails has an unknown outcome", WORKER,
        "return armed, RefundFinding(RefundVerdict.UNCLEAR, RefundSource.ANSWER, reason=\"sender_failed\"",
        "return armed, RefundFinding(RefundVerdict.NOT_SENT, RefundSource.ANSWER, reason=\"sender_failed\"",
        *named(TEST_GUARDS, "what_an_answer_says")),
    one("refund work: an answer without the money is not clear", WORKER,
        "        verdict, reason = RefundVerdict.UNCLEAR, reason or \"not_seen_in_the_answer\"\n",
        "        reason = reason or \"not_seen_in_the_answer\"\n", *named(TEST_GUARDS, "what_an_answer_says")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_RULES, *_ASK, *_ARM, *_SETTLE, *_SEEN, *_WORK]
