"""The guards of what people decide: beside what the gateway shows, above an amount by two, and exactly once."""

from tests.mutation.harness import Edit, Mutation, each, named, one

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
        "why": ('    if not reason.strip():\n        raise ResolutionError("reason", "required", "must state the reason for the decision', '    if False:\n        raise '
                'ResolutionError("reason", "required", "must state the reason for the decision'),
        "which transaction": ("if resolution in TOOK_MONEY and not transaction_id:", "if False:"),
        "no transaction where there is no money": ("if resolution not in TOOK_MONEY and transaction_id:",
                                                   "if False:"),
    }, *named(TEST_RESOLVE, "invalid_decision")),
    one("person: only a case is decided", RESOLVE,
        "    if current.state != AttemptState.NEEDS_REVIEW:\n        raise _no_case", "    if False:\n        raise _no_case",
        *named(TEST_RESOLVE, "only_an_attempt and states2")),
    one("person: a release says why", RESOLVE,
        '    if not reason.strip():\n        raise ResolutionError("reason", "required", "must state why the card', '    if False:\n        raise '
        'ResolutionError("reason", "required", "must state why the card', *named(TEST_RESOLVE, "several_cards")),
    Mutation("person: a card is released once", (
        Edit(RESOLVE, "    if current.released_at is not None:\n", "    if False:\n"),
        Edit(RESOLVE, "pk=attempt.pk, state=AttemptState.NEEDS_REVIEW.value, released_at=None\n",
             "pk=attempt.pk, state=AttemptState.NEEDS_REVIEW.value\n"),
    ), named(TEST_SETTLE, "later_invoices_only"),
        why="it is asked before the locks, so that a person is told at once, and again when it is written"),
]  # fmt: skip

_LOOK = [
    one("person: looks at the gateway before deciding", RESOLVE,
        "    wish = _Wish(ProposalKind(resolution), reason.strip(), transaction_id, frozenset(despite_orders))\n"
        "    return _act_on(current, wish, seen or look(current, transaction_id),",
        "    wish = _Wish(ProposalKind(resolution), reason.strip(), transaction_id, frozenset({\"card_not_known\"}))\n"
        "    return _act_on(current, wish, seen or Look(None, (), None),",
        *named(TEST_RESOLVE, "decision_cannot_deny and declined")),
    one("person: looks at the gateway before confirming", RESOLVE, "    seen = look(current, wish.transaction_id)\n",
        "    seen = Look(None, (), None)\n"
        "    wish = _Wish(wish.kind, wish.reason, wish.transaction_id, frozenset({\"card_not_known\"}))\n",
        *named(TEST_RESOLVE, "gateway_is_read")),
    one("person: what the gateway shows forbids", RESOLVE,
        "if refused := object_to(attempt, resolution, wish.transaction_id, seen, despite=wish.despite):",
        "if refused := None:", *named(TEST_RESOLVE, "decision_cannot_deny and declined")),
    one("person: what was looked at is known from now on", RESOLVE,
        "    _record(attempt, resolution, seen, limits, now)\n", "",
        *named(TEST_RESOLVE, "unexplained_order_is_named and default")),
    one("person: the money that is named raises no alarm", RESOLVE,
        "if one.marker != attempt.marker or resolution not in TOOK_MONEY]", "]",
        *named(TEST_GUARDS, "raises_no_alarm")),
    one("look: only an id is asked about", LOOKING, "    if not _TRANSACTION_ID.fullmatch(transaction_id):\n",
        "    if False:\n", *named(TEST_GUARDS, "only_an_id")),
    one("look: what is another attempt's is not this one's", LOOKING,
        "        if read.explained_by.get(order.order_id, attempt.pk) != attempt.pk:\n", "        if False:\n",
        *named(TEST_GUARDS, "orders_of_a_read")),
    one("look: what was there before is nobody's", LOOKING,
        '        if read.card.explained.get(order.order_id, ("", attempt.pk))[1] is None:\n', "        if False:\n",
        *named(TEST_GUARDS, "orders_of_a_read")),
    one("look: the transaction says more than the order", LOOKING,
        "status = behind.transaction.status_text if behind else order.status", "status = order.status",
        *named(TEST_GUARDS, "orders_of_a_read")),
    one("look: money that went back is not kept", LOOKING, "kept=status not in _GIVEN_BACK,", "kept=True,",
        *named(TEST_RESOLVE, "invoice_is_charged")),
    one("look: a transaction that the gateway does not know", LOOKING,
        "    if seen.named is None:\n        message", "    if False:\n        message",
        *named(TEST_RESOLVE, "not_this_attempts_money and unknown_id")),
    one("look: a transaction explains one attempt", LOOKING,
        'claimed_by=claims.values_list("public_id", flat=True).first(),', "claimed_by=None,",
        *named(TEST_RESOLVE, "not_this_attempts_money and claimed")),
    one("look: a transaction was made with this card", LOOKING, "on_another_card=elsewhere.exists(),",
        "on_another_card=False,", *named(TEST_RESOLVE, "not_this_attempts_money and card_that_was_read")),
    one("look: the card lists it", LOOKING, "card_lists_it=listed,", "card_lists_it=True,",
        *named(TEST_RESOLVE, "not_this_attempts_money and other_card")),
    one("look: nobody denies this attempt's money", LOOKING, "    if ours is not None:\n", "    if False:\n",
        *named(TEST_RESOLVE, "decision_cannot_deny and declined")),
    one("look: a card that is gone wants a person who says so", LOOKING,
        "if seen.read is None and seen.missing not in despite:", "if False:", *named(TEST_RESOLVE, "gateway_forgot")),
    one("look: an unexplained order wants a decision despite it", LOOKING, "    if not left:\n", "    if True:\n",
        *named(TEST_RESOLVE, "unexplained_order_is_named and default")),
    one("look: a decision is despite the orders that are named", LOOKING,
        "if order.order_id not in despite]", "if not despite]",
        *named(TEST_RESOLVE, "unexplained_order_is_named and default")),
    one("look: a part that cannot be read is no look", LOOKING,
        "    if isinstance(seen, GatewayUnavailableError):\n        raise seen\n",
        "    if isinstance(seen, GatewayUnavailableError):\n        return Look(None, (), None)\n",
        *named(TEST_RESOLVE, "cannot_be_asked_nothing and not_charged")),
]  # fmt: skip

_RULES = each("resolution", RULES, {
    "two above the amount": ("above_minor is not None and amount_minor > above_minor", "above_minor is not None"),
    "one at the amount": ("amount_minor > above_minor and", "amount_minor >= above_minor and"),
    "one where it is switched off": ("return above_minor is not None and amount_minor > above_minor",
                                     "return amount_minor > (above_minor or 0)"),
    "one where there is no other": (" and deciders > 1", ""),
    "only a success took money": ('if named.status in ("SUCCESS", "PARTIAL_REFUNDED"):', "if True:"),
    "a success of which a part went back took money": ('if named.status in ("SUCCESS", "PARTIAL_REFUNDED"):',
                                                       'if named.status == "SUCCESS":'),
    "what went back is not kept": ('    if named.status == "FULL_REFUNDED":\n        return "status', '    if False:\n        '
                                   'return "status'),
    "only what went back was given back": ('    if named.status == "FULL_REFUNDED":\n        return NO', '    if True:\n    '
                                           '    return NO'),
    "what was given back is not called not charged": ('            and order.status == "FULL_REFUNDED"\n',
                                                      "            and False\n"),
    "another amount that was given back may be": (
        "            and (order.amount_minor, order.currency) == (wanted.amount_minor, wanted.currency)\n        ),\n        "
        "None,\n    )\n\n\ndef doubtful", "        ),\n        None,\n    )\n\n\ndef doubtful"),
    "one transaction explains one attempt": ("    if named.claimed_by:\n", "    if False:\n"),
    "made with this card": ("    if named.on_another_card:\n", "    if False:\n"),
    "in this store": ("    if named.store_id is not None and store_id and named.store_id != store_id:\n",
                      "    if False:\n"),
    "with this marker": ("    if carries(named.words, wanted.marker):\n", "    if False:\n"),
    "without another's marker": ("    if other is not None:\n", "    if False:\n"),
    "not older than the attempt": (
        "if named.created_at is not None and named.created_at < wanted.armed_at - EARLIEST:", "if False:"),
    "listed by the card": ("    if not named.card_lists_it:\n", "    if False:\n"),
    "in this currency": ("    if named.currency != wanted.currency:\n", "    if False:\n"),
    "of this amount": ("    if named.amount_minor != wanted.amount_minor:\n", "    if False:\n"),
    "money that went back is not this attempt's": ("if _is_ours(wanted, order) and order.kept and order.status",
                                                   "if _is_ours(wanted, order) and order.status"),
    "a failed order is no money": ('order.kept and order.status != "FAILED"), None', "order.kept), None"),
    "this attempt's money is its own": ("(order for order in orders if _is_ours(wanted, order) and", "(order for order "
                                        "in orders if"),
    "a failed order is not doubtful": ('if order.status != "FAILED" and not (_is_ours', "if not (_is_ours"),
    "what went back is not doubtful": (" and not (_is_ours(wanted, order) and not order.kept)]", "]"),
    "an order of this transaction is ours": ("    return known or carries(order.words, wanted.marker)\n",
                                             "    return carries(order.words, wanted.marker)\n"),
    "an order with this marker is ours": ("    return known or carries(order.words, wanted.marker)\n",
                                          "    return known\n"),
    "no transaction is not the same transaction": (
        "wanted.transaction_id is not None and order.transaction_id == wanted.transaction_id",
        'order.transaction_id == (wanted.transaction_id or "")'),
}, TEST_RULES)  # fmt: skip

_SECOND = [
    one("person: a second one above the amount", RESOLVE, "if confirmed is None and needs_second_person(attempt, person):",
        "if False:", *named(TEST_RESOLVE, "proposes_and_another")),
    one("person: a second one for a release", RESOLVE, "        if needs_second_person(current, person):\n", "        if False:\n",
        *named(TEST_RESOLVE, "release_above")),
    one("person: nobody confirms their own", SECOND,
        "if proposal.proposed_by_user_id == person.user_id or proposal.proposed_by == person.name:", "if False:",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: nobody confirms their own under another name", SECOND,
        "if proposal.proposed_by_user_id == person.user_id or proposal", "if proposal", *named(TEST_RESOLVE, "of_their_own")),
    one("person: nobody confirms under the proposer's name", SECOND, " or proposal.proposed_by == person.name:", ":",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: who confirms may decide", SECOND,
        "if person.user_id is None or not who_may_decide().filter(pk=person.user_id).exists():", "if False:",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: only staff decides", SECOND, ".filter(is_staff=True)", "", *named(TEST_RESOLVE, "sole_decider_decides")),
    one("person: who has left does not decide", SECOND, "is_active=True, ", "is_active=None, ",
        *named(TEST_RESOLVE, "sole_decider_decides")),
    one("person: who proposed is asked first", RESOLVE,
        "    refuse_while_proposed(current)\n    wish = _Wish(ProposalKind(resolution)",
        "    wish = _Wish(ProposalKind(resolution)", *named(TEST_GUARDS, "decision_while")),
    one("person: who proposed is asked first about a release", RESOLVE,
        "    refuse_while_proposed(current)\n    wish = _Wish(ProposalKind.RELEASE",
        "    wish = _Wish(ProposalKind.RELEASE", *named(TEST_GUARDS, "release_while")),
    one("person: two do not propose at once", SECOND,
        "    refuse_while_proposed(subject)\n    proposal = Proposal", "    proposal = Proposal",
        *named(TEST_GUARDS, "second_simultaneous_proposal")),
    one("person: a proposal is decided once", SECOND, "    if fresh.outcome != ProposalOutcome.OPEN:\n", "    if False:\n",
        *named(TEST_RESOLVE, "keeps_others_out")),
    one("person: a proposal that was decided meanwhile is not confirmed", SECOND,
        "Proposal.objects.filter(pk=proposal.pk, outcome=ProposalOutcome.OPEN.value).update(",
        "Proposal.objects.filter(pk=proposal.pk).update(", *named(TEST_GUARDS, "decided_meanwhile")),
    one("person: who is too late is told", SECOND, "    if not decided:\n", "    if False:\n",
        *named(TEST_GUARDS, "decided_meanwhile")),
    one("person: a confirmation decides the proposal", RESOLVE,
        "                approvals.decide(confirmed, ProposalOutcome.CONFIRMED, confirmed_why, person, now)\n",
        "                pass\n", *named(TEST_RESOLVE, "proposes_and_another")),
    one("person: a confirmed release decides the proposal", RESOLVE,
        "            approvals.decide(proposal, ProposalOutcome.CONFIRMED, reason, person, now)\n", "",
        *named(TEST_GUARDS, "confirmed_release")),
    one("person: who rejects says why", RESOLVE,
        '    if not reason.strip():\n        raise ResolutionError("reason", "required", "must state the reason for rejecting it"',
        '    if False:\n        raise ResolutionError("reason", "required", "must state the reason for rejecting it"',
        *named(TEST_RESOLVE, "keeps_others_out")),
    one("person: both are in the evidence", RESOLVE, '        "proposed_by": confirmed.proposed_by,\n', "", *named(TEST_RESOLVE, "proposes_and_another")),
]  # fmt: skip

_DECIDE = [
    one("person: of two who decide at once one acts", RESOLVE,
        '    if locked.state != AttemptState.NEEDS_REVIEW:\n        raise ResolutionError("attempt", "state", f"must need review; it is now',
        '    if False:\n        raise ResolutionError("attempt", "state", f"must need review; it is now',
        *named(TEST_RESOLVE, "two_people_who_decide")),
    one("person: what does not fit after all is refused", RESOLVE, "            if not counts:\n", "            if False:\n",
        *named(TEST_GUARDS, "does_not_fit_after_all")),
    Mutation("person: one transaction for two attempts at once is refused", (
        Edit(RESOLVE, "    except IntegrityError as error:  # two", "    except AssertionError as error:  # two"),
        Edit(RESOLVE, "            if not counts:\n", "            if False:\n"),
    ), named(TEST_RESOLVE, "named_for_two_attempts"),
        why="who comes second either sees the first one's claim or runs into the constraint, as the moment wants"),
    *each("person: after a decision", RESOLVE, {
        "its order is explained": ("        ).update(attempt_id=attempt.pk, in_baseline=False)\n", "        ).count()\n"),
        "what nothing explains holds the card": (
            "    if unexplained_orders(card_id).exists():\n", "    if False:\n"),
        "another hold stays": ("free_card(card_id, held_for=reasons, ", "free_card(card_id, "),
        "a hold that came with it goes": ("{came_for} | {reason.removeprefix", "{came_for} & {reason.removeprefix"),
    }, *named(TEST_GUARDS, "after_a_decision")),
    one("person: a release keeps what holds the card otherwise", RESOLVE,
        "free_card(attempt.payment_method_id, held_for=[attempt.state_reason], ",
        "free_card(attempt.payment_method_id, ",
        *named(TEST_SETTLE, "keeps_what_holds_it")),
    *each("person: of several", MANY, {
        "charged is decided one by one": ("    if resolution in TOOK_MONEY:\n", "    if False:\n"),
        "not too many": ("    if not 1 <= len(attempts) <= MOST_AT_ONCE:\n", "    if False:\n"),
        "each is named once": ("    if len({attempt.pk for attempt in attempts}) < len(attempts):\n", "    if False:\n"),
    }, *named(TEST_RESOLVE, "refused_as_a_whole")),
    one("person: of several one failure leaves the others told", MANY, "    except Exception:\n", "    except MemoryError:\n",
        *named(TEST_RESOLVE, "failed_case")),
    one("person: of several one broken account is alone with it", LOOKING,
        "    except Exception as error:\n        logger.exception(\"check: no gateway client for account", "    except MemoryError as error:\n"
        "        logger.exception(\"check: no gateway client for account", *named(TEST_RESOLVE, "no_case_of_another")),
    one("person: of several none is decided unseen", MANY,
        "        if isinstance(seen, GatewayUnavailableError):\n", "        if False:\n",
        *named(TEST_RESOLVE, "cannot_be_asked_about")),
    one("person: of several one refusal holds up nobody", MANY,
        "        return OneOfMany(attempt, refused=error)\n    except Exception:", "        raise\n    except Exception:",
        *named(TEST_RESOLVE, "bulk_decisions")),
    *each("person: a card is freed", CLEAR, {
        "with a reason": ('    if not reason.strip():\n        raise ResolutionError("reason", "required", "must state the reason for releasing',
                          '    if False:\n        raise ResolutionError("reason", "required", "must state the reason for releasing'),
        "when it is held": ("        if locked.held_at is None:\n", "        if False:\n"),
        "not by the way where an order may be a payment": ("    if left:\n", "    if False:\n"),
        "and what was looked at is known": (".update(in_baseline=True)", ".count()"),
    }, *named(TEST_RESOLVE, "freed_with_a_reason")),
    one("person: a card is freed: not while the gateway works on an order", CLEAR, "    if working:\n",
        "    if False:\n", *named(TEST_GUARDS, "card_is_not_freed")),
    one("person: a card is freed: not of what may be an open case's money", CLEAR,
        "    looked_at = _not_of_an_open_case(card, seen.orders)\n", "    looked_at = seen.orders\n",
        *named(TEST_RESOLVE, "explains_away_nothing")),
    one("person: only what waits is collected after all", HOLDS,
        "filter(pk=invoice.pk, state=InvoiceState.OPEN.value, hold__isnull=False)",
        "filter(pk=invoice.pk, state=InvoiceState.OPEN.value)", *named(TEST_GUARDS, "waits_for_nobody")),
    *each("retry: not", RETRY, {
        "what waits for a person": ("Invoice.objects.filter(pk=invoice.pk, hold__isnull=True, amount",
                                    "Invoice.objects.filter(pk=invoice.pk, amount"),
        "what was refunded": ("hold__isnull=True, amount_refunded_minor=0)", "hold__isnull=True)"),
        "while an attempt is under way": ("state=InvoiceState.OPEN.value, next_attempt_at__isnull=False)",
                                          "state=InvoiceState.OPEN.value)"),
        "what is paid": ("again = rows.filter(state=InvoiceState.UNCOLLECTIBLE.value)", "again = rows"),
        "without a new look": ("forward.update(next_attempt_at=now, lease_token=F(\"lease_token\") + 1)",
                               "forward.update(next_attempt_at=now)"),
        "without a new look at what was given up": (
            "                collect_regardless=True,\n                lease_token=F(\"lease_token\") + 1,\n",
            "                collect_regardless=True,\n"),
    }, *named(TEST_GUARDS, "retried_now")),
]  # fmt: skip

_WAYS = [
    *each("closing", CLOSING, {
        "only what is owed": ("    if state not in CLOSABLE or state is to:\n", "    if False:\n"),
        "not over an open attempt": ("        if attempt in UNRESOLVED:\n", "        if False:\n"),
        "not beside a proposal": ("    if proposed_by:\n", "    if False:\n"),
        "says where the payment is found": (
            "if method is not PaidBy.GATEWAY and not reference.strip():", "if False:"),
        "not paid in the future": ("    if paid_date > today:\n", "    if False:\n"),
        "another amount pays nothing": (
            "(found.amount_minor, found.currency) != (owed.amount_minor, owed.currency),", "False,"),
        "what is claimed pays nothing": ('(bool(found.claimed_by), "claimed"', '(False, "claimed"'),
        "what was given back pays nothing": ('found.status != "SUCCESS",', "False,"),
        "another invoice's name": ("bool(other_invoices) and owed.invoice_id not in found.words.split(),", "False,"),
        "an old one pays nothing": (
            "found.made_at is not None and found.made_at < owed.due_at - BEFORE_ITS_DUE_DATE,", "False,"),
    }, *named(TEST_WAYS, "not charged_and_refunded and not late_money")),
    one("closing: an order that names another invoice is no candidate", CLOSING,
        "return Likeness.NAMES_THE_INVOICE if owed.invoice_id in named else None",
        "return Likeness.NAMES_THE_INVOICE", TEST_CLOSING),
    one("closing: a second person above the amount", WAYS,
        "if confirmed is None and approvals.is_needed(locked.account, locked.amount_minor, person):", "if False:",
        *named(TEST_WAYS, "above_the_limit_two_people_close")),
    one("closing: nothing is charged while it waits for a second person", WAYS,
        "        invoice.hold, invoice.next_attempt_at = Hold.PROPOSAL.value, None\n", "        pass\n",
        *named(TEST_WAYS, "above_the_limit_two_people_close")),
    one("closing: what was paid meanwhile is overtaken", WAYS, "    if fresh.invoice.state not in CLOSABLE:\n",
        "    if False:\n", *named(TEST_WAYS, "paid_meanwhile")),
    one("closing: what waits for a second person is not collected", HOLDS,
        "        if locked.proposals.filter(outcome=ProposalOutcome.OPEN.value).exists():\n", "        if False:\n",
        *named(TEST_WAYS, "above_the_limit_two_people_close")),
    one("closing: an open case says whose its order is", FOUND,
        '        .exclude(pk__in=waiting.values("invoice_id"))\n', "", *named(TEST_WAYS, "order_of_an_open_case")),
    one("closing: a found order is explained", FOUND, ".update(\n        in_baseline=True\n    )", ".count()",
        *named(TEST_WAYS, "found_payment_pays")),
    one("proposal: is told at once", SECOND,
        '    _log(proposal, "", reason, person.name, now)\n', "",
        *named(TEST_REMIND, "proposal_is_announced")),
    *each("proposal: is told again", "billing/charging/cases/remind.py", {
        "every day": ("_cases(account, today, midnight, now) + _proposals(", "_cases(account, today, midnight, now) + 0 * _proposals("),
        "not on its first day": (", proposed_at__lt=midnight)", ")"),
        "once a day": ("filter(~Exists(recorded_today), account", "filter(account"),
    }, *named(TEST_REMIND, "proposal_is_announced or many_proposals")),
    one("proposal: is not told when nobody can decide it", "billing/models/proposals.py",
        "filter(about, outcome=_OPEN)", "filter(outcome=_OPEN)", *named(TEST_REMIND, "nobody_can_decide")),
    one("proposal: that waits for long is a problem", "billing/operating/health.py", "        *_proposals(now),\n", "",
        *named(TEST_HEALTH, "proposal_that_waits")),
    one("start page: what was stopped by itself is listed", "billing/admin/dashboard.py",
        "filter(hold__in=HELD_FOR_A_PERSON,", "filter(hold__in=[],", *named(TEST_DASHBOARD, "stopped_by_itself")),
    one("closing: a hold counts what it brings forward", CLEAR, "now=now, by_clearing=True)", "now=now)",
        *named(TEST_WAYS, "clearing_brings_forward")),
    one("closing: a hold is cleared by two above the amount", CLEAR,
        "if confirmed is None and approvals.is_needed(locked.account, seen.total_minor, person):", "if False:",
        *named(TEST_WAYS, "above_the_limit_two_people_clear")),
    one("closing: a card that is free takes its proposal with it", "billing/models/bulk/holding.py",
        "    if freed:\n", "    if False:\n", *named(TEST_WAYS, "clear_proposal")),
    one("settle: a reversed surplus leaves what was paid elsewhere paid", "billing/charging/attempts/consequences.py",
        "paid_by_it = invoice.state == InvoiceState.PAID and invoice.state_reason != Reason.PAID_ELSEWHERE",
        "paid_by_it = invoice.state == InvoiceState.PAID", *named(TEST_WAYS, "reversed_overpayment_leaves")),
    one("person: what was given back is written down with its charge", RESOLVE,
        "                record_seen({attempt.pk: seen.named}, limits=limits, now=now, actor=person.name)\n",
        "                pass\n", *named(TEST_WAYS, "charged_and_refunded")),
    one("look: nobody denies money that was given back", LOOKING, "    if back is not None:\n", "    if False:\n",
        *named(TEST_WAYS, "refunded_charge_cannot")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_WORDS, *_LOOK, *_RULES, *_SECOND, *_DECIDE, *_WAYS]
