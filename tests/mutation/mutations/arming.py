"""The guards of opening, arming and sending."""

from tests.mutation.edits import ANY_TRANSACTION, always, always_sql, drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Edit, Mutation, each, one

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
    one("open: what was due before a pause is owed", LIFECYCLE, drop("pause", "_open_what_is_due(locked, now)"),
        TEST_LIFECYCLE, "not_opened_yet"),
    one("open: what was due before a cancellation is owed", LIFECYCLE, drop("cancel", "_open_what_is_due(locked, now)"),
        TEST_LIFECYCLE, "not_opened_yet"),
    one("open: nothing is resumed by a wrong clock", LIFECYCLE, drop("resume", "_require_a_right_clock(locked, now)"),
        TEST_LIFECYCLE, "known_to_be_off"),
    one("open: who stops a subscription sees what was opened", LIFECYCLE, drop("_open_what_is_due",
        "locked.refresh_from_db()"), TEST_LIFECYCLE, "not_opened_yet or everything_that_was_due"),
    one("open: all that was due is opened before an end", RENEW, swap("open_before_ending",
        "while _open_carefully(...).subscriptions:", "if _open_carefully(...).subscriptions:"),
        TEST_LIFECYCLE, "everything_that_was_due"),
    one("open: what is not due is not opened before an end", OPEN_SQL, swap_sql("claim_of", "next_due_at <= %s",
        "next_due_at <= %s + interval '2 hours'"), TEST_LIFECYCLE, "paused_time_is_not_owed"),
    one("open: what is not due is not opened", OPEN_SQL, swap_sql("claim_due",
        "next_due_at <= %s AND open_again_at IS NULL", "(next_due_at <= %s OR next_due_at IS NOT NULL)"),
        TEST_RENEW, "not_due"),
    one("open: what another worker opens is skipped", OPEN_SQL, drop_sql("claim_due", "FOR UPDATE SKIP LOCKED"),
        TEST_RENEW, "another_worker_holds"),
    one("open: a batch that fails is opened one by one", RENEW, swap("open_due",
        "_open_each(opening.due_ids(now, limit, not_to_open=not_to_open), now)", "Opened()",
        of="except Exception as error:"), TEST_HOSTILE, "holds_up_no_other"),
    one("open: what could not be opened is noted", RENEW, drop("_open_each", "_note(subscription_id, error, now)"),
        TEST_HOSTILE, "holds_up_no_other"),
    one("open: what was opened before is not opened again", RENEW,
        drop("_open", "occurrence.due_at not in opened_before"), TEST_HOSTILE, "not_opened_again"),
    one("resume: after what was opened", LIFECYCLE, never("resume", "opened_last is not None and opened_last >= after"),
        TEST_HOSTILE, "goes_on_after_what_was_opened"),
    one("open: its commit is durable", RENEW, swap("_open_batch", "durable", ANY_TRANSACTION),
        TEST_RENEW, "inside_another"),
    one("open: not more than the repetitions", RENEW, drop("_planned", "if left <= 0:"), TEST_RENEW, "repetitions"),
    one("open: the repetitions end the due dates", RENEW,
        never("_advance", "one.repetitions is not None and charged >= one.repetitions"), TEST_RENEW, "repetitions"),
    one("open: a skipped period counts no repetition", RENEW,
        swap("_planned", "step.treatment is not Treatment.SKIP", "1"), TEST_RENEW, "skipped_period"),
    one("open: what waits for a person is not collected", RENEW, swap("_invoice",
        "Hold.CATCH_UP.value if step.treatment is Treatment.ASK else None", "None"), TEST_RENEW, "policy_asks"),
    one("open: a period is opened once", RENEW, swap("_advance", "one.period_index + len(planned)", "one.period_index"),
        TEST_RENEW, "becomes_an_invoice"),
]  # fmt: skip

_ARM = [
    one("arm: nothing is sent of a commit that was not acknowledged", PERMISSION,
        drop("ask_permission", "return Unacknowledged(frozen.what)"), TEST_KILLS, "arms_commit_raises"),
    one("arm: after a commit that was not acknowledged nothing more is armed", ARM,
        never("arm", "if single.unacknowledged:"), TEST_GUARDS, "nothing_more_is_armed"),
    one("arm: what was armed one by one is sent although a later one fails", ARM,
        swap("arm", "if not result.armed: raise", "raise"), TEST_ISOLATION, "although_a_later_one_fails"),
    one("arm: nothing while a card that was tried is held", ARM,
        drop("_facts", "tried_card_held=invoice.tried_card_held"), TEST_PREFLIGHT, "of_another_amount"),
    one("arm: a batch that a constraint refuses is armed one by one", ARM, swap("arm", "batch.candidates", "[]"),
        TEST_ARM, "breaks_a_constraint"),
    one("arm: its commit is durable", PERMISSION, swap("ask_permission", "durable", ANY_TRANSACTION),
        TEST_GUARDS, "inside_another"),
    one("arm: the stop switches", ARM, drop("_choose", "account.stopped"), TEST_GUARDS, "stopped"),
    one("arm: live accounts wait for the installation", ARM,
        never("_choose", "environment is Environment.LIVE and not settings.KITARAN_ALLOW_LIVE"),
        TEST_GUARDS, "live_account_is_not_armed"),
    one("arm: what vanished from the work list is left alone", ARM, never("_choose", "invoice is None",
        of="... or not _still_the_card(invoice, subscription, card)"), TEST_GUARDS, "no_longer_due"),
    one("arm: a card that somebody else holds is left alone", ARM, never("_choose",
        "card_id is not None and card is None", of="... or not _still_the_card(invoice, subscription, card)"),
        TEST_GUARDS, "somebody_else_holds and paymentmethod"),
    one("arm: a subscription that somebody else holds is left alone", ARM, never("_choose",
        "subscription_id is not None and subscription is None",
        of="... or not _still_the_card(invoice, subscription, card)"),
        TEST_GUARDS, "somebody_else_holds and subscription"),
    one("arm: everything is re-checked", ARM, swap("_choose",
        "refusal(facts, self.now)", "None"), TEST_ARM, "card_that_may_not"),
    one("arm: a refusal is written down", ARM, drop("_choose", "arming.refuse(refusals, now=self.now)"),
        TEST_ARM, "card_that_may_not"),
    one("arm: what is refused waits as long as its reason says", ARM,
        swap("_refused", "now + LOOK_AGAIN[why]", "now"), TEST_ARM, "card_that_may_not"),
    one("arm: the card is still the one to be charged", ARM,
        never("_choose", "not _still_the_card(invoice, subscription, card)"), TEST_GUARDS, "card_changed"),
    *each("arm: the card is still the one to be charged", ARM, {
        "the one that is named": drop("_still_the_card", "card.id == named"),
        "one at all where one is named": swap("_still_the_card",
            "if named is not None: return card is not None and card.id == named",
            "if named is not None and card: return card is not None and card.id == named"),
        "the default one": drop("_still_the_card", "card.is_default"),
        "the customer's": drop("_still_the_card", "card.customer_id == invoice.customer_id"),
    }, TEST_GUARDS, "still_the_one"),
    one("arm: one invoice a card", ARM, always("_due", "card is None or card not in taken"),
        TEST_GUARDS, "side_by_side"),
    one("arm: account and host agree", ARM,
        never("_freeze", "not url_fits_environment(Environment(account.environment), account.api_url)"),
        TEST_GUARDS, "live_account_is_not_armed"),
    one("arm: the request goes to the account's own host", ARM,
        never("_freeze", "not is_for(prepared, account.api_url)"), TEST_GUARDS, "another_host"),
    one("arm: a request that cannot be made is refused", ARM,
        swap("_freeze", "return Refusal.REQUEST_IMPOSSIBLE", "raise"), TEST_ARM, "request_impossible"),
    one("arm: a refusal by a constraint is written down", ARM,
        drop("_arm_alone", "_refuse_alone(candidate[0], batch.now)"), TEST_ARM, "breaks_a_constraint"),
    one("arm: the birth of an attempt is a row of its history", ARM,
        swap("_insert", "record_transitions", "lambda *_, **__: None"), TEST_CHARGE, "every_change_of_state"),
    Mutation("arm: read before another try", (
        Edit(ARM, never("_facts", "invoice.attempt_count > 0 or account.preflight_always")),
        Edit(ARM_SQL, swap_sql("due_invoices",
            "(i.attempt_count = 0 AND NOT %(always)s) OR i.preflight_at >= GREATEST(%(fresh_since)s, i.look_from_at)",
            "true OR %(always)s OR %(fresh_since)s IS NULL")),
    ), TEST_CHARGE, "tried_again_only_after or money_that_came_after",
        why="the work list leaves out what has to be read first, and arm re-checks the same under its locks"),
    *each("arm: takes back", ARM_SQL, {
        "the look":
            swap_sql("insert_attempts", "look_from_at = %s", "look_from_at = least(%s, now() - interval '99 years')"),
        "the lease": drop_sql("insert_attempts", "lease_token = lease_token + 1,"),
    }, TEST_READS, "takes_back"),
    *each("arm: re-checked under its locks: the cards were read", ARM, {
        "before another try": drop("_facts", "invoice.attempt_count > 0"),
        "before every try where the account says so": drop("_facts", "account.preflight_always"),
    }, TEST_GUARDS, "cards_were_not_read"),
    *each("arm: re-checked under its locks", ARM, {
        "the subscription": never("_facts", "subscription and not invoice.collect_regardless"),
        "a person's decision to collect": drop("_facts", "not invoice.collect_regardless"),
        "who collects":
            never("_facts", "subscription is not None and subscription.collector == Collector.GATEWAY.value"),
        "the card's state": swap("_facts", "CardState(card.state)", "CardState.ACTIVE"),
        "the card's kind": swap("_facts", "CardKind(card.kind)", "CardKind.TOKENIZED"),
        "the card's environment": swap("_facts", "card.environment", "account.environment",
            of="ArmFacts(..., card_environment=..., account_environment=Environment(account.environment))"),
        "the card's hold": never("_facts", "card is not None and card.held"),
        "the limit": swap("_facts", "account.charge_limit_minor", "invoice.amount_minor",
            of="ArmFacts(..., amount_minor=invoice.amount_minor)"),
        "money that went back": swap("_facts", "invoice.amount_refunded_minor", "0"),
        "an attempt that holds the invoice": never("_facts", "invoice.has_holder"),
    }, TEST_ARM),
    *each("arm: re-checked under its locks", ARM, {
        "what a person gave up": never("_facts", "card is not None and card.given_up"),
        "from when a look excludes the last try": swap("_facts", "invoice.look_from_at", "None"),
    }, TEST_GUARDS, "refused_all_the_same"),
    one("arm: re-checked under its locks: an open outcome of the card", ARM,
        never("_facts", "card is not None and card.has_unresolved_attempt"), TEST_CHARGE, "side_by_side"),
    *each("arm: refused when", ARMING, {
        words: never("refusal", old)
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
        "the subscription does not run": never("refusal", "facts.subscription_state not in USABLE_SUBSCRIPTIONS"),
        "the subscription ended":
            swap("refusal", "facts.subscription_state not in USABLE_SUBSCRIPTIONS",
                 "facts.subscription_state not in {SubscriptionState.PAUSED, *USABLE_SUBSCRIPTIONS}"),
        "the cards were read long ago":
            swap("_fresh", "timedelta(0) <= now - at <= PREFLIGHT_FRESH", "timedelta(0) <= now - at"),
        "the cards are read in the future":
            swap("_fresh", "timedelta(0) <= now - at <= PREFLIGHT_FRESH", "now - at <= PREFLIGHT_FRESH"),
        "the cards were never read": swap("_fresh", "return False", "return at is None", of="if at is None or ...:"),
        "the look is older than what it must exclude": never("_fresh", "at < facts.look_from_at"),
    }, TEST_ARMING),
]  # fmt: skip

_LOCKS = [
    one("arm: the installation's switch is not thrown beside it", ARM_SQL,
        drop_sql("lock_account", "FOR SHARE", of="billing_installation"), TEST_LIST, "stop_switch"),
    one("arm: the account's switch is not thrown beside it", ARM_SQL,
        drop_sql("lock_account", "FOR SHARE", of="billing_gatewayaccount"), TEST_LIST, "stop_switch"),
    one("arm: the installation's switch stops all accounts", ARM_SQL, drop("lock_account", "installation_stopped",
        of="account.stopped or installation_stopped"), TEST_GUARDS, "stopped"),
    one("arm: the account's switch stops it", ARM_SQL,
        drop("lock_account", "account.stopped", of="account.stopped or installation_stopped"), TEST_GUARDS, "stopped"),
    *each("arm: worked for", ARM_SQL, {
        "not what is stopped": swap_sql("accounts_with_work", "a.stopped_at IS NULL", "true"),
        "nobody while all is stopped": swap_sql("accounts_with_work", "stopped_at IS NOT NULL", "false"),
        "only who has something due": always_sql("accounts_with_work", "i.next_attempt_at <= %s"),
    }, TEST_LIST, "worked_for"),
    *each("arm: the work list", ARM_SQL, {
        "names the account's own": always_sql("due_invoices", "i.account_id = %(account)s"),
        "names what is due": always_sql("due_invoices", "i.next_attempt_at <= %(now)s"),
        "names the invoice's own card": drop_sql("due_invoices", "i.payment_method_id,"),
        "names the subscription's card": drop_sql("due_invoices", "s.payment_method_id,"),
        "names the default card": drop_sql("due_invoices", "AND d.is_default"),
        "leaves out what has to be read": drop_sql("due_invoices", "i.attempt_count = 0 AND"),
        "leaves out what the account wants read": always_sql("due_invoices", "NOT %(always)s"),
        "leaves out what was read long ago": swap_sql("due_invoices",
            "i.preflight_at >= GREATEST(%(fresh_since)s, i.look_from_at",
            "(i.preflight_at >= %(fresh_since)s OR i.preflight_at IS NOT NULL"),
    }, TEST_LIST, "work_list"),
    one("arm: cards are locked", ARM_SQL, drop_sql("lock_cards", "FOR UPDATE SKIP LOCKED"),
        TEST_GUARDS, "somebody_else_holds and paymentmethod"),
    one("arm: subscriptions are locked", ARM_SQL, drop_sql("lock_subscriptions", "FOR SHARE SKIP LOCKED"),
        TEST_GUARDS, "somebody_else_holds and subscription"),
    Mutation("arm: invoices are locked", (
        Edit(ARM_SQL, drop_sql("due_invoices", "FOR UPDATE OF i SKIP LOCKED")),
        Edit(ARM_SQL, drop_sql("lock_invoices", "FOR UPDATE SKIP LOCKED")),
    ), TEST_GUARDS, "somebody_else_holds and invoice",
        why="the work list locks what it gives out, and invoices that are armed one by one are locked again"),
    one("arm: a card that somebody else holds is not waited for", ARM_SQL, drop_sql("lock_cards", "SKIP LOCKED"),
        TEST_GUARDS, "somebody_else_holds and paymentmethod"),
    one("arm: a subscription that somebody else holds is not waited for", ARM_SQL,
        drop_sql("lock_subscriptions", "SKIP LOCKED"), TEST_GUARDS, "somebody_else_holds and subscription"),
    one("arm: an invoice that somebody else holds is not waited for", ARM_SQL, drop_sql("due_invoices", "SKIP LOCKED"),
        TEST_GUARDS, "somebody_else_holds and invoice"),
    *each("arm: an open outcome of the card", ARM_SQL, {
        "is known": swap_sql("lock_cards", "state = ANY(%s) AND released_at IS NULL", "false AND state = ANY(%s)"),
        "in every open state": swap("lock_cards", "sorted(UNRESOLVED)", "sorted(UNRESOLVED)[1:]"),
        "holds it until a person releases it": drop_sql("lock_cards", "AND released_at IS NULL"),
    }, TEST_LIST, "card_and_invoice or released"),
    *each("arm: an attempt that holds the invoice", ARM_SQL, {
        "is known": swap_sql("lock_invoices", "(a.state = ANY(%s)", "(false AND a.state = ANY(%s)"),
        "with its money too": swap("lock_invoices", "HOLDS_PLACE", "UNRESOLVED"),
        "though its card was released":
            swap_sql("lock_invoices", "(a.state = ANY(%s)", "(a.state = ANY(%s) AND a.released_at IS NULL"),
    }, TEST_LIST, "card_and_invoice or released"),
    one("arm: what is no longer due is left alone", ARM_SQL, always_sql("lock_invoices", "next_attempt_at <= %s"),
        TEST_GUARDS, "no_longer_due"),
    one("arm: what is armed leaves the work list", ARM_SQL, drop_sql("insert_attempts", "next_attempt_at = NULL,"),
        TEST_GUARDS, "leaves_the_work_list"),
    one("arm: tries are counted", ARM_SQL, swap_sql("insert_attempts", "attempt_count = attempt_count + 1",
        "attempt_count = attempt_count"), TEST_GUARDS, "leaves_the_work_list"),
    one("arm: a refusal puts nothing back on the work list", ARM_SQL,
        drop("refuse", 'where="t.next_attempt_at IS NOT NULL"'), TEST_LIST, "puts_nothing_back"),
]  # fmt: skip

_SEND = [
    one("send: not after the window", "rm_gateway/client.py",
        never("_send", "abs(age) > self._settings.window_seconds"), TEST_KILLS, "wakes_late"),
    one("send: only listed refusals are certain", "billing/gateway/findings.py", never("finding_from_error",
        "not isinstance(error, (NotSent, Rejected))"), TEST_CHARGE, "absence_never_permits"),
    one("collect: a sender that fails has an unknown outcome", JOBS,
        swap("send", "Verdict.UNCLEAR", "Verdict.NOT_SENT"), TEST_GUARDS, "sender_that_fails"),
    one("collect: a live account is not spoken to until it is allowed", COLLECT,
        never("_work_on", "account.environment == Environment.LIVE and not settings.KITARAN_ALLOW_LIVE"),
        TEST_GUARDS, "live_account_is_not_even"),
    one("collect: who is told to stop arms nothing more", COLLECT, drop("_may_arm", "not self._should_stop()"),
        TEST_GUARDS, "stop_request_ends"),
    one("collect: no token, no attempt", COLLECT, swap("_work_on", "most if holds_token else 0", "most"),
        TEST_ARM, "without_a_token"),
    one("collect: what was not acknowledged is settled", COLLECT, drop("_settle_unacknowledged", "self._count(...)"),
        TEST_KILLS, "arms_commit_raises"),
    one("collect: an answer is kept until it is settled", COLLECT, swap("_settle",
        "self._count(...); del self._unsettled[:len(group)]", "del self._unsettled[:len(group)]; self._count(...)"),
        TEST_KILLS, "settles_commit_raises"),
    one("unavailable: an invoice says that the gateway cannot be reached", COLLECT,
        drop("_pause", "arming.note_unavailable(account.pk, refusal=why.value, now=now)"),
        TEST_CHARGE, "invoice_is_charged_once_the_gateway"),
    *each("unavailable: said", ARM_SQL, {
        "of the account's own invoices": always_sql("note_unavailable", "account_id = %s"),
        "of what is due": always_sql("note_unavailable", "next_attempt_at <= %s"),
        "once": always_sql("note_unavailable", "refusal IS DISTINCT FROM %s"),
        "without waiting for who holds the invoice": drop_sql("note_unavailable", "SKIP LOCKED"),
        "of an invoice that stays due": swap_sql("note_unavailable", "refused_at = %s",
            "refused_at = %s, next_attempt_at = next_attempt_at + interval '1 hour'"),
    }, TEST_LIST, "unreachable_gateway"),
    one("unavailable: looked at again at every tick", ARMING, swap("LOOK_AGAIN",
        "Refusal.GATEWAY_UNAVAILABLE: timedelta(0)", "Refusal.GATEWAY_UNAVAILABLE: timedelta(hours=1)"),
        TEST_ARMING, "every_refusal_has_a_time"),
]  # fmt: skip

MUTATIONS = [*_OPEN, *_ARM, *_LOCKS, *_SEND]
