"""The guards of giving money back: asking, arming, sending, settling, and what is seen at the gateway."""

from tests.mutation.edits import ANY_TRANSACTION, always, drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

ASK = "billing/charging/refunds/ask.py"
ARM = "billing/charging/refunds/arm.py"
PERMISSION = "billing/charging/protocol/permission.py"
SETTLE = "billing/charging/refunds/settle.py"
WORKER = "billing/charging/refunds/worker.py"
RULES = "billing/domain/refunds.py"
SQL = "billing/models/bulk/refunding.py"
ANSWERS = "billing/gateway/findings.py"
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
    "only a person decides what is with one":
        never("decide", "state is R.NEEDS_REVIEW and finding.source is not RefundSource.OPERATOR"),
    "nothing leads out of an end": never("decide", "state not in OPEN"),
    "money that went back after all is an alarm":
        swap("decide", "Alarm(Reason.REFUNDED_AFTER_ALL) if late else Stay()", "Stay()"),
    "only what was asked for is armed":
        swap("decide", "_if(state is R.REQUESTED, R.SENDING, finding)", "_if(True, R.SENDING, finding)"),
    "only what was not sent cannot be":
        swap("decide", "_if(state is R.REQUESTED, R.NOT_SENT, finding)", "_if(True, R.NOT_SENT, finding)"),
    "only what was sent is given back": always("decide", "state in MAY_HAVE_ACTED"),
    "only what was sent is refused":
        swap("decide", "_if(state in (R.SENDING, R.UNKNOWN), R.REFUSED, finding)", "_if(True, R.REFUSED, finding)"),
    "what became unknown is not called not sent":
        swap("decide", "R.NOT_SENT if state is R.SENDING else R.NOT_REFUNDED", "R.NOT_SENT"),
    "what is not clear is unknown": swap("decide", "R.UNKNOWN", "R.NOT_SENT", of="case RefundVerdict.UNCLEAR:"),
    "what is unchanged is not over":
        swap("decide", "Stay()", 'Move(R.NOT_REFUNDED, "")', of="case RefundVerdict.UNCHANGED:"),
    "at last a person":
        swap("decide", "_if(state is R.UNKNOWN, R.NEEDS_REVIEW, ...)", "_if(state is R.UNKNOWN, R.NOT_REFUNDED, ...)"),
    "a person decides only what is with one": swap("decide", "_if(state is R.NEEDS_REVIEW, ...)", "_if(True, ...)"),
    "another transaction says nothing": never("judge", "seen.transaction_id != transaction_id"),
    "a reversal is a reversal":
        swap("judge", "RefundVerdict.CONTRADICTION", "RefundVerdict.REFUNDED", of="if seen.refunded_minor:"),
    "a refund is no reversal": swap("judge", "RefundVerdict.CONTRADICTION, Reason.REVERSED_INSTEAD",
        "RefundVerdict.REFUNDED, Reason.REVERSED_INSTEAD"),
    "an amount that is not told says nothing":
        swap("judge", "RefundVerdict.UNCLEAR, Reason.AMOUNT_UNKNOWN", 'RefundVerdict.UNCHANGED, ""'),
    "what went back before is not this one": swap("judge", "seen.refunded_minor - before_minor", "seen.refunded_minor"),
    "only this very amount is this refund": swap("judge", "change == amount_minor", "change >= amount_minor"),
    "another amount is a contradiction": always("judge", "change == 0"),
    "what a reversal took is no refund": drop("unexplained", "seen.reversed"),
    "what our rows explain is not news":
        swap("unexplained", "max(seen.refunded_minor - explained_minor, 0)", "seen.refunded_minor"),
    "armed only for money": never("may_arm", "not facts.attempt_has_money"),
    "armed only for what is still owed": always("overtaken", "refunded_minor == before_minor"),
    "a part of it given back is not all of it": swap("overtaken",
        "RefundEnd.PARTLY_GIVEN_BACK if left else RefundEnd.ALREADY_GIVEN_BACK", "RefundEnd.ALREADY_GIVEN_BACK"),
    "what was given back before it is no part of it": swap("still_owed", "before_minor + amount_minor", "amount_minor"),
    "not while an earlier one may have acted":
        never("may_arm", "facts.shown_by is not None and facts.looked_at < facts.shown_by"),
    "armed on a fresh look": never("may_arm", "not timedelta(0) <= now - facts.looked_at <= LOOK_FRESH"),
    "a reversal is armed within its window":
        swap("may_arm", "facts.kind is RefundKind.REVERSE and (end := cannot_reverse(...))", "end := None"),
    "a reversal names its order": never("cannot_reverse", "not order_id"),
    "the window ends": never("cannot_reverse", "now - charged_at >= REVERSE_WINDOW"),
    "not while it is stopped": never("may_arm", "facts.stopped"),
    "live accounts wait for the installation": never("may_arm", "not facts.live_allowed"),
    "account and host agree": never("may_arm", "not facts.environment_fits"),
    "not above the account's limit": never("may_arm", "facts.amount_minor > facts.account_limit_minor"),
    "not when nothing is left": never("kind_and_amount", "left <= 0"),
    "not of nothing": never("kind_and_amount", "amount < 1"),
    "not of more than is left": never("kind_and_amount", "amount > left"),
    "full is the whole of an untouched payment": swap("kind_and_amount", "amount == captured_minor", "amount == left",
        of="left = captured_minor - refunded_minor\n..."),
}, TEST_RULES, "not leaves_the_table")  # fmt: skip

_ASK = [
    one("refund: only money is asked back", ASK, never("_lock_money", "AttemptState(locked.state) not in HAS_MONEY"),
        TEST_REQUESTS, "only_money and needs or only_money and not_sent"),
    one("refund: one at a time", ASK, never("_lock_money", "locked.refunds.filter(state__in=sorted(OPEN)).exists()"),
        TEST_GUARDS, "one_at_a_time"),
    one("refund: who asks is alone with the attempt", ASK, swap("_lock_money",
        "refunding.lock_around([attempt.pk])[attempt.pk]", "PaymentAttempt.objects.get(pk=attempt.pk)"),
        TEST_GUARDS, "alone_with"),
    one("refund: a reversal is of the whole", ASK, never("request_reverse", "locked.amount_refunded_minor"),
        TEST_REQUESTS, "needs_the_gateways_order"),
    one("refund: a reversal is asked for within its window", ASK,
        swap("request_reverse", "cannot_reverse(locked.gateway_order_id, locked.armed_at, now)", "None"),
        TEST_REQUESTS, "needs_the_gateways_order"),
    one("refund: a reason is given", ASK, never("_stated", "not decision.reason"),
        TEST_REQUESTS, "reason_is_needed"),
    one("refund: only what was not sent is withdrawn", ASK,
        swap("withdraw", "settle_refund_in_transaction(...) is None", "settle_refund_in_transaction(...) and False"),
        TEST_GUARDS, "withdrawn"),
    one("refund: a person's word is compared with the gateway's", ASK,
        drop("resolve_refund", "_refuse_against(seen, now_open, resolution)"), TEST_REQUESTS, "nobody_denies"),
    one("refund: nobody decides while the gateway cannot be asked", ASK,
        never("_read", "refund.state_reason != Reason.READS_KEEP_FAILING"), TEST_REQUESTS, "nobody_denies"),
    *each("refund: against", RULES, {
        "what went back nobody denies it": always("contradicted", "refunded", of="None if refunded else ..."),
        "too little nobody claims it": always("contradicted", "seen.refunded_minor >= least"),
        "what went back before it nobody claims it":
            swap("contradicted", "before_minor + amount_minor", "amount_minor"),
    }, TEST_RULES, "decision_is_refused"),
    one("refund: who closes what is closed is told", ASK, never("resolve_refund", "state is None"),
        TEST_GUARDS, "closes_only"),
]  # fmt: skip

_ARM = [
    one("refund arm: its commit is durable", PERMISSION, swap("ask_permission", "durable", ANY_TRANSACTION),
        TEST_GUARDS, "inside_another"),
    one("refund arm: what is no longer asked for is left alone", ARM,
        drop("_freeze_or_wait", "refund.state != RefundState.REQUESTED"), TEST_GUARDS, "armed_twice"),
    *each("refund arm: locked", SQL, {
        "the attempt":
            swap("lock_around", "PaymentAttempt.objects.select_for_update(no_key=True)", "PaymentAttempt.objects"),
        "the refund": swap("lock_refund", "Refund.objects.select_for_update(no_key=True)", "Refund.objects"),
        "the card": drop_sql("lock_around", "FOR NO KEY UPDATE", of="SELECT payment_method_id"),
        "the subscription": drop_sql("lock_around", "FOR NO KEY UPDATE", of="FROM billing_subscription"),
        "the invoice": drop_sql("lock_around", "FOR NO KEY UPDATE", of="SELECT invoice_id"),
    }, TEST_GUARDS, "armed_at_once"),
    *each("refund arm", ARM, {
        "everything is re-checked": swap("_freeze_or_wait", "may_arm(facts, now)", "None"),
        "what never may be sent is over": never("_freeze_or_wait", "isinstance(outcome, RefundEnd)"),
        "what may not be sent now waits": never("_freeze_or_wait", "isinstance(outcome, RefundWait)"),
    }, TEST_GUARDS, "recheck_on_arming"),
    *each("refund arm: re-checked under its locks", ARM, {
        "the stop switches": never("_facts", "account.stopped"),
        "live": always("_facts", "environment is not Environment.LIVE or settings.KITARAN_ALLOW_LIVE"),
        "the host": always("_facts", "url_fits_environment(environment, account.api_url)"),
        "the limit": swap("_facts", "account.charge_limit_minor", "refund.amount_minor",
            of="RefundFacts(..., amount_minor=refund.amount_minor)"),
        "what is still owed": swap("_facts", "attempt.amount_refunded_minor", "refund.refunded_before_minor",
            of="RefundFacts(..., amount_minor=refund.amount_minor)"),
        "the age of the look": swap("_facts", "looked_at=looked_at", "looked_at=refund.created_at",
            of="RefundFacts(..., amount_minor=refund.amount_minor)"),
        "what earlier ones may have done": swap("_facts", "_shown_by(attempt)", "None"),
        "money": always("_facts", "AttemptState(attempt.state) in HAS_MONEY"),
        "its order": swap("_facts", "attempt.gateway_order_id", '"1001"'),
        "its age": swap("_facts", "attempt.armed_at", "refund.created_at",
            of="RefundFacts(..., amount_minor=refund.amount_minor)"),
        "a token": never("_freeze", "not gateway.has_token()"),
        "a request that can be made": swap("_freeze", "return RefundEnd.REQUEST_IMPOSSIBLE", "raise"),
        "the account's own host": never("_freeze", "not is_for(prepared, api_url)"),
    }, TEST_GUARDS, "recheck_on_arming"),
    one("refund arm: a refusal by a constraint is written down", ARM, drop("arm_refund",
        "_wait(one.refund_id, RefundWait.CONSTRAINT, now + LOOK_AGAIN)"), TEST_GUARDS, "breaks_a_constraint"),
    one("refund arm: nothing is sent of a commit that was not acknowledged", PERMISSION, drop("ask_permission",
        "return Unacknowledged(frozen.what)"), TEST_KILLS, "arms_commit_raises and answer and default"),
    one("refund arm: only what is asked for waits", ARM, drop("_wait", "state=RefundState.REQUESTED.value"),
        TEST_GUARDS, "only_what_is_asked_for"),
]  # fmt: skip

_SETTLE = [
    one("refund settle: its commit is durable", SETTLE, swap("settle_refund", "sql.durable", ANY_TRANSACTION),
        TEST_GUARDS, "inside_another"),
    one("refund settle: what is seen is one durable commit", SETTLE, swap("write_down", "sql.durable", ANY_TRANSACTION),
        TEST_GUARDS, "inside_another"),
    one("refund settle: what was told is not told again", SETTLE, never("apply", "evidence_id is None"),
        TEST_SETTLE, "repeated_finding_changes"),
    one("refund settle: an alarm is told", SETTLE, drop("apply",
        "_record_alarm(self._refund, self._attempt, reason, self._now)"), TEST_SETTLE, "after_all"),
    one("refund settle: what is over is looked at no more", SETTLE, swap("_move",
        "self._first_check(finding) if to is R.UNKNOWN else None", "self._now"), TEST_SETTLE, "moves_once"),
    one("refund settle: what is unknown is looked into", SETTLE,
        swap("_move", "self._first_check(finding) if to is R.UNKNOWN else None", "None"), TEST_SETTLE, "swept"),
    one("refund settle: a move is in the history", SETTLE,
        drop("_move", "_log(refund, self._attempt, before, reason, evidence_id, self._actor, self._now)"),
        TEST_SETTLE, "moves_once"),
    one("refund settle: a reversal takes the payment back", SETTLE, drop("_carry_out", "self._reverse(finding)"),
        TEST_REFUNDS, "fresh_payment_is_reversed and default"),
    one("refund settle: what went back is counted", SETTLE,
        drop("_carry_out", "_count(self._attempt, self._refund.amount_minor)"), TEST_SETTLE, "moves_once"),
    *each("refund settle: while nothing is decided", SETTLE, {
        "only what is unknown is looked at again": drop("_stay", "refund.state != R.UNKNOWN"),
        "only a query is a rung": drop("_stay", "finding.source is not RefundSource.TRANSACTION_QUERY"),
        "each query is a rung": drop("_stay", "refund.checks_done += 1"),
        "it is asked about beyond the ladder": drop("_stay", "self._now + self._tuning.ladder[-1]"),
    }, TEST_SETTLE, "undecided"),
    one("refund settle: a lost sender is asked about at once", SETTLE,
        drop("_first_check", "finding.source is RefundSource.SWEEPER"), TEST_SETTLE, "swept"),
    one("refund settle: told twice is recorded once", "billing/models/bulk/evidence.py", drop_sql("REPEATED",
        "ON CONFLICT ON CONSTRAINT refund_evidence_is_told_once DO NOTHING"), TEST_SETTLE, "repeated_finding_changes"),
    one("refund settle: money from a surplus was never the invoice's", SQL,
        always("add_refunded", "if pays_its_invoice:"), TEST_SETTLE, "refund_of_an_overpayment"),
    one("refund settle: what went back counts on the invoice", SQL, never("add_refunded", "if pays_its_invoice:"),
        TEST_SETTLE, "refund_of_an_overpayment"),
    one("refund sweep: not before the deadline", WORKER, drop("sweep_refunds", "deadline_at__lte=now"),
        TEST_SETTLE, "swept"),
    one("refund sweep: only what is being sent", WORKER, drop("sweep_refunds", "state=RefundState.SENDING.value"),
        TEST_SETTLE, "swept"),
]  # fmt: skip

_SEEN = [
    *each("refund seen", SETTLE, {
        "of a payment": drop("record_seen", "state__in=HAS_MONEY"),
        "in its own transaction": drop("record_seen", "read.money.transaction_id != attempt.gateway_transaction_id"),
        "in the gateway's own word": drop("record_seen", "not read.says_refunded"),
        "only what is news": drop("record_seen", "not amount"),
        "not while a refund of ours may have acted":
            drop("record_seen", "waiting is not None and waiting.state in MAY_HAVE_ACTED"),
        "ends a request that it is a part of": never("record_seen", "if waiting is not None:"),
        "and says how much is left":
            swap("cannot", '{"refunded_minor": refunded_minor, "still_owed_minor": left}', "{}"),
        "is counted": drop("_write_seen", "_count(attempt, amount_minor)"),
        "is in the history": drop("_write_seen", "_log(...)"),
        "as a payment that was reversed": never("write_down", "reads[attempt.pk].money.reversed"),
    }, TEST_SETTLE, "gateway_refund or gateway_reversal_takes"),
    one("refund seen: a payment that cannot be read holds nothing up", SEEN,
        swap("read_payments", "if attempt.id in payments_of: raise", "raise"), TEST_SEEN, "holds_no_other_reading_up"),
    one("refund seen: who looks is told what cannot be read", SEEN,
        drop("read_payments", "if attempt.id in payments_of:"), TEST_SEEN, "holds_no_other_reading_up"),
    *each("refund answered", ANSWERS, {
        "what is not on the list is unknown":
            swap("finding_from_refund_error", "RefundVerdict.UNCLEAR", "RefundVerdict.NOT_SENT"),
        "a refusal moved nothing": swap("finding_from_refund_error", "RefundVerdict.REFUSED", "RefundVerdict.UNCLEAR"),
    }, TEST_SETTLE, "refund_error_is_certain"),
]  # fmt: skip

_WORK = [
    one("refund work: claimed by one", SQL, swap_sql("claim", "next_check_at = %s",
        "next_check_at = least(next_check_at, %s)"), TEST_GUARDS, "claimed_by_one"),
    one("refund work: not before its time", SQL, swap_sql("claim", "next_check_at <= %s",
        "(next_check_at <= %s OR next_check_at IS NOT NULL)"), TEST_GUARDS, "claimed_by_one"),
    one("refund work: the gateway is looked at first", WORKER,
        drop("_give_back", "write_down({one.attempt_id: seen}, tuning=self._tuning, now=self._clock())"),
        TEST_SEEN, "portal_was_faster and default"),
    one("refund work: nothing is sent that cannot be looked at", WORKER,
        never("_carry_on", "isinstance(seen, GatewayUnavailableError)"), TEST_REQUESTS, "waits_while_the_gateway"),
    one("refund work: looks that fail for days end with a person", WORKER, never("_not_seen",
        "asks and one.armed_at is not None and now - one.armed_at > PATIENCE"), TEST_REQUESTS, "unknown_refund"),
    one("refund work: looks that fail do not count", WORKER,
        swap("_not_seen", "asks and one.armed_at is not None and now - one.armed_at > PATIENCE", "asks"),
        TEST_REQUESTS, "unknown_refund"),
    one("refund work: what moved meanwhile is not put back", WORKER, drop("_not_seen", "state=one.state"),
        TEST_GUARDS, "moved_meanwhile"),
    *each("refund work: a look", WORKER, {
        "is the last one after the ladder": never("_ask_about", "number >= len(self._tuning.ladder)"),
        "is not the last one before": drop("_ask_about", "number >= len(self._tuning.ladder)"),
        "is told as its own": swap("_ask_about", '{**seen.content, "check": number}', "{**seen.content}"),
    }, TEST_GUARDS, "each_check"),
    *each("refund work: beside an account that hangs", WORKER, {
        "it has few readers": swap("_busy_accounts", "OF_ONE_ACCOUNT", "SENDERS"),
        "nobody waits for its readers":
            swap("_carry_on", "[one for one in self._reading if one.read.done()]", "list(self._reading)"),
    }, TEST_WORKER, "hang_hold_up_nobody"),
    one("refund work: an answer that cannot be settled is its account's trouble", WORKER,
        swap("_settle", "armed.asked.account_id", "None"), TEST_WORKER, "trouble_of_its_account"),
    one("refund work: what is left unsettled is named", WORKER, drop("run", "self._name_what_is_left()"),
        TEST_WORKER, "refund_that_could_not"),
    one("collect: what is left unsettled is named", "billing/charging/collecting/collect.py",
        swap("_leave", "[sent.armed.marker for sent in self._unsettled] + self._unacknowledged", "[]"),
        TEST_WORKER, "charge_that_could_not"),
    one("refund work: an answer is kept until it is settled", WORKER, drop("_settle", "except CONNECTION_LOST:"),
        TEST_KILLS, "settles_commit_raises and request and default"),
    one("refund work: not sent is only what this process armed", WORKER,
        drop("_settle_unacknowledged", "request_nonce=one.nonce"), TEST_GUARDS, "unacknowledged_refund"),
    one("refund work: what was not acknowledged is said to be not sent", WORKER, drop("_settle_unacknowledged",
        "self._count(settle_refund(one.refund_id, finding, tuning=self._tuning, now=now))"),
        TEST_GUARDS, "unacknowledged_refund"),
    one("refund work: a sender that fails has an unknown outcome", WORKER, swap("_send", "RefundVerdict.UNCLEAR",
        "RefundVerdict.NOT_SENT", of="except Exception as error:"), TEST_GUARDS, "finding_of_an_answer"),
    one("refund work: an answer without the money is not clear", WORKER, swap("_send",
        "verdict, reason = RefundVerdict.UNCLEAR, reason or Reason.NOT_SEEN_IN_THE_ANSWER",
        "reason = reason or Reason.NOT_SEEN_IN_THE_ANSWER"), TEST_GUARDS, "finding_of_an_answer"),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_RULES, *_ASK, *_ARM, *_SETTLE, *_SEEN, *_WORK]
