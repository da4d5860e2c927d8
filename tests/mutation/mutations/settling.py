"""The guards of settling: what evidence does to an attempt and to everything around it."""

from tests.mutation.edits import ANY_TRANSACTION, always, drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Edit, Mutation, each, one

SETTLE = "billing/charging/attempts/settle.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
CHANGES = "billing/charging/attempts/changes.py"
DECLINE = "billing/charging/attempts/decline.py"
HISTORY = "billing/models/bulk/history.py"
EVIDENCE = "billing/charging/protocol/evidence.py"
SETTLE_SQL = "billing/models/bulk/settling.py"

TEST_ISOLATION = "tests/charging/test_isolation.py"
TEST_ANSWERS = "tests/hostile/test_answers.py"
TEST_GUARDS = "tests/charging/test_guards.py"
TEST_MORE = "tests/charging/test_settle_guards.py"
TEST_READS = "tests/hostile/test_reads.py"
TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_SETTLE = "tests/charging/test_settle.py"
TEST_RESOLVE = "tests/charging/test_resolve.py"
TEST_WAYS_OUT = "tests/charging/test_ways_out.py"
TEST_SEEN = "tests/charging/test_refunds_seen.py"
TEST_ATTEMPTS = "tests/domain/test_attempts.py"
TEST_OVERPAYMENTS = "tests/charging/test_overpayment_refunds.py"
TEST_KILLS = "tests/faults/test_kills.py"

_ANSWERS = [
    *each("settle: an answer knows its request by", SETTLE, {
        "its account, nonce and card": drop("is_of", "(attempt.account_id, ...) == ..."),
        "its amount": drop("is_of", "(attempt.amount_minor, attempt.currency) == (self.amount_minor, self.currency)"),
    }, TEST_ANSWERS, "another_request"),
    one("settle: an answer that fits no attempt is kept", SETTLE,
        drop("settle_in_transaction", "record_orphans(orphans, now=now)"), TEST_ANSWERS, "another_request"),
    one("settle: an answer that cannot be settled is kept", SETTLE,
        drop("_settle_one", "record_orphans([one], now=now)"), TEST_ANSWERS, "cannot_be_settled"),
    one("orphans: one that is settled is matched", "billing/charging/reading/orphans.py",
        drop("_match", "settle(orphan, row_id, tuning, now, actor)"), TEST_ANSWERS, "cannot_be_settled"),
    one("read: of the attempts that were loaded", "billing/charging/reading/record.py",
        never("record", "not settling.still_have(_named(read))"), TEST_ANSWERS, "card_read_is_not_recorded"),
]  # fmt: skip

_EVIDENCE = [
    one("settle: its commit is durable", SETTLE, swap("_settle", "durable", ANY_TRANSACTION),
        TEST_GUARDS, "inside_another and settle"),
    one("settle: while the database is away no single finding is given up", SETTLE,
        drop("_settle_one", "except NOT_DONE_YET:", of="for finding in ...:"), TEST_MORE, "database_is_away"),
    Mutation("settle: while the database is away no batch is given up", (
        Edit(SETTLE, drop("settle", "except CONNECTION_LOST:")),
        Edit(SETTLE, drop("_settle_one", "except NOT_DONE_YET:", of="for finding in ...:")),
    ), TEST_MORE, "database_is_away and OperationalError",
        why="a batch that is not raised is settled one by one, and a single finding is raised as well"),
    one("settle: a batch that fails is settled one by one", SETTLE,
        swap("settle", "for one in findings:", "for one in []:"), TEST_SETTLE, "cannot_be_stored"),
    one("settle: what somebody holds keeps nobody else's answer", SETTLE, swap("settle", "held = error", "raise"),
        TEST_ISOLATION, "somebody_holds"),
    one("settle: a claim that came in between is heard", SETTLE, swap("_settle_one",
        "(one.finding, one.finding, unclear)", "(one.finding, unclear)"), TEST_MORE, "came_in_between"),
    one("settle: what cannot be recorded is unknown", SETTLE, swap("_settle_one", "(one.finding, one.finding, unclear)",
        "(one.finding, one.finding)"), TEST_SETTLE, "cannot_be_stored"),
    one("settle: an answer that cannot be recorded is kept", SETTLE, drop("_settle_one",
        "record_orphans([one] if finding is unclear else [], now=now)"), TEST_SETTLE, "kept_and_settled_later"),
    one("settle: what was told is not told again", EVIDENCE, swap("evidence_of", 'f"{finding.verdict}\\n{text}{since}"',
        'f"{finding.verdict}\\n{text}{since}{__import__(\'time\').monotonic_ns()}"'),
        TEST_SETTLE, "repeated_evidence_changes or money_that_a_decision"),
    one("settle: the same words with another verdict are news", EVIDENCE,
        swap("evidence_of", 'f"{finding.verdict}\\n{text}{since}"', 'f"{text}{since}"'), TEST_MORE, "another_verdict"),
    one("settle: money is heard again after a decision", SETTLE, swap("_record",
        'f"\\nsince {ended_by}" if ended_by and finding.verdict is Verdict.PAID else ""',
        '"" if finding.verdict is Verdict.PAID else ""'), TEST_SETTLE, "money_that_a_decision"),
    one("settle: an order is claimed once", SETTLE, swap("settle_in_transaction",
        "sorted({one.finding.order_id for one in findings if one.finding.order_id})", "[]"),
        TEST_MORE, "one_order_never"),
    one("settle: a transaction that was claimed before is known", SETTLE,
        swap("settle_in_transaction", "transactions = sorted(...)", "transactions=[]"), TEST_MORE, "claimed_before"),
]  # fmt: skip

_LOCKS = [
    *each("settle: locked", SETTLE_SQL, {
        "the card": drop_sql("_lock", "FOR NO KEY UPDATE", of="FROM billing_paymentmethod"),
        "the subscription": drop_sql("_lock", "FOR NO KEY UPDATE", of="FROM billing_subscription"),
        "the invoice": drop_sql("_lock", "FOR NO KEY UPDATE", of="FROM billing_invoice"),
        "the attempts": drop_sql("_lock", "FOR NO KEY UPDATE OF a"),
    }, TEST_MORE, "simultaneous_findings_wait"),
    one("settle: who leaves the place is written first", SETTLE_SQL, swap("write_attempts",
        "_write_attempts([one for one in attempts if AttemptState(one.state) not in HOLDS_PLACE]); "
        "_write_attempts([one for one in attempts if AttemptState(one.state) in HOLDS_PLACE])",
        "_write_attempts([one for one in attempts if AttemptState(one.state) in HOLDS_PLACE]); "
        "_write_attempts([one for one in attempts if AttemptState(one.state) not in HOLDS_PLACE])"),
        TEST_SETTLE, "overpayment_pays_in_the_settle"),
    one("settle: a held card keeps its first reason", SETTLE_SQL, drop_sql("hold_cards", "AND c.held_at IS NULL"),
        TEST_MORE, "first_reason"),
    one("settle: declined invoices are those that were tried", SETTLE_SQL,
        swap_sql("_count_open_invoices", "count(*) FILTER (WHERE i.tries > 0)", "0"), TEST_SETTLE, "does_not_hide"),
]  # fmt: skip

_ATTEMPT = [
    one("settle: written: the history", CHANGES,
        drop("write_history", "record_history(self._history, actor=actor, now=self.now)"),
        TEST_MORE, "history_and_its_event"),
    one("history: a move writes its event", HISTORY, always("_event_of", "kind is None"),
        TEST_MORE, "history_and_its_event"),
    one("settle: a case that is closed takes its proposal with it", CONSEQUENCES,
        drop("write", "attempts=self._from_a_person"), TEST_RESOLVE, "overtaken"),
    one("settle: an invoice that is paid takes its proposal with it", CONSEQUENCES,
        never("_pay", "invoice.hold == Hold.PROPOSAL"), TEST_WAYS_OUT, "when_its_payment_is_found"),
    one("settle: a person is told of the case", CONSEQUENCES, drop("write", "self._alert_cases()"),
        TEST_SETTLE, "case_is_alerted"),
    one("settle: a person is told what the case holds up", CONSEQUENCES, drop("_alert_cases",
        "payload |= holding.payload_of(card, found) if card is not None else {}"), TEST_SETTLE, "case_is_alerted"),
    one("settle: a case comes to a person", CONSEQUENCES,
        drop("_carry_out", "self._to_a_person.append((attempt, detail))"), TEST_SETTLE, "case_is_alerted"),
    one("settle: the place is taken", CONSEQUENCES,
        never("_facts", "any(AttemptState(other.state) in HOLDS_PLACE for other in self._others(attempt))"),
        TEST_SETTLE, "overpayment_pays_in_the_settle"),
    one("settle: the invoice still wants money", CONSEQUENCES,
        always("_facts", "invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE)"), TEST_GUARDS, "void"),
    one("settle: a transaction is claimed once", CONSEQUENCES,
        never("_facts", "self._claimed_by_another(attempt, finding)"), TEST_SETTLE, "one_transaction_never"),
    one("settle: an attempt that was found reversed is known as such", CONSEQUENCES,
        never("_facts", "attempt.state == S.NOT_CHARGED"), TEST_SETTLE, "kept_answer_does"),
    one("settle: a transaction that was seen reversed pays nothing", CONSEQUENCES,
        never("_facts", '(attempt.account_id, f"reversed {finding.transaction_id}") in self._claims'),
        TEST_SETTLE, "seen_reversed_before"),
    one("settle: what is unknown is looked into", CONSEQUENCES,
        swap("_move", "self._first_check(attempt, finding) if to in (S.UNKNOWN, S.IN_PROCESS) else None", "None"),
        TEST_SETTLE, "sweeper_calls"),
    one("settle: the surplus inherits from a holder that is reversed", CONSEQUENCES, drop("_move", "to is S.REVERSED"),
        TEST_SETTLE, "holder_is_reversed"),
    one("settle: the surplus inherits", CONSEQUENCES, drop("_move", "self._promote_surplus(attempt)"),
        TEST_SETTLE, "overpayment_pays_in_the_settle"),
    one("settle: an order is claimed by one attempt", CONSEQUENCES,
        drop("_claimed_by_another", 'f"order {finding.order_id}"'), TEST_MORE, "one_order_never"),
    one("settle: a claimed transaction is not taken over", CONSEQUENCES,
        drop("_learn_ids", "self._claimed_by_another(attempt, finding)"), TEST_SETTLE, "one_transaction_never"),
    one("settle: an attempt keeps the transaction that it is known by", CONSEQUENCES, always("_learn_ids",
        "attempt.gateway_transaction_id in (None, transaction) or attempt.state in (S.SUCCEEDED, S.SURPLUS)"),
        TEST_MORE, "keeps_its_transaction"),
    one("settle: money is known by the transaction that brought it", CONSEQUENCES,
        drop("_learn_ids", "attempt.state in (S.SUCCEEDED, S.SURPLUS)"), TEST_MORE, "brought_it"),
    *each("settle: claimed within a batch", CONSEQUENCES, {
        "a transaction":
            drop("_learn_ids", 'self._claims[(attempt.account_id, f"transaction {transaction}")] = attempt.id'),
        "an order":
            drop("_learn_ids", 'self._claims[(attempt.account_id, f"order {attempt.gateway_order_id}")] = attempt.id'),
    }, TEST_MORE, "within_a_batch"),
    one("settle: a lost sender is asked about at once", CONSEQUENCES,
        never("_first_check", "finding.source is Source.SWEEPER"), TEST_SETTLE, "sweeper_calls"),
    one("settle: a young reversal waits", CONSEQUENCES, never("_first_check", "finding.verdict is Verdict.REVERSED"),
        TEST_SETTLE, "first_answer_of_reversed"),
    *each("settle: while nothing is decided", CONSEQUENCES, {
        "only what is open is looked at again":
            never("_stay", "AttemptState(attempt.state) not in (S.UNKNOWN, S.IN_PROCESS)"),
        "a transaction is remembered": drop("_stay", "self._learn_ids(attempt, finding)"),
        "only a read of the list is a rung": drop("_stay", "finding.source is not Source.ORDER_LIST"),
        "only a complete read is a rung": drop("_stay", "finding.verdict not in COMPLETE_READS"),
        "each complete read is a rung": swap("_stay", "attempt.checks_done += 1", "attempt.checks_done += 0"),
        "only a read that began in time is a rung": drop("_stay", "not self._is_a_rung(attempt, finding.read_at)"),
        "only a read that was made for it is a rung": swap("_stay",
            "finding.read_at is None or not self._is_a_rung(...)",
            "finding.read_at is not None and (not self._is_a_rung(...))"),
        "when the rung was read is kept": drop("_stay", "attempt.rung_at = finding.read_at"),
        "a hint that came meanwhile is not lost": always("_stay", "not hinted"),
        "it is asked about beyond the ladder": never("_stay", "not hinted"),
    }, TEST_MORE, "undecided"),
    one("settle: says from when a look excludes money", CONSEQUENCES, never("_carry_out", "to not in HOLDS_PLACE"),
        TEST_READS, "retry_request_waits"),
    one("settle: an earlier attempt brings no look nearer", CONSEQUENCES, swap("_look_from",
        "at if is_last else max(at, invoice.look_from_at or at)", "at"), TEST_MORE, "earlier_attempts_news"),
    one("settle: no try comes before its look", CHANGES,
        swap("try_again", "max(at, invoice.look_from_at or at)", "at"), TEST_READS, "retry_request_waits"),
    one("settle: an alarm holds the card", CONSEQUENCES,
        drop("_alarm", "self._hold(attempt, reason)"), TEST_SETTLE, "alarm"),
    one("settle: an alarm is told", CONSEQUENCES,
        drop("_alarm", "self._changes.record_event(...)"), TEST_SETTLE, "alarm"),
    one("settle: an alarm is in the history", CONSEQUENCES, swap("_alarm",
        "self._changes.log(attempt, attempt.state, attempt.state, reason, evidence_id)",
        'self._changes.log(attempt, attempt.state, attempt.state, "", evidence_id)'),
        TEST_RESOLVE, "came_with_the_case"),
    one("settle: surplus that went back inherits nothing", CONSEQUENCES,
        drop("_promote_surplus", "other.amount_refunded_minor < other.amount_minor"), TEST_SEEN, "does_not_become"),
    Mutation("settle: surplus pays only what is owed", (
        Edit(CONSEQUENCES,
            drop("_promote_surplus", "invoice.state not in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE)")),
        Edit("billing/domain/attempts.py", drop("_paid", "attempt.money_wanted")),
    ), TEST_MORE, "overpayment_inherits_nothing",
        why="who inherits is looked for only where the invoice is owed, and `decide` asks the same"),
]  # fmt: skip

_AROUND = [
    one("settle: what is paid leaves the work list", CONSEQUENCES, drop("_pay", "invoice.next_attempt_at = None"),
        TEST_SETTLE, "money_that_a_decision"),
    one("settle: what is paid waits for nobody", CONSEQUENCES, drop("_pay", "invoice.hold = None"),
        TEST_SETTLE, "holder_is_reversed"),
    one("settle: what went back before counts on the invoice", CONSEQUENCES,
        drop("write", "settling.write_refunded(self._refunded)"), TEST_SEEN, "partly_refunded_overpayment"),
    one("settle: a subscription owes as long as one period is declined", CONSEQUENCES,
        drop("_pay", "subscription.declined_invoices == 0"), TEST_SETTLE, "does_not_hide"),
    one("settle: a subscription that pays what it owes is active again", CONSEQUENCES,
        drop("_pay", "self._changes.set_subscription(..., Reason.INVOICE_PAID, evidence_id)"),
        TEST_SETTLE, "does_not_hide"),
    one("settle: a decline of a closed invoice asks for nothing", DECLINE,
        drop("after_decline", "if invoice.state != InvoiceState.OPEN:"), TEST_GUARDS, "closed"),
    one("settle: declines are counted", DECLINE, drop("_go_on", "invoice.tries += 1"),
        TEST_CHARGE, "retried_on_its_day"),
    one("settle: tries are counted from the first one", DECLINE,
        swap("_go_on", "invoice.first_tried_at or tried_at", "tried_at"),
        TEST_MORE, "counted_from_the_first"),
    one("settle: who does not pay is past due", DECLINE, drop("_fall_past_due", "changes.set_subscription(...)"),
        TEST_CHARGE, "retried_on_its_day"),
    one("settle: trying ends", DECLINE, drop("give_up", "invoice.next_attempt_at = None"),
        "tests/charging/test_card_limits.py", "end_as_declined"),
    one("settle: when trying ends the subscription ends", DECLINE,
        drop("give_up", "_end(changes, subscription, action, evidence_id)"), TEST_SETTLE, "other_open_invoices"),
    one("settle: when trying ends a stopped subscription stays as it is", DECLINE,
        drop("_end", "if subscription.state not in RUNNING:"), TEST_MORE, "stays_as_it_is"),
    one("settle: when trying ends what was due is owed", DECLINE,
        never("_end", "action is not FinalAction.KEEP and open_before_ending(...)"), TEST_SETTLE, "not_opened_yet"),
    one("settle: when trying ends the subscription is read again", DECLINE,
        drop("_end", "settling.read_again(subscription)"), TEST_MORE, "trial_that_ends"),
    one("settle: when trying ends other invoices wait for a person", CHANGES,
        drop("write_rows", "self._history += leave_to_staff(self._canceled)"),
        TEST_SETTLE, "other_open_invoices"),
    *each("settle: what the gateway always refuses", CONSEQUENCES, {
        "waits for a person": never("_not_sent", "fault_of(finding) is Fault.INVOICE"),
        "leaves the work list": drop("_hold_if_always_refused", "invoice.next_attempt_at = None; invoice.hold = hold"),
        "is told": drop("_hold_if_always_refused", "self._changes.log(...)"),
    }, TEST_CHARGE, "invoice_refused"),
    one("settle: what the gateway always refuses: is held for its own refusals alone", CONSEQUENCES,
        drop("_hold_if_always_refused", "other.state_reason == attempt.state_reason"),
        TEST_MORE, "unsent_attempt_does"),
    one("settle: surplus that may be on its way back is no payment", CONSEQUENCES,
        drop("_promote_surplus", "other.id not in going_back"), TEST_OVERPAYMENTS, "overpayment_being_refunded"),
    one("arm: not beside surplus that may be on its way back", "billing/models/bulk/arming.py",
        swap_sql("lock_invoices", "a.state = 'surplus'", "false"), TEST_OVERPAYMENTS, "overpayment_being_refunded"),
    *each("refund settle: what stayed here becomes the payment", "billing/charging/refunds/settle.py", {
        "after a refusal":
            drop("_carry_out", "self._pay_with_what_is_left()", of="case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:"),
        "after a part": drop("_carry_out", "self._pay_with_what_is_left()", of="case R.SUCCEEDED:"),
    }, TEST_OVERPAYMENTS, "kept_overpayment_becomes or rest_of_a_partly"),
    one("settle: what was not sent waits longer each time", CONSEQUENCES, swap("_not_sent",
        "invoice.not_sent_in_a_row += 1", "invoice.not_sent_in_a_row = 1"), TEST_MORE, "longer_each_time"),
    one("settle: what was not acknowledged is tried at once", CONSEQUENCES, drop("_not_sent", "wait = timedelta(0)"),
        TEST_MORE, "not_acknowledged"),
    one("settle: what was not charged is tried again", CONSEQUENCES,
        drop("_carry_out", "self._changes.try_again(invoice, self._now)"), TEST_SETTLE, "first_answer_of_reversed"),
    one("settle: what waits for a person is not tried again", CHANGES, drop("try_again", "invoice.hold is None"),
        TEST_MORE, "held_or_closed"),
    one("settle: what is closed is not tried again", CHANGES,
        drop("try_again", "invoice.state == InvoiceState.OPEN"), TEST_MORE, "held_or_closed"),
    one("settle: a contradiction holds the card", CONSEQUENCES,
        never("_carry_out", "finding.verdict is Verdict.CONTRADICTION"), TEST_GUARDS, "contradiction"),
    one("settle: surplus stops the asking", CONSEQUENCES,
        drop("_carry_out", "invoice.next_attempt_at = None", of="case S.SURPLUS:"),
        TEST_MORE, "overpayment_stops_collection"),
    one("settle: surplus is to be refunded", CONSEQUENCES,
        drop("_carry_out", 'detail["proposal"] = "refund"'), TEST_SETTLE, "second_payment"),
    one("settle: a reversed invoice waits for a person", CONSEQUENCES, swap("_take_back",
        "invoice.hold = Hold.REVERSED.value", "invoice.next_attempt_at = self._now"), TEST_SETTLE, "reversal_opens"),
    one("settle: a reversed surplus opens no paid invoice", CONSEQUENCES,
        drop("_take_back", "not any(o.state == S.SUCCEEDED.value for o in self._others(attempt))"),
        TEST_MORE, "reversed_overpayment_reopens"),
    one("settle: completed when nothing is open any more", CHANGES,
        drop("complete_if_over", "subscription.open_invoices == 0"), TEST_MORE, "completed"),
    one("settle: completed when all periods were opened", CHANGES,
        drop("complete_if_over", "subscription.periods_charged >= subscription.repetitions"), TEST_MORE, "completed"),
    one("settle: what ended is not completed", CHANGES, drop("complete_if_over", "subscription.state in RUNNING"),
        TEST_MORE, "completed"),
    one("settle: a decline counts as a period that is owed", DECLINE,
        drop("_go_on", "subscription.declined_invoices += 1"), TEST_MORE, "in_one_batch"),
    one("sweep: not before the deadline", "billing/charging/collecting/sweep.py", drop("sweep", "deadline_at__lte=now"),
        TEST_SETTLE, "sweeper_calls"),
    one("sweep: only what is being sent", "billing/charging/collecting/sweep.py", drop("sweep", 'state="sending"'),
        TEST_MORE, "swept"),
]  # fmt: skip

MUTATIONS = [*_ANSWERS, *_EVIDENCE, *_LOCKS, *_ATTEMPT, *_AROUND]
