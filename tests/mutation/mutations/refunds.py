"""The guards of giving money back: asking, arming, sending, settling, and what is seen at the gateway."""

from tests.mutation.harness import ANY_TRANSACTION, Mutation, each, named, one

ASK = "billing/charging/refunds/ask.py"
ARM = "billing/charging/refunds/arm.py"
PERMISSION = "billing/charging/protocol/permission.py"
SETTLE = "billing/charging/refunds/settle.py"
WORKER = "billing/charging/refunds/worker.py"
RULES = "billing/domain/refunds.py"
SQL = "billing/models/bulk/refunding.py"
ANSWERS = "billing/gateway/answers.py"
SEEN = "billing/charging/reading/payments.py"

TEST_RULES = "tests/domain/test_refunds.py"
TEST_GUARDS = "tests/charging/test_refund_guards.py"
TEST_SETTLE = "tests/charging/test_refund_settle_guards.py"
TEST_REQUESTS = "tests/charging/test_refund_requests.py"
TEST_SEEN = "tests/charging/test_refunds_seen.py"
TEST_REFUNDS = "tests/charging/test_refunds.py"
TEST_WORKER = "tests/hostile/test_refund_worker.py"
TEST_KILLS = "tests/faults/test_refund_kills.py"

_RULES = each("refund", RULES, {
    "only a person decides what is with one": (
        "if state is R.NEEDS_REVIEW and finding.source is not RefundSource.OPERATOR:", "if False:"),
    "nothing leads out of an end": ("    if state not in OPEN:\n", "    if False:\n"),
    "money that went back after all is an alarm": (
        'return Alarm(Reason.REFUNDED_AFTER_ALL) if late else Stay()', 'return Stay()'),
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
    "what is unchanged is not over": ('UNCHANGED:\n            return Stay()',
                                      "UNCHANGED:\n            return _if(state is R.UNKNOWN, R.NOT_REFUNDED, finding)"),
    "at last a person": ("_if(state is R.UNKNOWN, R.NEEDS_REVIEW, finding)", "_if(state is R.UNKNOWN, R.NOT_REFUNDED, "
                         "finding)"),
    "a person decides only what is with one": ("_if(state is R.NEEDS_REVIEW, R.NOT_REFUNDED, finding)",
                                               "_if(True, R.NOT_REFUNDED, finding)"),
    "another transaction says nothing": ("    if seen.transaction_id != transaction_id:\n", "    if False:\n"),
    "a reversal is a reversal": ('            return RefundVerdict.CONTRADICTION, Reason.REFUNDED_INSTEAD\n',
                                 '            return RefundVerdict.REFUNDED, Reason.REFUNDED_INSTEAD\n'),
    "a refund is no reversal": ('        return RefundVerdict.CONTRADICTION, Reason.REVERSED_INSTEAD\n',
                                '        return RefundVerdict.REFUNDED, Reason.REVERSED_INSTEAD\n'),
    "an amount that is not told says nothing": ('        return RefundVerdict.UNCLEAR, Reason.AMOUNT_UNKNOWN\n',
                                                '        return RefundVerdict.UNCHANGED, ""\n'),
    "what went back before is not this one": ("change = seen.refunded_minor - before_minor",
                                              "change = seen.refunded_minor"),
    "only this very amount is this refund": ("    if change == amount_minor:\n", "    if change >= amount_minor:\n"),
    "another amount is a contradiction": (
        '(RefundVerdict.UNCHANGED, None) if change == 0 else (RefundVerdict.CONTRADICTION, Reason.AMOUNT_DIFFERS)',
        '(RefundVerdict.UNCHANGED, None)'),
    "what a reversal took is no refund": ("if seen.reversed or seen.refunded_minor is None:\n        return 0",
                                          "if seen.refunded_minor is None:\n        return 0"),
    "what our rows explain is not news": ("max(seen.refunded_minor - explained_minor, 0)", "seen.refunded_minor"),
    "armed only for money": ("    if not facts.attempt_has_money:\n", "    if False:\n"),
    "armed only for what is still owed": ("    if refunded_minor == before_minor:\n", "    if True:\n"),
    "a part of it given back is not all of it": (
        "return RefundEnd.PARTLY_GIVEN_BACK if left else RefundEnd.ALREADY_GIVEN_BACK",
        "return RefundEnd.ALREADY_GIVEN_BACK"),
    "what was given back before it is no part of it": ("max(before_minor + amount_minor - refunded_minor, 0)",
                                                       "max(amount_minor - refunded_minor, 0)"),
    "not while an earlier one may have acted": (
        "if facts.shown_by is not None and facts.looked_at < facts.shown_by:", "if False:"),
    "armed on a fresh look": ("if not timedelta(0) <= now - facts.looked_at <= LOOK_FRESH:", "if False:"),
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
        *named(TEST_REQUESTS, "only_money and needs or only_money and not_sent")),
    one("refund: one at a time", ASK, "if locked.refunds.filter(state__in=sorted(OPEN)).exists():", "if False:",
        *named(TEST_GUARDS, "one_at_a_time")),
    one("refund: who asks is alone with the attempt", ASK,
        "locked = refunding.lock_around([attempt.pk])[attempt.pk]", "locked = PaymentAttempt.objects.get(pk=attempt.pk)",
        *named(TEST_GUARDS, "alone_with")),
    one("refund: a reversal is of the whole", ASK, "        if locked.amount_refunded_minor:\n", "        if False:\n",
        *named(TEST_REQUESTS, "needs_the_gateways_order")),
    one("refund: a reversal is asked for within its window", ASK,
        "if end := cannot_reverse(locked.gateway_order_id, locked.armed_at, now):", "if end := None:",
        *named(TEST_REQUESTS, "needs_the_gateways_order")),
    one("refund: a reason is given", ASK, "    if not reason.strip():\n", "    if False:\n",
        *named(TEST_REQUESTS, "reason_is_needed")),
    one("refund: only what was not sent is withdrawn", ASK,
        "        if settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor) is None:\n",
        "        settle_refund_in_transaction(refund.pk, finding, limits=limits, now=now, actor=actor)\n"
        "        if False:\n", *named(TEST_GUARDS, "withdrawn")),
    one("refund: a person's word is compared with the gateway's", ASK,
        "        _refuse_against(seen, now_open, resolution)\n", "        pass\n", *named(TEST_REQUESTS, "nobody_denies")),
    one("refund: nobody decides while the gateway cannot be asked", ASK,
        "        if refund.state_reason != Reason.READS_KEEP_FAILING:\n", "        if False:\n",
        *named(TEST_REQUESTS, "nobody_denies")),
    *each("refund: against", RULES, {
        "what went back nobody denies it": (
            'return None if refunded else Contradiction("refunded_at', 'return None if True else Contradiction("refunded_at'),
        "too little nobody claims it": ("    if seen.refunded_minor >= least:\n", "    if True:\n"),
        "what went back before it nobody claims it": ("RefundKind.REVERSE else before_minor + amount_minor\n",
                                                      "RefundKind.REVERSE else amount_minor\n"),
    }, *named(TEST_RULES, "decision_is_refused")),
    one("refund: who closes what is closed is told", ASK, "        if state is None:  # somebody",
        "        if False:  # somebody", *named(TEST_GUARDS, "closes_only")),
]  # fmt: skip

_ARM = [
    one("refund arm: its commit is durable", PERMISSION, "with durable():", ANY_TRANSACTION,
        *named(TEST_GUARDS, "inside_another")),
    one("refund arm: what is no longer asked for is left alone", ARM, "if refund.state != RefundState.REQUESTED or not",
        "if not", *named(TEST_GUARDS, "armed_twice")),
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
    one("refund arm: everything is re-checked", ARM, "= may_arm(facts, now)", "= None",
        *named(TEST_GUARDS, "recheck_on_arming")),
    one("refund arm: what never may be sent is over", ARM, "    if isinstance(outcome, RefundEnd):\n",
        "    if False:\n", *named(TEST_GUARDS, "recheck_on_arming")),
    one("refund arm: what may not be sent now waits", ARM, "    if isinstance(outcome, RefundWait):\n",
        "    if False:\n", *named(TEST_GUARDS, "recheck_on_arming")),
    *each("refund arm: re-checked under its locks", ARM, {
        "the stop switches": ("stopped=account.stopped,", "stopped=False,"),
        "live": ("live_allowed=environment is not Environment.LIVE or settings.KITARAN_ALLOW_LIVE,",
                 "live_allowed=True,"),
        "the host": ("environment_fits=url_fits_environment(environment, account.api_url),", "environment_fits=True,"),
        "the limit": ("account_limit_minor=account.charge_limit_minor,", "account_limit_minor=refund.amount_minor,"),
        "what is still owed": ("refunded_minor=attempt.amount_refunded_minor,\n        order_id",
                               "refunded_minor=refund.refunded_before_minor,\n        order_id"),
        "the age of the look": ("looked_at=looked_at,\n        shown_by", "looked_at=refund.created_at,\n        shown_by"),
        "what earlier ones may have done": ("shown_by=_shown_by(attempt),", "shown_by=None,"),
        "money": ("attempt_has_money=AttemptState(attempt.state) in HAS_MONEY,", "attempt_has_money=True,"),
        "its order": ("order_id=attempt.gateway_order_id,", 'order_id="1001",'),
        "its age": ("charged_at=attempt.armed_at,", "charged_at=refund.created_at,"),
        "a token": ("    if not gateway.has_token():\n", "    if False:\n"),
        "a request that can be made": ("        return RefundEnd.REQUEST_IMPOSSIBLE\n", "        raise\n"),
        "the account's own host": ("if not is_for(prepared, api_url):", "if False:"),
    }, *named(TEST_GUARDS, "recheck_on_arming")),
    one("refund arm: a refusal by a constraint is written down", ARM,
        "        _wait(one.refund_id, RefundWait.CONSTRAINT, now + LOOK_AGAIN)\n", "", *named(TEST_GUARDS, "breaks_a_constraint")),
    one("refund arm: nothing is sent of a commit that was not acknowledged", PERMISSION,
        "        return Unacknowledged(frozen.what)\n", "        pass\n",
        *named(TEST_KILLS, "arms_commit_raises and answer and default")),
    one("refund arm: only what is asked for waits", ARM,
        "Refund.objects.filter(pk=refund_id, state=RefundState.REQUESTED.value).update(\n        state_reason",
        "Refund.objects.filter(pk=refund_id).update(\n        state_reason", *named(TEST_GUARDS, "only_what_is_asked_for")),
]  # fmt: skip

_SETTLE = [
    one("refund settle: its commit is durable", SETTLE,
        "    with sql.durable():\n        return settle_refund_in_transaction",
        f"    {ANY_TRANSACTION}\n        return settle_refund_in_transaction",
        *named(TEST_GUARDS, "inside_another")),
    one("refund settle: what is seen is one durable commit", SETTLE,
        "    with sql.durable():\n        settling.lock_for_settlement(sorted(reads)",
        f"    {ANY_TRANSACTION}\n        settling.lock_for_settlement(sorted(reads)",
        *named(TEST_GUARDS, "inside_another")),
    one("refund settle: what was told is not told again", SETTLE, "        if evidence_id is None:\n",
        "        if False:\n", *named(TEST_SETTLE, "repeated_finding_changes")),
    one("refund settle: an alarm is told", SETTLE,
        "                _record_alarm(self._refund, self._attempt, reason, self._now)\n",
        "                pass\n", *named(TEST_SETTLE, "after_all")),
    one("refund settle: what is over is looked at no more", SETTLE,
        "self._first_check(finding) if to is R.UNKNOWN else None", "self._now", *named(TEST_SETTLE, "moves_once")),
    one("refund settle: what is unknown is looked into", SETTLE,
        "self._first_check(finding) if to is R.UNKNOWN else None", "None", *named(TEST_SETTLE, "swept")),
    one("refund settle: a move is in the history", SETTLE,
        "        _log(refund, self._attempt, before, reason, evidence_id, self._actor, self._now)\n", "",
        *named(TEST_SETTLE, "moves_once")),
    one("refund settle: a reversal takes the payment back", SETTLE, "                    self._reverse(finding)\n",
        "                    pass\n", *named(TEST_REFUNDS, "fresh_payment_is_reversed and default")),
    one("refund settle: what went back is counted", SETTLE,
        "                    _count(self._attempt, self._refund.amount_minor)\n", "                    pass\n",
        *named(TEST_SETTLE, "moves_once")),
    *each("refund settle: while nothing is decided", SETTLE, {
        "only what is unknown is looked at again": ("if refund.state != R.UNKNOWN or finding.source", "if finding.source"),
        "only a query is a rung": (" or finding.source is not RefundSource.TRANSACTION_QUERY or", " or"),
        "each query is a rung": ("        refund.checks_done += 1\n", ""),
        "it is asked about beyond the ladder": (
            "        refund.next_check_at = after or self._now + self._limits.ladder[-1]\n",
            "        refund.next_check_at = after\n"),
    }, *named(TEST_SETTLE, "undecided")),
    one("refund settle: a lost sender is asked about at once", SETTLE,
        "if finding.source is RefundSource.SWEEPER or self._refund.armed_at is None:",
        "if self._refund.armed_at is None:", *named(TEST_SETTLE, "swept")),
    one("refund settle: told twice is recorded once", "billing/models/bulk/evidence.py",
        "ON CONFLICT ON CONSTRAINT {constraint} DO NOTHING\n", "\n", *named(TEST_SETTLE, "repeated_finding_changes")),
    one("refund settle: money from a surplus was never the invoice's", SQL, "    if pays_its_invoice:\n",
        "    if True:\n", *named(TEST_SETTLE, "refund_of_an_overpayment")),
    one("refund settle: what went back counts on the invoice", SQL, "    if pays_its_invoice:\n", "    if False:\n",
        *named(TEST_SETTLE, "refund_of_an_overpayment")),
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
        "ends a request that it is a part of": ("        if waiting is not None:\n            _end", "        if False:\n            _end"),
        "and says how much is left": (
            'detail = {"refunded_minor": refunded_minor, "still_owed_minor": left}', "detail = {}"),
        "is counted": ("    _count(attempt, amount_minor)\n", ""),
        "is in the history": (
            '    _log(refund, attempt, "", Reason.SEEN_AT_THE_GATEWAY, refund.last_evidence_id, actor, now)\n', ""),
        "as a payment that was reversed": ("            if reads[attempt.pk].money.reversed\n",
                                           "            if False\n"),
    }, *named(TEST_SETTLE, "gateway_refund or gateway_reversal_takes")),
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
    }, *named(TEST_SETTLE, "refund_error_is_certain")),
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
        "                if one.state == RefundState.REQUESTED:\n", *named(TEST_REQUESTS, "waits_while_the_gateway")),
    one("refund work: looks that fail for days end with a person", WORKER,
        "if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:", "if False:",
        *named(TEST_REQUESTS, "unknown_refund")),
    one("refund work: looks that fail do not count", WORKER,
        "if asks and one.armed_at is not None and now - one.armed_at > PATIENCE:", "if asks:",
        *named(TEST_REQUESTS, "unknown_refund")),
    one("refund work: what moved meanwhile is not put back", WORKER,
        "Refund.objects.filter(pk=one.refund_id, state=one.state).update(", "Refund.objects.filter(pk=one.refund_id)"
        ".update(", *named(TEST_GUARDS, "moved_meanwhile")),
    *each("refund work: a look", WORKER, {
        "is the last one after the ladder": (
            "RefundVerdict.UNCLEAR) and number >= len(self._limits.ladder):", "RefundVerdict.UNCLEAR) and False:"),
        "is not the last one before": (
            "RefundVerdict.UNCLEAR) and number >= len(self._limits.ladder):", "RefundVerdict.UNCLEAR):"),
        "is told as its own": ('detail={**seen.content, "check": number}', "detail={**seen.content}"),
    }, *named(TEST_GUARDS, "each_check")),
    *each("refund work: beside an account that hangs", WORKER, {
        "it has few readers": ("if count >= OF_ONE_ACCOUNT]", "if count >= SENDERS]"),
        "nobody waits for its readers": ("[one for one in self._looking if one.look.done()]", "list(self._looking)"),
    }, *named(TEST_WORKER, "hang_hold_up_nobody")),
    one("refund work: an answer that cannot be settled is its account's trouble", WORKER,
        "troubles.note(armed.asked.account_id, WORK_ON_ONE", "troubles.note(None, WORK_ON_ONE",
        *named(TEST_WORKER, "trouble_of_its_account")),
    one("refund work: what is left unsettled is named", WORKER, "        self._name_what_is_left()\n", "",
        *named(TEST_WORKER, "refund_that_could_not")),
    one("collect: what is left unsettled is named", "billing/charging/collecting/collect.py",
        "        if left := [sent.armed.marker for sent in self._unsettled] + self._unacknowledged:", "        if left := []:", *named(TEST_WORKER, "charge_that_could_not")),
    one("refund work: an answer is kept until it is settled", WORKER,
        "            except CONNECTION_LOST:\n                raise\n            except Exception as error:  # the sweep",
        "            except Exception as error:  # the sweep",
        *named(TEST_KILLS, "settles_commit_raises and request and default")),
    one("refund work: not sent is only what this process armed", WORKER,
        "Refund.objects.filter(pk=one.refund_id, request_nonce=one.nonce).exists()",
        "Refund.objects.filter(pk=one.refund_id).exists()", *named(TEST_GUARDS, "unacknowledged_refund")),
    one("refund work: what was not acknowledged is said to be not sent", WORKER,
        "                self._count(settle_refund(one.refund_id, finding, limits=self._limits, now=now))\n"
        "            else:", "                pass\n            else:", *named(TEST_GUARDS, "unacknowledged_refund")),
    one("refund work: a sender that fails has an unknown outcome", WORKER,
        "return armed, RefundFinding(RefundVerdict.UNCLEAR, RefundSource.ANSWER, reason=why",
        "return armed, RefundFinding(RefundVerdict.NOT_SENT, RefundSource.ANSWER, reason=why",
        *named(TEST_GUARDS, "finding_of_an_answer")),
    one("refund work: an answer without the money is not clear", WORKER,
        "        verdict, reason = RefundVerdict.UNCLEAR, reason or Reason.NOT_SEEN_IN_THE_ANSWER\n",
        "        reason = reason or Reason.NOT_SEEN_IN_THE_ANSWER\n", *named(TEST_GUARDS, "finding_of_an_answer")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_RULES, *_ASK, *_ARM, *_SETTLE, *_SEEN, *_WORK]
