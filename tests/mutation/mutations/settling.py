"""The guards of settling: what evidence does to an attempt and to everything around it."""

from tests.mutation.harness import ANY_TRANSACTION, Edit, Mutation, each, named, one

SETTLE = "billing/charging/attempts/settle.py"
HISTORY = "billing/models/bulk/history.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
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
        "its account, nonce and card": (
            "return (attempt.account_id, attempt.request_nonce, attempt.gateway_customer_id) == (\n"
            "            self.account_id,\n            self.nonce,\n            self.gateway_customer_id,\n        ) and (",
            "return ("),
        "its amount": (") and (attempt.amount_minor, attempt.currency) == (self.amount_minor, self.currency)", ")"),
    }, *named(TEST_ANSWERS, "another_request")),
    one("settle: an answer that fits no attempt is kept", SETTLE, "    record_orphans(orphans, now=now)\n    evidence",
        "    evidence", *named(TEST_ANSWERS, "another_request")),
    one("settle: an answer that cannot be settled is kept", SETTLE,
        "            record_orphans([one], now=now)\n", "            pass\n", *named(TEST_ANSWERS, "cannot_be_settled")),
    one("orphans: one that is settled is matched", "billing/charging/reading/orphans.py",
        "                    settle(orphan, row_id, limits, now, actor)\n", "", *named(TEST_ANSWERS, "cannot_be_settled")),
    one("read: of the attempts that were loaded", "billing/charging/reading/record.py",
        "if not settling.still_have(_named(read)):", "if False:", *named(TEST_ANSWERS, "card_read_is_not_recorded")),
]  # fmt: skip

_EVIDENCE = [
    one("settle: its commit is durable", SETTLE, "    with durable():\n        return",
        f"    {ANY_TRANSACTION}\n        return",
        *named(TEST_GUARDS, "inside_another and settle")),
    one("settle: while the database is away no single finding is given up", SETTLE,
        "        except NOT_DONE_YET:\n            raise\n", "", *named(TEST_MORE, "database_is_away")),
    Mutation("settle: while the database is away no batch is given up", (
        Edit(SETTLE, "    except CONNECTION_LOST:\n        raise\n    except Exception as error:  # noqa", "    except Exception as error:  # noqa"),
        Edit(SETTLE, "        except NOT_DONE_YET:\n            raise\n", ""),
    ), named(TEST_MORE, "database_is_away and OperationalError"),
        why="a batch that is not raised is settled one by one, and a single finding is raised as well"),
    one("settle: a batch that fails is settled one by one", SETTLE, "    for one in findings:\n        try:",
        "    for one in []:\n        try:", *named(TEST_SETTLE, "cannot_be_stored")),
    one("settle: what somebody holds keeps nobody else's answer", SETTLE,
        "            held = error\n", "            raise\n",
        *named(TEST_ISOLATION, "somebody_holds")),
    one("settle: a claim that came in between is heard", SETTLE, "in (one.finding, one.finding, unclear):",
        "in (one.finding, unclear):", *named(TEST_MORE, "came_in_between")),
    one("settle: what cannot be recorded is unknown", SETTLE, "in (one.finding, one.finding, unclear):",
        "in (one.finding, one.finding):", *named(TEST_SETTLE, "cannot_be_stored")),
    one("settle: an answer that cannot be recorded is kept", SETTLE, "record_orphans([one] if finding is unclear else [], now=now)",
        "pass", *named(TEST_SETTLE, "kept_and_settled_later")),
    one("settle: what was told is not told again", EVIDENCE, '{text}{since}".encode()',
        "{text}{since}{__import__('time').monotonic_ns()}\".encode()", *named(TEST_SETTLE, "repeated_evidence_changes or money_that_a_decision")),
    one("settle: the same words with another verdict are news", EVIDENCE, 'f"{finding.verdict}\\n{text}{since}"',
        'f"{text}{since}"', *named(TEST_MORE, "another_verdict")),
    one("settle: money is heard again after a decision", SETTLE, 'f"\\nsince {ended_by}" if ended_by and', '"" if',
        *named(TEST_SETTLE, "money_that_a_decision")),
    one("settle: an order is claimed once", SETTLE,
        "orders=sorted({one.finding.order_id for one in findings if one.finding.order_id}),", "orders=[],",
        *named(TEST_MORE, "one_order_never")),
    one("settle: a transaction that was claimed before is known", SETTLE,
        "transactions=sorted({one.finding.transaction_id for one in findings if one.finding.transaction_id}),",
        "transactions=[],", *named(TEST_MORE, "claimed_before")),
]  # fmt: skip

_LOCKS = [
    *each("settle: locked", SETTLE_SQL, {
        "the card": ("FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
                     "FROM billing_paymentmethod WHERE id = ANY(%s) ORDER BY id"),
        "the subscription": ("FROM billing_subscription WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
                             "FROM billing_subscription WHERE id = ANY(%s) ORDER BY id"),
        "the invoice": ("FROM billing_invoice WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE",
                        "FROM billing_invoice WHERE id = ANY(%s) ORDER BY id"),
        "the attempts": ("ORDER BY a.id FOR NO KEY UPDATE OF a", "ORDER BY a.id"),
    }, *named(TEST_MORE, "simultaneous_findings_wait")),
    one("settle: who leaves the place is written first", SETTLE_SQL,
        "    _write_attempts(leaving)\n    _write_attempts([attempt for attempt in attempts if "
        "AttemptState(attempt.state) in HOLDS_PLACE])\n",
        "    _write_attempts([attempt for attempt in attempts if "
        "AttemptState(attempt.state) in HOLDS_PLACE])\n    _write_attempts(leaving)\n",
        *named(TEST_SETTLE, "overpayment_pays_in_the_settle")),
    one("settle: a held card keeps its first reason", SETTLE_SQL, "WHERE c.id = n.id AND c.held_at IS NULL",
        "WHERE c.id = n.id", *named(TEST_MORE, "first_reason")),
    one("settle: declined invoices are those that were tried", SETTLE_SQL, "count(*) FILTER (WHERE i.tries > 0)",
        "0", *named(TEST_SETTLE, "does_not_hide")),
]  # fmt: skip

_ATTEMPT = [
    *each("settle: written", CONSEQUENCES, {
        "the history": ("        record_history(self._history, actor=self._actor, now=self._now)\n", ""),
    }, *named(TEST_MORE, "history_and_its_event")),
    one("history: a move writes its event", HISTORY, "    if kind is None:\n", "    if True:\n",
        *named(TEST_MORE, "history_and_its_event")),
    one("settle: a case that is closed takes its proposal with it", CONSEQUENCES,
        "attempts=self._from_a_person, invoices", "invoices", *named(TEST_RESOLVE, "overtaken")),
    one("settle: an invoice that is paid takes its proposal with it", CONSEQUENCES,
        "if invoice.hold == Hold.PROPOSAL:", "if False:", *named(TEST_WAYS_OUT, "when_its_payment_is_found")),
    one("settle: a person is told of the case", CONSEQUENCES, "        self._alert_cases()\n", "",
        *named(TEST_SETTLE, "case_is_alerted")),
    one("settle: a person is told what the case holds up", CONSEQUENCES,
        "            payload |= holding.payload_of(row.payment_method_id, found)\n", "",
        *named(TEST_SETTLE, "case_is_alerted")),
    one("settle: a case comes to a person", CONSEQUENCES,
        "                self._to_a_person.append((attempt, detail))\n", "",
        *named(TEST_SETTLE, "case_is_alerted")),
    one("settle: the place is taken", CONSEQUENCES,
        "place_taken=any(AttemptState(other.state) in HOLDS_PLACE for other in self._others(attempt)),",
        "place_taken=False,", *named(TEST_SETTLE, "overpayment_pays_in_the_settle")),
    one("settle: the invoice still wants money", CONSEQUENCES,
        "money_wanted=invoice.state in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE),", "money_wanted=True,",
        *named(TEST_GUARDS, "void")),
    one("settle: a transaction is claimed once", CONSEQUENCES,
        "transaction_claimed=self._claimed_by_another(attempt, finding),", "transaction_claimed=False,",
        *named(TEST_SETTLE, "one_transaction_never")),
    one("settle: an attempt that was found reversed is known as such", CONSEQUENCES,
        "            found_reversed=attempt.state == S.NOT_CHARGED and", "            found_reversed=False and",
        *named(TEST_SETTLE, "kept_answer_does")),
    one("settle: a transaction that was seen reversed pays nothing", CONSEQUENCES,
        'transaction_reversed=(attempt.account_id, f"reversed {finding.transaction_id}") in self._claims',
        "transaction_reversed=False", *named(TEST_SETTLE, "seen_reversed_before")),
    one("settle: what is unknown is looked into", CONSEQUENCES,
        "self._first_check(attempt, finding) if to in (S.UNKNOWN, S.IN_PROCESS) else None", "None",
        *named(TEST_SETTLE, "sweeper_calls")),
    one("settle: the surplus inherits from a holder that is reversed", CONSEQUENCES,
        "if to in ENDED_WITHOUT_MONEY or to is S.REVERSED:", "if to in ENDED_WITHOUT_MONEY:",
        *named(TEST_SETTLE, "holder_is_reversed")),
    one("settle: the surplus inherits", CONSEQUENCES, "            self._promote_surplus(attempt)\n",
        "            pass\n", *named(TEST_SETTLE, "overpayment_pays_in_the_settle")),
    one("settle: an order is claimed by one attempt", CONSEQUENCES,
        'names = (f"transaction {finding.transaction_id}", f"order {finding.order_id}")',
        'names = (f"transaction {finding.transaction_id}",)', *named(TEST_MORE, "one_order_never")),
    one("settle: a claimed transaction is not taken over", CONSEQUENCES,
        "if not transaction or self._claimed_by_another(attempt, finding):", "if not transaction:",
        *named(TEST_SETTLE, "one_transaction_never")),
    one("settle: an attempt keeps the transaction that it is known by", CONSEQUENCES,
        "if attempt.gateway_transaction_id in (None, transaction) or attempt.state in (S.SUCCEEDED, S.SURPLUS):",
        "if True:", *named(TEST_MORE, "keeps_its_transaction")),
    one("settle: money is known by the transaction that brought it", CONSEQUENCES,
        " or attempt.state in (S.SUCCEEDED, S.SURPLUS):", ":", *named(TEST_MORE, "brought_it")),
    *each("settle: claimed within a batch", CONSEQUENCES, {
        "a transaction": ('            self._claims[(attempt.account_id, f"transaction {transaction}")] = attempt.id\n',
                          ""),
        "an order": ('            self._claims[(attempt.account_id, f"order {attempt.gateway_order_id}")] = '
                     'attempt.id\n', ""),
    }, *named(TEST_MORE, "within_a_batch")),
    one("settle: a lost sender is asked about at once", CONSEQUENCES, "if finding.source is Source.SWEEPER:",
        "if False:", *named(TEST_SETTLE, "sweeper_calls")),
    one("settle: a young reversal waits", CONSEQUENCES, "if finding.verdict is Verdict.REVERSED:", "if False:",
        *named(TEST_SETTLE, "first_answer_of_reversed")),
    *each("settle: while nothing is decided", CONSEQUENCES, {
        "only what is open is looked at again": (
            "if AttemptState(attempt.state) not in (S.UNKNOWN, S.IN_PROCESS):", "if False:"),
        "a transaction is remembered": (
            "        self._learn_ids(attempt, finding)\n        if finding.source", "        if finding.source"),
        "only a read of the list is a rung": ("if finding.source is not Source.ORDER_LIST or", "if"),
        "only a complete read is a rung": ("Source.ORDER_LIST or finding.verdict not in COMPLETE_READS:",
                                           "Source.ORDER_LIST:"),
        "each complete read is a rung": ("attempt.checks_done += 1", "attempt.checks_done += 0"),
        "only a read that began in time is a rung": (
            "if finding.read_at is None or not self._is_a_rung(attempt, finding.read_at):", "if finding.read_at is None:"),
        "only a read that was made for it is a rung": (
            "if finding.read_at is None or not self._is_a_rung(attempt, finding.read_at):",
            "if finding.read_at is not None and not self._is_a_rung(attempt, finding.read_at):"),
        "when the rung was read is kept": ("        attempt.rung_at = finding.read_at\n", ""),
        "a hint that came meanwhile is not lost": ("        if not hinted:", "        if True:"),
        "it is asked about beyond the ladder": ("        if not hinted:", "        if False:"),
    }, *named(TEST_MORE, "undecided")),
    one("settle: says from when a look excludes money", CONSEQUENCES, "        if to not in HOLDS_PLACE:\n",
        "        if False:\n", *named(TEST_READS, "retry_request_waits")),
    one("settle: an earlier attempt brings no look nearer", CONSEQUENCES,
        "return at if is_last else max(at, invoice.look_from_at or at)", "return at",
        *named(TEST_MORE, "earlier_attempts_news")),
    one("settle: no try comes before its look", CONSEQUENCES,
        "invoice.next_attempt_at = max(at, invoice.look_from_at or at)", "invoice.next_attempt_at = at",
        *named(TEST_READS, "retry_request_waits")),
    one("settle: an alarm holds the card", CONSEQUENCES,
        'self._holds.append((attempt.payment_method_id, reason))\n        self._record_event("attempt.alarm"',
        'self._record_event("attempt.alarm"', *named(TEST_SETTLE, "alarm")),
    one("settle: an alarm is told", CONSEQUENCES,
        '        self._record_event("attempt.alarm", attempt, {"attempt": attempt.public_id}, occasion=reason)\n', "",
        *named(TEST_SETTLE, "alarm")),
    one("settle: an alarm is in the history", CONSEQUENCES, "self._log(attempt, attempt.state, attempt.state, reason, evidence_id)",
        'self._log(attempt, attempt.state, attempt.state, "", evidence_id)',
        *named(TEST_RESOLVE, "came_with_the_case")),
    one("settle: surplus that went back inherits nothing", CONSEQUENCES,
        "if other.state == S.SURPLUS.value and other.amount_refunded_minor < other.amount_minor",
        "if other.state == S.SURPLUS.value", *named(TEST_SEEN, "does_not_become")),
    Mutation("settle: surplus pays only what is owed", (
        Edit(CONSEQUENCES, "if not staying or invoice.state not in (InvoiceState.OPEN, InvoiceState.UNCOLLECTIBLE):",
             "if not staying:"),
        Edit("billing/domain/attempts.py", "heir = state is S.SURPLUS and attempt.money_wanted and", "heir = state is "
             "S.SURPLUS and"),
    ), named(TEST_MORE, "overpayment_inherits_nothing"),
        why="who inherits is looked for only where the invoice is owed, and `decide` asks the same"),
]  # fmt: skip

_AROUND = [
    one("settle: what is paid leaves the work list", CONSEQUENCES,
        '        detail = self._set_invoice(invoice, InvoiceState.PAID, Reason.PAID, evidence_id)\n'
        "        invoice.next_attempt_at = None\n",
        '        detail = self._set_invoice(invoice, InvoiceState.PAID, Reason.PAID, evidence_id)\n',
        *named(TEST_SETTLE, "money_that_a_decision")),
    one("settle: what is paid waits for nobody", CONSEQUENCES, "        invoice.hold = None\n", "",
        *named(TEST_SETTLE, "holder_is_reversed")),
    one("settle: what went back before counts on the invoice", CONSEQUENCES,
        "        settling.write_refunded(self._refunded)\n", "", *named(TEST_SEEN, "partly_refunded_overpayment")),
    one("settle: a subscription owes as long as one period is declined", CONSEQUENCES,
        "subscription.state == SubscriptionState.PAST_DUE and subscription.declined_invoices == 0",
        "subscription.state == SubscriptionState.PAST_DUE", *named(TEST_SETTLE, "does_not_hide")),
    one("settle: a subscription that pays what it owes is active again", CONSEQUENCES,
        'self._set_subscription(subscription, SubscriptionState.ACTIVE, Reason.INVOICE_PAID, evidence_id)', "pass",
        *named(TEST_SETTLE, "does_not_hide")),
    one("settle: a decline of a closed invoice asks for nothing", CONSEQUENCES,
        "        if invoice.state != InvoiceState.OPEN:\n            return\n        invoice.not_sent",
        "        invoice.not_sent", *named(TEST_GUARDS, "closed")),
    one("settle: declines are counted", CONSEQUENCES, "        invoice.tries += 1\n", "",
        *named(TEST_CHARGE, "retried_on_its_day")),
    one("settle: tries are counted from the first one", CONSEQUENCES,
        "invoice.first_tried_at = invoice.first_tried_at or attempt.armed_at", "invoice.first_tried_at = self._now",
        *named(TEST_MORE, "counted_from_the_first")),
    one("settle: who does not pay is past due", CONSEQUENCES,
        "self._set_subscription(\n"
        "                        subscription, SubscriptionState.PAST_DUE, Reason.INVOICE_DECLINED, evidence_id\n"
        "                    )", "pass",
        *named(TEST_CHARGE, "retried_on_its_day")),
    one("settle: trying ends", CONSEQUENCES,
        "                invoice.next_attempt_at = None\n"
        "                self._set_invoice(invoice, InvoiceState.UNCOLLECTIBLE",
        "                self._try_again(invoice, self._now)\n"
        "                self._set_invoice(invoice, InvoiceState.UNCOLLECTIBLE",
        *named(TEST_SETTLE, "other_open_invoices")),
    one("settle: when trying ends the subscription ends", CONSEQUENCES,
        "                    self._give_up(subscription, action, evidence_id)\n", "                    pass\n",
        *named(TEST_SETTLE, "other_open_invoices")),
    one("settle: when trying ends a stopped subscription stays as it is", CONSEQUENCES,
        "        if subscription.state not in RUNNING:\n            return\n        if action", "        if action",
        *named(TEST_MORE, "stays_as_it_is")),
    one("settle: when trying ends what was due is owed", CONSEQUENCES,
        "action is not FinalAction.KEEP and open_before_ending(subscription_id=subscription.id, now=self._now)",
        "False", *named(TEST_SETTLE, "not_opened_yet")),
    one("settle: when trying ends the subscription is read again", CONSEQUENCES,
        "            settling.read_again(subscription)\n", "            pass\n", *named(TEST_MORE, "trial_that_ends")),
    one("settle: when trying ends other invoices wait for a person", CONSEQUENCES,
        "        settling.hold_invoices_of(self._canceled, hold=Hold.SUBSCRIPTION_CANCELED.value)\n", "",
        *named(TEST_SETTLE, "other_open_invoices")),
    *each("settle: what the gateway always refuses", CONSEQUENCES, {
        "waits for a person": ("        if fault_of(finding) is Fault.INVOICE:\n", "        if False:\n"),
        "leaves the work list": ("        invoice.next_attempt_at = None\n        invoice.hold = hold\n", ""),
        "is told": ("        self._log(invoice, state, held, attempt.state_reason", "        (lambda *_, **__: None)(attempt.state_reason"),
    }, *named(TEST_CHARGE, "invoice_refused")),
    one("settle: what the gateway always refuses: is held for its own refusals alone", CONSEQUENCES,
        " and other.state_reason == attempt.state_reason", "", *named(TEST_MORE, "unsent_attempt_does")),
    one("settle: surplus that may be on its way back is no payment", CONSEQUENCES,
        "if other.id not in going_back]", "]", *named(TEST_OVERPAYMENTS, "overpayment_being_refunded")),
    one("arm: not beside surplus that may be on its way back", "billing/models/bulk/arming.py",
        "OR (a.state = 'surplus' AND EXISTS", "OR (false AND EXISTS", *named(TEST_OVERPAYMENTS, "overpayment_being_refunded")),
    *each("refund settle: what stayed here becomes the payment", "billing/charging/refunds/settle.py", {
        "after a refusal": ("            case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:\n                self._pay_with_what_is_left()\n",
                            "            case R.REFUSED | R.NOT_SENT | R.NOT_REFUNDED:\n"),
        "after a part": ("                    self._pay_with_what_is_left()\n            case R.REFUSED", "            case R.REFUSED"),
    }, *named(TEST_OVERPAYMENTS, "kept_overpayment_becomes or rest_of_a_partly")),
    one("settle: what was not sent waits longer each time", CONSEQUENCES, "invoice.not_sent_in_a_row += 1",
        "invoice.not_sent_in_a_row = 1", *named(TEST_MORE, "longer_each_time")),
    one("settle: what was not acknowledged is tried at once", CONSEQUENCES, "            wait = timedelta(0)\n",
        "            pass\n", *named(TEST_MORE, "not_acknowledged")),
    one("settle: what was not charged is tried again", CONSEQUENCES,
        "                self._try_again(invoice, self._now)\n", "                pass\n",
        *named(TEST_SETTLE, "first_answer_of_reversed")),
    one("settle: what waits for a person is not tried again", CONSEQUENCES,
        "if invoice.state == InvoiceState.OPEN and invoice.hold is None:", "if invoice.state == InvoiceState.OPEN:",
        *named(TEST_MORE, "held_or_closed")),
    one("settle: what is closed is not tried again", CONSEQUENCES,
        "if invoice.state == InvoiceState.OPEN and invoice.hold is None:", "if invoice.hold is None:",
        *named(TEST_MORE, "held_or_closed")),
    one("settle: a contradiction holds the card", CONSEQUENCES, "if finding.verdict is Verdict.CONTRADICTION:",
        "if False:", *named(TEST_GUARDS, "contradiction")),
    one("settle: surplus stops the asking", CONSEQUENCES,
        "                    invoice.next_attempt_at = None  # money", "                    pass  # money",
        *named(TEST_MORE, "overpayment_stops_collection")),
    one("settle: surplus is to be refunded", CONSEQUENCES,
        '                detail["proposal"] = "refund"\n', "",
        *named(TEST_SETTLE, "second_payment")),
    one("settle: a reversed invoice waits for a person", CONSEQUENCES, "invoice.hold = Hold.REVERSED.value",
        "invoice.next_attempt_at = self._now", *named(TEST_SETTLE, "reversal_opens")),
    one("settle: a reversed surplus opens no paid invoice", CONSEQUENCES,
        "if paid_by_it and not any(o.state == S.SUCCEEDED.value for o in self._others(attempt)):",
        "if paid_by_it:", *named(TEST_MORE, "reversed_overpayment_reopens")),
    one("settle: completed when nothing is open any more", CONSEQUENCES,
        "if over and subscription.state in RUNNING and subscription.open_invoices == 0:",
        "if over and subscription.state in RUNNING:", *named(TEST_MORE, "completed")),
    one("settle: completed when all periods were opened", CONSEQUENCES,
        "subscription.repetitions is not None and subscription.periods_charged >= subscription.repetitions",
        "subscription.repetitions is not None", *named(TEST_MORE, "completed")),
    one("settle: what ended is not completed", CONSEQUENCES,
        "if over and subscription.state in RUNNING and subscription", "if over and subscription",
        *named(TEST_MORE, "completed")),
    one("settle: a decline counts as a period that is owed", CONSEQUENCES,
        "            subscription.declined_invoices += 1\n", "            pass\n", *named(TEST_MORE, "in_one_batch")),
    one("sweep: not before the deadline", "billing/charging/collecting/sweep.py", ', deadline_at__lte=now', "",
        *named(TEST_SETTLE, "sweeper_calls")),
    one("sweep: only what is being sent", "billing/charging/collecting/sweep.py", 'state="sending", ', "",
        *named(TEST_MORE, "swept")),
]  # fmt: skip

MUTATIONS = [*_ANSWERS, *_EVIDENCE, *_LOCKS, *_ATTEMPT, *_AROUND]
