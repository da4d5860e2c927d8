"""The guards of what people decide: beside what the gateway shows, above an amount by two, and exactly once."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Edit, Mutation, each, one

RESOLVE = "billing/charging/cases/resolve.py"
LOOKING = "billing/charging/reading/before_decision.py"
RULES = "billing/domain/resolution.py"
MANY = "billing/charging/cases/resolve_many.py"
HOLDS = "billing/charging/cases/holds.py"
RETRY = "billing/charging/cases/retry_now.py"
CLEAR = "billing/charging/cases/clear_hold.py"
SECOND = "billing/charging/cases/approvals.py"
WAYS = "billing/charging/cases/ways_out.py"
FOUND = "billing/charging/cases/unexplained_payments.py"
CLOSING = "billing/domain/closing.py"

TEST_RESOLVE = "tests/charging/test_resolve.py"
TEST_GUARDS = "tests/charging/test_resolve_guards.py"
TEST_RULES = "tests/domain/test_resolution.py"
TEST_CLOSING = "tests/domain/test_closing.py"
TEST_WAYS = "tests/charging/test_ways_out.py"
TEST_REMIND = "tests/charging/test_remind.py"
TEST_HEALTH = "tests/operating/test_health.py"
TEST_DASHBOARD = "tests/admin/test_dashboard.py"
TEST_SETTLE = "tests/charging/test_settle.py"

_WORDS = [
    *each("person: said", RESOLVE, {
        "why": never("_check_words", "not decision.reason"),
        "which transaction": never("_check_words", "resolution in TOOK_MONEY and not transaction_id"),
        "no transaction where there is no money":
            never("_check_words", "resolution not in TOOK_MONEY and transaction_id"),
    }, TEST_RESOLVE, "invalid_decision"),
    one("person: only a case is decided", RESOLVE, never("_case", "current.state != AttemptState.NEEDS_REVIEW"),
        TEST_RESOLVE, "only_an_attempt and states2"),
    one("person: a release says why", RESOLVE, never("release_card", "not decision.reason"),
        TEST_RESOLVE, "several_cards"),
    Mutation("person: a card is released once", (
        Edit(RESOLVE, never("release_card", "current.released_at is not None")),
        Edit(RESOLVE, drop("_release", "released_at=None")),
    ), TEST_SETTLE, "later_invoices_only",
        why="it is asked before the locks, so that a person is told at once, and again when it is written"),
]  # fmt: skip

_LOOK = [
    one("person: looks at the gateway before deciding", RESOLVE, swap("resolve",
        "wish = _Wish(..., frozenset(despite_orders)); return _act_on(current, wish, seen or read_before(current, "
        "transaction_id), ...)",
        'wish = _Wish(..., frozenset({"card_not_known"})); return _act_on(current, wish, seen or Shown(None, (), '
        "None), ...)"), TEST_RESOLVE, "decision_cannot_deny and declined"),
    one("person: looks at the gateway before confirming", RESOLVE, swap("confirm",
        "seen = read_before(..., wish.transaction_id)",
        "seen = Shown(None, (), None); wish = _Wish(wish.kind, wish.reason, wish.transaction_id, "
        'frozenset({"card_not_known"}))'), TEST_RESOLVE, "gateway_is_read"),
    one("person: what the gateway shows forbids", RESOLVE,
        swap("_act_on", "object_to(attempt, resolution, wish.transaction_id, seen, despite=wish.despite)", "None"),
        TEST_RESOLVE, "decision_cannot_deny and declined"),
    one("person: what was looked at is known from now on", RESOLVE, drop("_act_on",
        "_record(attempt, resolution, seen, tuning, now)"), TEST_RESOLVE, "unexplained_order_is_named and default"),
    one("person: the money that is named raises no alarm", RESOLVE, drop("_record",
        "one.marker != attempt.marker or resolution not in TOOK_MONEY"), TEST_GUARDS, "raises_no_alarm"),
    one("look: only an id is asked about", LOOKING, never("_named", "not _TRANSACTION_ID.fullmatch(transaction_id)"),
        TEST_GUARDS, "only_an_id"),
    one("look: what is another attempt's is not this one's", LOOKING, never("_orders",
        "read.explained_by.get(order.order_id, attempt.pk) != attempt.pk"), TEST_GUARDS, "orders_of_a_read"),
    one("look: what was there before is nobody's", LOOKING, never("_orders",
        'read.card.explained.get(order.order_id, ("", attempt.pk))[1] is None'), TEST_GUARDS, "orders_of_a_read"),
    one("look: the transaction says more than the order", LOOKING, swap("_orders",
        "behind.transaction.status_text if behind else order.status", "order.status"), TEST_GUARDS, "orders_of_a_read"),
    one("look: money that went back is not kept", LOOKING, always("_orders", "status not in _GIVEN_BACK"),
        TEST_RESOLVE, "invoice_is_charged"),
    one("look: a transaction that the gateway does not know", LOOKING,
        never("_object_to_charged", "seen.named is None"), TEST_RESOLVE, "not_this_attempts_money and unknown_id"),
    one("look: a transaction explains one attempt", LOOKING,
        swap("_object_to_charged", 'claims.values_list("public_id", flat=True).first()', "None"),
        TEST_RESOLVE, "not_this_attempts_money and claimed"),
    one("look: a transaction was made with this card", LOOKING, never("_object_to_charged", "elsewhere.exists()"),
        TEST_RESOLVE, "not_this_attempts_money and card_that_was_read"),
    one("look: the card lists it", LOOKING, swap("_object_to_charged", "card_lists_it=listed", "card_lists_it=True"),
        TEST_RESOLVE, "not_this_attempts_money and other_card"),
    one("look: nobody denies this attempt's money", LOOKING,
        never("_object_to_no_money", 'if ours is not None: return Refused("resolution", "money_was_taken", ...)'),
        TEST_RESOLVE, "decision_cannot_deny and declined"),
    one("look: a card that is gone wants a person who says so", LOOKING, never("_object_to_no_money",
        "seen.read is None and seen.missing not in despite"), TEST_RESOLVE, "gateway_forgot"),
    one("look: an unexplained order wants a decision despite it", LOOKING, always("_object_to_no_money", "not left"),
        TEST_RESOLVE, "unexplained_order_is_named and default"),
    one("look: a decision is despite the orders that are named", LOOKING, swap("_object_to_no_money",
        "order.order_id not in despite", "not despite"), TEST_RESOLVE, "unexplained_order_is_named and default"),
    one("look: a part that cannot be read is no look", LOOKING, swap("read_before", "raise seen",
        "return Shown(None, (), None)"), TEST_RESOLVE, "cannot_be_asked_nothing and not_charged"),
]  # fmt: skip

_RULES = each("resolution", RULES, {
    "two above the amount": drop("second_person_needed", "amount_minor > above_minor"),
    "one at the amount": swap("second_person_needed", "amount_minor > above_minor", "amount_minor >= above_minor"),
    "one where it is switched off": swap("second_person_needed",
        "above_minor is not None and amount_minor > above_minor and deciders > 1",
        "amount_minor > (above_minor or 0) and deciders > 1"),
    "one where there is no other": drop("second_person_needed", "deciders > 1"),
    "only a success took money": always("_not_a_success", 'named.status in ("SUCCESS", "PARTIAL_REFUNDED")'),
    "a success of which a part went back took money":
        swap("_not_a_success", 'named.status in ("SUCCESS", "PARTIAL_REFUNDED")', 'named.status == "SUCCESS"'),
    "what went back is not kept": never("_not_a_success", 'named.status == "FULL_REFUNDED"'),
    "only what went back was given back": always("_not_given_back", 'named.status == "FULL_REFUNDED"'),
    "what was given back is not called not charged":
        never("given_back_of_the_attempt", 'order.status == "FULL_REFUNDED"'),
    "another amount that was given back may be": drop("given_back_of_the_attempt",
        "(order.amount_minor, order.currency) == (wanted.amount_minor, wanted.currency)"),
    "one transaction explains one attempt": never("_not_ours", "if named.claimed_by:"),
    "made with this card": never("_not_ours", "named.on_another_card"),
    "in this store": never("_not_ours", "named.store_id is not None and store_id and named.store_id != store_id"),
    "with this marker": never("_not_ours", "carries(named.words, wanted.marker)"),
    "without another's marker": never("_not_ours", "other is not None"),
    "not older than the attempt":
        never("_not_ours", "named.created_at is not None and named.created_at < wanted.armed_at - EARLIEST"),
    "listed by the card": never("_not_ours", "not named.card_lists_it"),
    "in this currency": never("_not_the_amount", "named.currency != wanted.currency"),
    "of this amount": never("_not_the_amount", "named.amount_minor != wanted.amount_minor"),
    "money that went back is not this attempt's": drop("money_of_the_attempt", "order.kept"),
    "a failed order is no money": drop("money_of_the_attempt", 'order.status != "FAILED"'),
    "this attempt's money is its own": drop("money_of_the_attempt", "_is_ours(wanted, order)"),
    "a failed order is not doubtful": drop("doubtful", 'order.status != "FAILED"'),
    "what went back is not doubtful": drop("doubtful", "not (_is_ours(wanted, order) and not order.kept)"),
    "an order of this transaction is ours":
        drop("_is_ours", "known", of="known or carries(order.words, wanted.marker)"),
    "an order with this marker is ours": drop("_is_ours", "carries(order.words, wanted.marker)"),
    "no transaction is not the same transaction": swap("_is_ours",
        "wanted.transaction_id is not None and order.transaction_id == wanted.transaction_id",
        'order.transaction_id == (wanted.transaction_id or "")'),
}, TEST_RULES)  # fmt: skip

_SECOND = [
    one("person: a second one above the amount", RESOLVE, never("_act_on",
        "confirmed is None and needs_second_person(attempt, person)"), TEST_RESOLVE, "proposes_and_another"),
    one("person: a second one for a release", RESOLVE, never("release_card", "needs_second_person(current, person)"),
        TEST_RESOLVE, "release_above"),
    *each("person", SECOND, {
        "nobody confirms their own": never("refuse_same_person",
            "proposal.proposed_by_user_id == decision.user_id or proposal.proposed_by == decision.actor"),
        "nobody confirms their own under another name":
            drop("refuse_same_person", "proposal.proposed_by_user_id == decision.user_id"),
        "nobody confirms under the proposer's name":
            drop("refuse_same_person", "proposal.proposed_by == decision.actor"),
        "who confirms may decide": never("refuse_same_person",
            "decision.user_id is None or not who_may_decide().filter(pk=decision.user_id).exists()"),
    }, TEST_RESOLVE, "of_their_own"),
    one("person: only staff decides", SECOND,
        swap("who_may_decide", "User.objects.with_perm(...).filter(is_staff=True)", "User.objects.with_perm(...)"),
        TEST_RESOLVE, "sole_decider_decides"),
    one("person: who has left does not decide", SECOND, swap("who_may_decide", "is_active=True", "is_active=None"),
        TEST_RESOLVE, "sole_decider_decides"),
    one("person: who proposed is asked first", RESOLVE, drop("resolve", "refuse_while_proposed(current)"),
        TEST_GUARDS, "decision_while"),
    one("person: who proposed is asked first about a release", RESOLVE,
        drop("release_card", "refuse_while_proposed(current)"), TEST_GUARDS, "release_while"),
    one("person: two do not propose at once", SECOND, drop("propose", "refuse_while_proposed(subject)"),
        TEST_GUARDS, "second_simultaneous_proposal"),
    one("person: a proposal is decided once", SECOND, never("still_open", "fresh.outcome != ProposalOutcome.OPEN"),
        TEST_RESOLVE, "keeps_others_out"),
    one("person: a proposal that was decided meanwhile is not confirmed", SECOND,
        drop("decide", "outcome=ProposalOutcome.OPEN.value"), TEST_GUARDS, "decided_meanwhile"),
    one("person: who is too late is told", SECOND, never("decide", "not decided"), TEST_GUARDS, "decided_meanwhile"),
    one("person: a confirmation decides the proposal", RESOLVE,
        drop("_act_on", "approvals.decide(confirmed, ProposalOutcome.CONFIRMED, decision, now)"),
        TEST_RESOLVE, "proposes_and_another"),
    one("person: a confirmed release decides the proposal", RESOLVE,
        drop("confirm", "approvals.decide(proposal, ProposalOutcome.CONFIRMED, decision, now)"),
        TEST_GUARDS, "confirmed_release"),
    one("person: who rejects says why", RESOLVE, never("reject", "not decision.reason"),
        TEST_RESOLVE, "keeps_others_out"),
    one("person: both are in the evidence", RESOLVE, drop("_decision_detail", '"proposed_by": confirmed.proposed_by'),
        TEST_RESOLVE, "proposes_and_another"),
]  # fmt: skip

_DECIDE = [
    one("person: of two who decide at once one acts", RESOLVE,
        never("_lock_case", "locked.state != AttemptState.NEEDS_REVIEW"), TEST_RESOLVE, "two_people_who_decide"),
    one("person: what does not fit after all is refused", RESOLVE, never("_act_on", "not counts"),
        TEST_GUARDS, "does_not_fit_after_all"),
    Mutation("person: one transaction for two attempts at once is refused", (
        Edit(RESOLVE, swap("_act_on", "IntegrityError", "AssertionError")),
        Edit(RESOLVE, never("_act_on", "not counts")),
    ), TEST_RESOLVE, "named_for_two_attempts",
        why="who comes second either sees the first one's claim or runs into the constraint, as the moment wants"),
    *each("person: after a decision", RESOLVE, {
        "its order is explained": swap("_after",
            "GatewayOrder.objects.filter(...).update(attempt_id=attempt.pk, in_baseline=False)",
            "GatewayOrder.objects.filter(...).count()"),
        "what nothing explains holds the card": never("_after", "unexplained_orders(card_id).exists()"),
        "another hold stays": drop("_after", "held_for=reasons"),
        "a hold that came with it goes": swap("_after", "{came_for} | ...", "{came_for} & ..."),
    }, TEST_GUARDS, "after_a_decision"),
    one("person: a release keeps what holds the card otherwise", RESOLVE,
        drop("_release", "held_for=[attempt.state_reason]"), TEST_SETTLE, "keeps_what_holds_it"),
    *each("person: of several", MANY, {
        "charged is decided one by one": never("resolve_many", "resolution in TOOK_MONEY"),
        "not too many": never("_check_number", "not 1 <= len(attempts) <= MOST_AT_ONCE"),
        "each is named once": never("_check_number", "len({attempt.pk for attempt in attempts}) < len(attempts)"),
    }, TEST_RESOLVE, "refused_as_a_whole"),
    one("person: of several one failure leaves the others told", MANY, swap("_outcome", "Exception", "MemoryError"),
        TEST_RESOLVE, "failed_case"),
    one("person: of several one broken account is alone with it", LOOKING,
        swap("_gateway_of", "Exception", "MemoryError"), TEST_RESOLVE, "no_case_of_another"),
    one("person: of several none is decided unseen", MANY,
        never("resolve_many", "isinstance(seen, GatewayUnavailableError)"), TEST_RESOLVE, "cannot_be_asked_about"),
    one("person: of several one refusal holds up nobody", MANY,
        swap("_outcome", "return OneOfMany(attempt, refused=error)", "raise"), TEST_RESOLVE, "bulk_decisions"),
    *each("person: a card is freed", CLEAR, {
        "with a reason": never("_stated", "not decision.reason"),
        "when it is held": never("_clear", "locked.held_at is None"),
        "not by the way where an order may be a payment":
            never("_refuse", 'if left: ...; raise ResolutionError("charge_although", ...)'),
        "and what was looked at is known": swap("_free", "GatewayOrder.objects.filter(...).update(in_baseline=True)",
            "GatewayOrder.objects.filter(...).count()"),
    }, TEST_RESOLVE, "freed_with_a_reason"),
    one("person: a card is freed: not while the gateway works on an order", CLEAR,
        never("_refuse", "if working: raise ResolutionError(...)"), TEST_GUARDS, "card_is_not_freed"),
    one("person: a card is freed: not of what may be an open case's money", CLEAR,
        swap("_free", "_not_of_an_open_case(card, seen.orders)", "seen.orders"), TEST_RESOLVE, "explains_away_nothing"),
    one("person: only what waits is collected after all", HOLDS, drop("collect_held", "hold__isnull=False"),
        TEST_GUARDS, "waits_for_nobody"),
    *each("retry: not", RETRY, {
        "what waits for a person": drop("retry_now", "hold__isnull=True"),
        "what was refunded": drop("retry_now", "amount_refunded_minor=0"),
        "while an attempt is under way": drop("retry_now", "next_attempt_at__isnull=False"),
        "what is paid": swap("retry_now", "rows.filter(state=InvoiceState.UNCOLLECTIBLE.value)", "rows"),
        "without a new look": drop("retry_now", 'lease_token=F("lease_token") + 1',
            of='forward.update(next_attempt_at=now, asked_for=True, lease_token=F("lease_token") + 1)'),
        "without a new look at what was given up":
            drop("retry_now", 'lease_token=F("lease_token") + 1',
                of="again.update(..., collect_regardless=True, asked_for=True)"),
    }, TEST_GUARDS, "retried_now"),
]  # fmt: skip

_WAYS = [
    *each("closing", CLOSING, {
        "only what is owed": never("refuse_closing", "state not in CLOSABLE or state is to"),
        "not over an open attempt": never("refuse_closing", "attempt in UNRESOLVED"),
        "not beside a proposal": never("refuse_closing", "if proposed_by:"),
        "says where the payment is found":
            never("refuse_payment", "method is not PaidBy.GATEWAY and not reference.strip()"),
        "not paid in the future": never("refuse_payment", "paid_date > today"),
        "another amount pays nothing":
            never("refuse_found", "(found.amount_minor, found.currency) != (owed.amount_minor, owed.currency)"),
        "what is claimed pays nothing": never("refuse_found", "bool(found.claimed_by)"),
        "what was given back pays nothing": never("refuse_found", 'found.status != "SUCCESS"'),
        "another invoice's name":
            never("refuse_found", "bool(other_invoices) and owed.invoice_id not in found.words.split()"),
        "an old one pays nothing":
            never("refuse_found", "found.made_at is not None and found.made_at < owed.due_at - BEFORE_ITS_DUE_DATE"),
    }, TEST_WAYS, "not charged_and_refunded and not late_money"),
    one("closing: an order that names another invoice is no candidate", CLOSING, swap("likeness",
        "Likeness.NAMES_THE_INVOICE if owed.invoice_id in named else None", "Likeness.NAMES_THE_INVOICE"),
        TEST_CLOSING),
    one("closing: a second person above the amount", WAYS, never("_close",
        "confirmed is None and approvals.is_needed(...)"), TEST_WAYS, "above_the_limit_two_people_close"),
    one("closing: nothing is charged while it waits for a second person", WAYS,
        drop("_propose", "invoice.hold, invoice.next_attempt_at = Hold.PROPOSAL.value, None"),
        TEST_WAYS, "above_the_limit_two_people_close"),
    one("closing: what was paid meanwhile is overtaken", WAYS,
        never("confirm_closing", "fresh.invoice.state not in CLOSABLE"), TEST_WAYS, "paid_meanwhile"),
    one("closing: what waits for a second person is not collected", HOLDS,
        never("collect_held", "locked.proposals.filter(outcome=ProposalOutcome.OPEN.value).exists()"),
        TEST_WAYS, "above_the_limit_two_people_close"),
    one("closing: an open case says whose its order is", FOUND, swap("candidates",
        'Invoice.objects.filter(...).exclude(pk__in=waiting.values("invoice_id"))', "Invoice.objects.filter(...)"),
        TEST_WAYS, "order_of_an_open_case"),
    one("closing: a found order is explained", FOUND, swap("mark_as_explained",
        "GatewayOrder.objects.filter(...).update(in_baseline=True)", "GatewayOrder.objects.filter(...).count()"),
        TEST_WAYS, "found_payment_pays"),
    one("proposal: is told at once", SECOND, drop("propose",
        '_log(proposal, "", decision, now)'), TEST_REMIND, "proposal_is_announced"),
    *each("proposal: is told again", "billing/charging/cases/remind.py", {
        "every day": swap("_of_account", "_proposals(...)", "0 * _proposals(...)"),
        "not on its first day": drop("_proposals", "proposed_at__lt=midnight"),
        "once a day": drop("_proposals", "~Exists(recorded_today)"),
    }, TEST_REMIND, "proposal_is_announced or many_proposals"),
    one("proposal: is not told when nobody can decide it", "billing/models/proposals.py", swap("waiting_proposals",
        "Proposal.objects.filter(about, outcome=_OPEN)", "Proposal.objects.filter(outcome=_OPEN)"),
        TEST_REMIND, "nobody_can_decide"),
    one("proposal: that waits for long is a problem", "billing/operating/health.py", drop("check", "*_proposals(now)"),
        TEST_HEALTH, "proposal_that_waits"),
    one("start page: what was stopped by itself is listed", "billing/admin/dashboard.py",
        swap("_also_waiting", "HELD_FOR_A_PERSON", "[]"), TEST_DASHBOARD, "stopped_by_itself"),
    one("closing: a hold counts what it brings forward", CLEAR, drop("preview_hold", "by_clearing=True"),
        TEST_WAYS, "clearing_brings_forward"),
    one("closing: a hold is cleared by two above the amount", CLEAR,
        never("_clear", "confirmed is None and approvals.is_needed(locked.account, seen.total_minor, person)"),
        TEST_WAYS, "above_the_limit_two_people_clear"),
    one("closing: a card that is free takes its proposal with it", "billing/models/bulk/holding.py",
        never("free_card", "if freed:"), TEST_WAYS, "clear_proposal"),
    one("settle: a reversed surplus leaves what was paid elsewhere paid", "billing/charging/attempts/consequences.py",
        drop("_take_back", "invoice.state_reason != Reason.PAID_ELSEWHERE"), TEST_WAYS, "reversed_overpayment_leaves"),
    one("person: what was given back is written down with its charge", RESOLVE,
        drop("_act_on", "record_seen({attempt.pk: seen.named}, tuning=tuning, now=now, actor=decision.actor)"),
        TEST_WAYS, "charged_and_refunded"),
    one("look: nobody denies money that was given back", LOOKING,
        never("_object_to_no_money", 'if back is not None: return Refused("resolution", "money_was_given_back", ...)'),
        TEST_WAYS, "refunded_charge_cannot"),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_WORDS, *_LOOK, *_RULES, *_SECOND, *_DECIDE, *_WAYS]
