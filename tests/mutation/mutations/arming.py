"""The guards of opening, arming and sending."""

from tests.mutation.harness import ANY_TRANSACTION, Edit, Mutation, each, named, one

ARM = "billing/charging/attempts/arm.py"
PERMISSION = "billing/charging/protocol/permission.py"
ARMING = "billing/domain/arming.py"
ARM_SQL = "billing/models/bulk/arming.py"
COLLECT = "billing/charging/collecting/collect.py"
JOBS = "billing/charging/collecting/jobs.py"
RENEW = "billing/subscriptions/renew.py"
LIFECYCLE = "billing/subscriptions/lifecycle.py"
OPEN_SQL = "billing/models/bulk/opening.py"

TEST_GUARDS = "tests/charging/test_guards.py"
TEST_LIST = "tests/charging/test_work_list.py"
TEST_ARM = "tests/charging/test_arm.py"
TEST_ISOLATION = "tests/charging/test_isolation.py"
TEST_PREFLIGHT = "tests/charging/test_preflight.py"
TEST_READS = "tests/hostile/test_reads.py"
TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_ARMING = "tests/domain/test_arming.py"
TEST_KILLS = "tests/faults/test_kills.py"
TEST_LIFECYCLE = "tests/subscriptions/test_lifecycle.py"
TEST_HOSTILE = "tests/hostile/test_answers.py"
TEST_RENEW = "tests/subscriptions/test_renew.py"

_OPEN = [
    one("open: what was due before a pause is owed", LIFECYCLE,
        "        _open_what_is_due(locked, now)\n        locked.next_due_at = None\n"
        "        change_state(locked, SubscriptionState.PAUSED",
        "        locked.next_due_at = None\n        change_state(locked, SubscriptionState.PAUSED",
        *named(TEST_LIFECYCLE, "not_opened_yet")),
    one("open: what was due before a cancellation is owed", LIFECYCLE,
        "        _open_what_is_due(locked, now)\n        unpaid = ", "        unpaid = ",
        *named(TEST_LIFECYCLE, "not_opened_yet")),
    one("open: nothing is resumed by a wrong clock", LIFECYCLE,
        "        _require_a_right_clock(locked, now)\n        over = ", "        over = ",
        *named(TEST_LIFECYCLE, "known_to_be_off")),
    one("open: who stops a subscription sees what was opened", LIFECYCLE, "        locked.refresh_from_db()\n",
        "        pass\n", *named(TEST_LIFECYCLE, "not_opened_yet or everything_that_was_due")),
    one("open: all that was due is opened before an end", RENEW,
        "while _open_carefully(opening.claim_of(subscription_id, now), now).subscriptions:\n",
        "if _open_carefully(opening.claim_of(subscription_id, now), now).subscriptions:\n",
        *named(TEST_LIFECYCLE, "everything_that_was_due")),
    one("open: what is not due is not opened before an end", OPEN_SQL, '"next_due_at <= %s AND id = %s FOR UPDATE"',
        "\"next_due_at <= %s + interval '2 hours' AND id = %s FOR UPDATE\"",
        *named(TEST_LIFECYCLE, "paused_time_is_not_owed")),
    one("open: what is not due is not opened", OPEN_SQL,
        'f"next_due_at <= %s AND open_again_at IS NULL AND {_TO_OPEN}"\n',
        'f"(next_due_at <= %s OR next_due_at IS NOT NULL) AND {_TO_OPEN}"\n',
        *named(TEST_RENEW, "not_due")),
    one("open: what another worker opens is skipped", OPEN_SQL, "LIMIT %s FOR UPDATE SKIP LOCKED", "LIMIT %s",
        *named(TEST_RENEW, "another_worker_holds")),
    one("open: a batch that fails is opened one by one", RENEW,
        "        opened = _open_each(opening.due_ids(now, limit, not_to_open=not_to_open), now)\n    again",
        "        opened = Opened()\n    again", *named(TEST_HOSTILE, "holds_up_no_other")),
    one("open: what could not be opened is noted", RENEW, "                _note(subscription_id, error, now)\n",
        "                pass\n", *named(TEST_HOSTILE, "holds_up_no_other")),
    one("open: what was opened before is not opened again", RENEW,
        "if occurrence.due_at not in opened_before]", "]", *named(TEST_HOSTILE, "not_opened_again")),
    one("resume: after what was opened", LIFECYCLE, "if opened_last is not None and opened_last >= after:", "if False:",
        *named(TEST_HOSTILE, "goes_on_after_what_was_opened")),
    one("open: its commit is durable", RENEW, "with durable():\n        found =", f"{ANY_TRANSACTION}\n        found =",
        *named(TEST_RENEW, "inside_another")),
    one("open: not more than the repetitions", RENEW, "        if left <= 0:\n            break\n", "",
        *named(TEST_RENEW, "repetitions")),
    one("open: the repetitions end the due dates", RENEW,
        "over = one.repetitions is not None and charged >= one.repetitions", "over = False",
        *named(TEST_RENEW, "repetitions")),
    one("open: a skipped period counts no repetition", RENEW, "        left -= step.treatment is not Treatment.SKIP\n",
        "        left -= 1\n", *named(TEST_RENEW, "skipped_period")),
    one("open: what waits for a person is not collected", RENEW,
        "hold=Hold.CATCH_UP.value if step.treatment is Treatment.ASK else None,", "hold=None,",
        *named(TEST_RENEW, "policy_asks")),
    one("open: a period is opened once", RENEW, "period_index=one.period_index + len(planned),",
        "period_index=one.period_index,", *named(TEST_RENEW, "becomes_an_invoice")),
]  # fmt: skip

_ARM = [
    one("arm: nothing is sent of a commit that was not acknowledged", PERMISSION,
        "        return Unacknowledged(frozen.what)\n", "        pass\n",
        *named(TEST_KILLS, "arms_commit_raises")),
    one("arm: after a commit that was not acknowledged nothing more is armed", ARM,
        "        if single.unacknowledged:\n            break", "        if False:\n            break",
        *named(TEST_GUARDS, "nothing_more_is_armed")),
    one("arm: what was armed one by one is sent although a later one fails", ARM,
        "            if not result.armed:\n                raise\n", "            raise\n",
        *named(TEST_ISOLATION, "although_a_later_one_fails")),
    one("arm: nothing while a card that was tried is held", ARM, "        tried_card_held=invoice.tried_card_held,\n", "",
        *named(TEST_PREFLIGHT, "of_another_amount")),
    one("arm: a batch that a constraint refuses is armed one by one", ARM, "    for candidate in batch.candidates:\n",
        "    for candidate in []:\n", *named(TEST_ARM, "breaks_a_constraint")),
    one("arm: its commit is durable", PERMISSION, "with durable():", ANY_TRANSACTION,
        *named(TEST_GUARDS, "inside_another")),
    one("arm: the stop switches", ARM, "if account.stopped or (", "if (", *named(TEST_GUARDS, "stopped")),
    one("arm: live accounts wait for the installation", ARM,
        "(environment is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE)", "False",
        *named(TEST_GUARDS, "live_account_is_not_armed")),
    one("arm: what vanished from the work list is left alone", ARM, "invoice is None  #", "False  #",
        *named(TEST_GUARDS, "no_longer_due")),
    one("arm: a card that somebody else holds is left alone", ARM, "or (card_id is not None and card is None)",
        "or False", *named(TEST_GUARDS, "somebody_else_holds and paymentmethod")),
    one("arm: a subscription that somebody else holds is left alone", ARM,
        "or (subscription_id is not None and subscription is None)", "or False",
        *named(TEST_GUARDS, "somebody_else_holds and subscription")),
    one("arm: everything is re-checked", ARM,
        "reason = refusal(_facts(account, invoice, subscription, card), self.now)", "reason = None",
        *named(TEST_ARM, "card_that_may_not")),
    one("arm: a refusal is written down", ARM, "        arming.refuse(refusals, now=self.now)\n", "",
        *named(TEST_ARM, "card_that_may_not")),
    one("arm: what is refused waits as long as its reason says", ARM,
        "outcome.value, self.now + LOOK_AGAIN[outcome]", "outcome.value, self.now",
        *named(TEST_ARM, "card_that_may_not")),
    one("arm: the card is still the one to be charged", ARM,
        "or not _still_the_card(invoice, subscription, card)", "or False", *named(TEST_GUARDS, "card_changed")),
    *each("arm: the card is still the one to be charged", ARM, {
        "the one that is named": ("card is not None and card.id == named", "card is not None"),
        "one at all where one is named": ("    if named is not None:\n", "    if named is not None and card:\n"),
        "the default one": ("card.is_default and card.customer_id", "card.customer_id"),
        "the customer's": ("(card.is_default and card.customer_id == invoice.customer_id)", "card.is_default"),
    }, *named(TEST_GUARDS, "still_the_one")),
    one("arm: one invoice a card", ARM, "if card is None or card not in taken:", "if True:",
        *named(TEST_GUARDS, "side_by_side")),
    one("arm: account and host agree", ARM, "if not url_fits_environment(Environment(account.environment), "
        "account.api_url):", "if False:", *named(TEST_GUARDS, "live_account_is_not_armed")),
    one("arm: the request goes to the account's own host", ARM,
        "if not is_for(prepared, account.api_url):", "if False:", *named(TEST_GUARDS, "another_host")),
    one("arm: a request that cannot be made is refused", ARM, "            return Refusal.REQUEST_IMPOSSIBLE\n",
        "            raise\n", *named(TEST_ARM, "request_impossible")),
    one("arm: a refusal by a constraint is written down", ARM, "        _refuse_alone(candidate[0], batch.now)\n", "",
        *named(TEST_ARM, "breaks_a_constraint")),
    one("arm: the birth of an attempt is a row of its history", ARM, "        record_transitions(\n            [\n",
        "        (lambda *_, **__: None)(\n            [\n", *named(TEST_CHARGE, "every_change_of_state")),
    Mutation("arm: read before another try", (
        Edit(ARM, "preflight_needed=invoice.attempt_count > 0 or account.preflight_always", "preflight_needed=False"),
        Edit(ARM_SQL, "AND ((i.attempt_count = 0 AND NOT %(always)s)\n"
             "                      OR i.preflight_at >= GREATEST(%(fresh_since)s, i.look_from_at))",
             "AND (true OR %(always)s OR %(fresh_since)s IS NULL)"),
    ), named(TEST_CHARGE, "tried_again_only_after or money_that_came_after"),
        why="the work list leaves out what has to be read first, and arm re-checks the same under its locks"),
    *each("arm: takes back", ARM_SQL, {
        "the look": ("                  look_from_at = %s\n", "                  look_from_at = least(%s, now() - interval '99 years')\n"),
        "the lease": ("lease_token = lease_token + 1,\n                  look_from", "\n                  look_from"),
    }, *named(TEST_READS, "takes_back")),
    *each("arm: re-checked under its locks: the cards were read", ARM, {
        "before another try": ("preflight_needed=invoice.attempt_count > 0 or account.preflight_always",
                               "preflight_needed=account.preflight_always"),
        "before every try where the account says so": (
            "preflight_needed=invoice.attempt_count > 0 or account.preflight_always",
            "preflight_needed=invoice.attempt_count > 0"),
    }, *named(TEST_GUARDS, "cards_were_not_read")),
    *each("arm: re-checked under its locks", ARM, {
        "the subscription": ("if subscription and not invoice.collect_regardless", "if False"),
        "a person's decision to collect": ("if subscription and not invoice.collect_regardless", "if subscription"),
        "who collects": ("collected_by_gateway=subscription is not None and", "collected_by_gateway=False and"),
        "the card's state": ("card_state=CardState(card.state)", "card_state=CardState.ACTIVE"),
        "the card's kind": ("card_kind=CardKind(card.kind)", "card_kind=CardKind.TOKENIZED"),
        "the card's environment": ("card_environment=Environment(card.environment)",
                                   "card_environment=Environment(account.environment)"),
        "the card's hold": ("card_held=card is not None and card.held", "card_held=False"),
        "the limit": ("account_limit_minor=account.charge_limit_minor", "account_limit_minor=invoice.amount_minor"),
        "money that went back": ("amount_refunded_minor=invoice.amount_refunded_minor", "amount_refunded_minor=0"),
        "an attempt that holds the invoice": ("invoice_has_holder=invoice.has_holder", "invoice_has_holder=False"),
    }, TEST_ARM),
    *each("arm: re-checked under its locks", ARM, {
        "what a person gave up": ("card_given_up=card is not None and card.given_up", "card_given_up=False"),
        "from when a look excludes the last try": ("look_from_at=invoice.look_from_at", "look_from_at=None"),
    }, *named(TEST_GUARDS, "refused_all_the_same")),
    one("arm: re-checked under its locks: an open outcome of the card", ARM,
        "card_has_unresolved_attempt=card is not None and card.has_unresolved_attempt",
        "card_has_unresolved_attempt=False", *named(TEST_CHARGE, "side_by_side")),
    *each("arm: refused when", ARMING, {
        words: (f"({old}, Refusal", "(False, Refusal")
        for words, old in {
            "the invoice has a holder": "facts.invoice_has_holder",
            "the gateway collects": "facts.collected_by_gateway",
            "there is no card": "facts.card_state is None",
            "the card has a schedule of the gateway": "facts.card_kind is CardKind.RECURRING",
            "the card is not active": "facts.card_state is not CardState.ACTIVE",
            "the card is held": "facts.card_held",
            "a person gave the card up": "facts.card_given_up",
            "the card has an unresolved attempt": "facts.card_has_unresolved_attempt",
            "the environments differ": "facts.card_environment is not facts.account_environment",
            "the amount is above the limit": "facts.amount_minor > facts.account_limit_minor",
            "the invoice was refunded": "facts.amount_refunded_minor > 0",
            "the cards were not read": "facts.preflight_needed and not _fresh(facts, now)",
        }.items()
    } | {
        "the subscription does not run": ("facts.subscription_state not in USABLE_SUBSCRIPTIONS,", "False,"),
        "the subscription ended": ("RUNNING | {SubscriptionState.INCOMPLETE}",
                                   "RUNNING | {SubscriptionState.INCOMPLETE, SubscriptionState.PAUSED}"),
        "the cards were read long ago": ("<= now - at <= PREFLIGHT_FRESH", "<= now - at"),
        "the cards are read in the future": ("timedelta(0) <= now - at <=", "now - at <="),
        "the cards were never read": (
            "    if at is None or (facts.look_from_at is not None and at < facts.look_from_at):\n        return False\n",
            "    if at is None:\n        return True\n"
            "    if facts.look_from_at is not None and at < facts.look_from_at:\n        return False\n"),
        "the look is older than what it must exclude": ("at < facts.look_from_at", "False"),
    }, TEST_ARMING),
]  # fmt: skip

_LOCKS = [
    one("arm: the installation's switch is not thrown beside it", ARM_SQL,
        'FROM billing_installation WHERE id = 1 FOR SHARE"', 'FROM billing_installation WHERE id = 1"',
        *named(TEST_LIST, "stop_switch")),
    one("arm: the account's switch is not thrown beside it", ARM_SQL,
        "FROM billing_gatewayaccount WHERE id = %s FOR SHARE", "FROM billing_gatewayaccount WHERE id = %s",
        *named(TEST_LIST, "stop_switch")),
    one("arm: the installation's switch stops all accounts", ARM_SQL, "stopped or installation_stopped", "stopped",
        *named(TEST_GUARDS, "stopped")),
    one("arm: the account's switch stops it", ARM_SQL, "stopped or installation_stopped", "installation_stopped",
        *named(TEST_GUARDS, "stopped")),
    *each("arm: worked for", ARM_SQL, {
        "not what is stopped": ("WHERE a.stopped_at IS NULL\n", "WHERE true\n"),
        "nobody while all is stopped": ("FROM billing_installation WHERE stopped_at IS NOT NULL)",
                                        "FROM billing_installation WHERE false)"),
        "only who has something due": ("i.account_id = a.id AND i.next_attempt_at <= %s",
                                       "i.account_id = a.id AND (i.next_attempt_at <= %s OR true)"),
    }, *named(TEST_LIST, "worked_for")),
    *each("arm: the work list", ARM_SQL, {
        "names the account's own": ("i.account_id = %(account)s AND i.next_attempt_at",
                                    "(i.account_id = %(account)s OR true) AND i.next_attempt_at"),
        "names what is due": ("AND i.next_attempt_at <= %(now)s\n", "AND (i.next_attempt_at <= %(now)s OR true)\n"),
        "names the invoice's own card": ("COALESCE(i.payment_method_id, s.payment_method_id, d.id)\n",
                                         "COALESCE(s.payment_method_id, d.id)\n"),
        "names the subscription's card": ("COALESCE(i.payment_method_id, s.payment_method_id, d.id)\n",
                                          "COALESCE(i.payment_method_id, d.id)\n"),
        "names the default card": ("d.customer_id = i.customer_id AND d.is_default", "d.customer_id = i.customer_id"),
        "leaves out what has to be read": ("i.attempt_count = 0 AND NOT %(always)s", "NOT %(always)s"),
        "leaves out what the account wants read": ("i.attempt_count = 0 AND NOT %(always)s",
                                                   "i.attempt_count = 0 AND (NOT %(always)s OR true)"),
        "leaves out what was read long ago": (
            "OR i.preflight_at >= GREATEST(%(fresh_since)s, i.look_from_at)",
            "OR (i.preflight_at >= %(fresh_since)s OR i.preflight_at IS NOT NULL)"),
    }, *named(TEST_LIST, "work_list")),
    one("arm: cards are locked", ARM_SQL, "c.id = ANY(%s) ORDER BY c.id FOR UPDATE SKIP LOCKED",
        "c.id = ANY(%s) ORDER BY c.id", *named(TEST_GUARDS, "somebody_else_holds and paymentmethod")),
    one("arm: subscriptions are locked", ARM_SQL, "WHERE id = ANY(%s) ORDER BY id FOR SHARE SKIP LOCKED",
        "WHERE id = ANY(%s) ORDER BY id", *named(TEST_GUARDS, "somebody_else_holds and subscription")),
    Mutation("arm: invoices are locked", (
        Edit(ARM_SQL, "LIMIT %(limit)s FOR UPDATE OF i SKIP LOCKED", "LIMIT %(limit)s"),
        Edit(ARM_SQL, "AND next_attempt_at <= %s ORDER BY id FOR UPDATE SKIP LOCKED",
             "AND next_attempt_at <= %s ORDER BY id"),
    ), named(TEST_GUARDS, "somebody_else_holds and invoice"),
        why="the work list locks what it gives out, and invoices that are armed one by one are locked again"),
    one("arm: a card that somebody else holds is not waited for", ARM_SQL, "ORDER BY c.id FOR UPDATE SKIP LOCKED",
        "ORDER BY c.id FOR UPDATE", *named(TEST_GUARDS, "somebody_else_holds and paymentmethod")),
    one("arm: a subscription that somebody else holds is not waited for", ARM_SQL,
        "ORDER BY id FOR SHARE SKIP LOCKED", "ORDER BY id FOR SHARE",
        *named(TEST_GUARDS, "somebody_else_holds and subscription")),
    one("arm: an invoice that somebody else holds is not waited for", ARM_SQL, "FOR UPDATE OF i SKIP LOCKED",
        "FOR UPDATE OF i", *named(TEST_GUARDS, "somebody_else_holds and invoice")),
    *each("arm: an open outcome of the card", ARM_SQL, {
        "is known": ("AND state = ANY(%s) AND released_at IS NULL", "AND false AND state = ANY(%s)"),
        "in every open state": ("sorted(UNRESOLVED)", "sorted(UNRESOLVED)[1:]"),
        "holds it until a person releases it": ("state = ANY(%s) AND released_at IS NULL", "state = ANY(%s)"),
    }, *named(TEST_LIST, "card_and_invoice or released")),
    *each("arm: an attempt that holds the invoice", ARM_SQL, {
        "is known": ("AND (a.state = ANY(%s)", "AND (false AND a.state = ANY(%s)"),
        "with its money too": ("sorted(HOLDS_PLACE)", "sorted(UNRESOLVED)"),
        "though its card was released": ("AND (a.state = ANY(%s)", "AND (a.state = ANY(%s) AND a.released_at IS NULL"),
    }, *named(TEST_LIST, "card_and_invoice or released")),
    one("arm: what is no longer due is left alone", ARM_SQL, "AND next_attempt_at <= %s ORDER BY id FOR UPDATE",
        "AND (next_attempt_at <= %s OR true) ORDER BY id FOR UPDATE", *named(TEST_GUARDS, "no_longer_due")),
    one("arm: what is armed leaves the work list", ARM_SQL,
        "SET next_attempt_at = NULL, attempt_count", "SET attempt_count", *named(TEST_GUARDS, "leaves_the_work_list")),
    one("arm: tries are counted", ARM_SQL, "attempt_count = attempt_count + 1,", "attempt_count = attempt_count,",
        *named(TEST_GUARDS, "leaves_the_work_list")),
    one("arm: a refusal puts nothing back on the work list", ARM_SQL,
        "WHERE i.id = n.id AND i.next_attempt_at IS NOT NULL", "WHERE i.id = n.id",
        *named(TEST_LIST, "puts_nothing_back")),
]  # fmt: skip

_SEND = [
    one("send: not after the window", "rm_gateway/client.py", "if abs(age) > self._settings.window_seconds:",
        "if False:", *named(TEST_KILLS, "wakes_late")),
    one("send: only listed refusals are certain", "billing/gateway/answers.py",
        "    if not isinstance(error, (NotSent, Rejected)):\n        return Finding(", "    if False:\n        return Finding(",
        *named(TEST_CHARGE, "absence_never_permits")),
    one("collect: a sender that fails has an unknown outcome", JOBS,
        "        return Sent(armed, Finding(Verdict.UNCLEAR, Source.ANSWER",
        "        return Sent(armed, Finding(Verdict.NOT_SENT, Source.ANSWER", *named(TEST_GUARDS, "sender_that_fails")),
    one("collect: a live account is not spoken to until it is allowed", COLLECT,
        "if account.environment == Environment.LIVE and not settings.KITARAN_ALLOW_LIVE:", "if False:",
        *named(TEST_GUARDS, "live_account_is_not_even")),
    one("collect: who is told to stop arms nothing more", COLLECT,
        "return in_order and not self._should_stop() and time", "return in_order and time", *named(TEST_GUARDS, "stop_request_ends")),
    one("collect: no token, no attempt", COLLECT, "most if holds_token else 0,", "most,",
        *named(TEST_ARM, "without_a_token")),
    one("collect: what was not acknowledged is settled", COLLECT,
        "self._count(\n            settle([AttemptFinding(marker, finding) for marker in found], limits=self._limits, now=self._clock())\n"
        "        )",
        "del finding, found", *named(TEST_KILLS, "arms_commit_raises")),
    one("collect: an answer is kept until it is settled", COLLECT,
        "            self._count(settle(findings, limits=self._limits, now=self._clock()))\n"
        "            del self._unsettled[: len(group)]",
        "            del self._unsettled[: len(group)]\n"
        "            self._count(settle(findings, limits=self._limits, now=self._clock()))",
        *named(TEST_KILLS, "settles_commit_raises")),
    one("unavailable: an invoice says that the gateway cannot be reached", COLLECT,
        "            arming.note_unavailable(account.pk, refusal=why.value, now=now)\n", "",
        *named(TEST_CHARGE, "invoice_is_charged_once_the_gateway")),
    *each("unavailable: said", ARM_SQL, {
        "of the account's own invoices": ("WHERE account_id = %s AND next_attempt_at <= %s\n",
                                          "WHERE (account_id = %s OR true) AND next_attempt_at <= %s\n"),
        "of what is due": ("WHERE account_id = %s AND next_attempt_at <= %s\n",
                           "WHERE account_id = %s AND (next_attempt_at <= %s OR true)\n"),
        "once": ("AND refusal IS DISTINCT FROM %s FOR", "AND (refusal IS DISTINCT FROM %s OR true) FOR"),
        "without waiting for who holds the invoice": ("IS DISTINCT FROM %s FOR UPDATE SKIP LOCKED",
                                                      "IS DISTINCT FROM %s FOR UPDATE"),
        "of an invoice that stays due": ("SET refusal = %s, refused_at = %s\n",
                                         "SET refusal = %s, refused_at = %s, next_attempt_at = "
                                         "next_attempt_at + interval '1 hour'\n"),
    }, *named(TEST_LIST, "unreachable_gateway")),
    one("unavailable: looked at again at every tick", ARMING, "Refusal.GATEWAY_UNAVAILABLE: timedelta(0)",
        "Refusal.GATEWAY_UNAVAILABLE: timedelta(hours=1)", *named(TEST_ARMING, "every_refusal_has_a_time")),
]  # fmt: skip

MUTATIONS = [*_OPEN, *_ARM, *_LOCKS, *_SEND]
