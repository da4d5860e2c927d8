"""The guards of what people decide: beside what the gateway shows, above an amount by two, and exactly once."""

from tests.mutation.harness import Edit, Mutation, each, named, one

RESOLVE = "billing/charging/resolve.py"
LOOKING = "billing/charging/looking.py"
RULES = "billing/domain/resolution.py"
MANY = "billing/charging/resolve_many.py"
HOLDS = "billing/charging/holds.py"
RETRY = "billing/charging/retry_now.py"

TEST_RESOLVE = "tests/charging/test_resolve.py"
TEST_GUARDS = "tests/charging/test_resolve_guards.py"
TEST_RULES = "tests/domain/test_resolution.py"
TEST_SETTLE = "tests/charging/test_settle.py"

_WORDS = [
    *each("person: said", RESOLVE, {
        "why": ('    if not reason.strip():\n        raise ResolutionError("reason: say what', '    if False:\n        raise '
                'ResolutionError("reason: say what'),
        "which transaction": ("if resolution is Resolution.CHARGED and not transaction_id:", "if False:"),
        "no transaction where there is no money": ("if resolution is not Resolution.CHARGED and transaction_id:",
                                                   "if False:"),
    }, *named(TEST_RESOLVE, "said_wrongly")),
    one("person: only a case is decided", RESOLVE,
        "    if current.state != AttemptState.NEEDS_HUMAN:\n        raise _no_case", "    if False:\n        raise _no_case",
        *named(TEST_RESOLVE, "only_what_is_with_a_person and states2")),
    one("person: a release says why", RESOLVE,
        '    if not reason.strip():\n        raise ResolutionError("reason: say why the card', '    if False:\n        raise '
        'ResolutionError("reason: say why the card', *named(TEST_RESOLVE, "several_cards")),
    Mutation("person: a card is released once", (
        Edit(RESOLVE, "    if current.released_at is not None:\n", "    if False:\n"),
        Edit(RESOLVE, "pk=attempt.pk, state=AttemptState.NEEDS_HUMAN.value, released_at=None\n",
             "pk=attempt.pk, state=AttemptState.NEEDS_HUMAN.value\n"),
    ), named(TEST_SETTLE, "later_invoices_only"),
        why="it is asked before the locks, so that a person is told at once, and again when it is written"),
]  # fmt: skip

_LOOK = [
    one("person: looks at the gateway before deciding", RESOLVE,
        "    wish = _Wish(ProposalKind(resolution), reason.strip(), transaction_id, frozenset(despite_orders))\n"
        "    return _act_on(\n        current, wish, seen or look(current, transaction_id),",
        "    wish = _Wish(ProposalKind(resolution), reason.strip(), transaction_id, frozenset({\"card_not_known\"}))\n"
        "    return _act_on(\n        current, wish, seen or Look(None, (), None),",
        *named(TEST_RESOLVE, "nobody_denies and declined")),
    one("person: looks at the gateway before confirming", RESOLVE, "    seen = look(current, wish.transaction_id)\n",
        "    seen = Look(None, (), None)\n"
        "    wish = _Wish(wish.kind, wish.reason, wish.transaction_id, frozenset({\"card_not_known\"}))\n",
        *named(TEST_RESOLVE, "looked_at_again")),
    one("person: what the gateway shows forbids", RESOLVE,
        "if refused := object_to(attempt, resolution, wish.transaction_id, seen, despite=wish.despite):",
        "if refused := None:", *named(TEST_RESOLVE, "nobody_denies and declined")),
    one("person: what was looked at is known from now on", RESOLVE,
        "    _record(attempt, resolution, seen, limits, now)\n", "",
        *named(TEST_RESOLVE, "wants_a_decision_despite_it and default")),
    one("person: the money that is named raises no alarm", RESOLVE,
        "if one.attempt_id != attempt.pk or resolution is not Resolution.CHARGED]", "]",
        *named(TEST_GUARDS, "raises_no_alarm")),
    one("look: only an id is asked about", LOOKING, "    if not _TRANSACTION_ID.fullmatch(transaction_id):\n",
        "    if False:\n", *named(TEST_GUARDS, "only_an_id")),
    one("look: what is another attempt's is not this one's", LOOKING,
        "        if read.explained_by.get(order.order_id, attempt.pk) != attempt.pk:\n", "        if False:\n",
        *named(TEST_GUARDS, "orders_that_a_look_leaves")),
    one("look: what was there before is nobody's", LOOKING,
        '        if read.card.explained.get(order.order_id, ("", attempt.pk))[1] is None:\n', "        if False:\n",
        *named(TEST_GUARDS, "orders_that_a_look_leaves")),
    one("look: the transaction says more than the order", LOOKING,
        "status = behind.transaction.status_text if behind else order.status", "status = order.status",
        *named(TEST_GUARDS, "orders_that_a_look_leaves")),
    one("look: money that went back is not kept", LOOKING, "kept=status not in _GIVEN_BACK,", "kept=True,",
        *named(TEST_RESOLVE, "wrong_amount_was_given_back")),
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
        *named(TEST_RESOLVE, "nobody_denies and declined")),
    one("look: a card that is gone wants a person who says so", LOOKING,
        "if seen.read is None and CARD_IS_GONE not in despite:", "if False:", *named(TEST_RESOLVE, "gateway_forgot")),
    one("look: an unexplained order wants a decision despite it", LOOKING, "    if not left:\n", "    if True:\n",
        *named(TEST_RESOLVE, "wants_a_decision_despite_it and default")),
    one("look: a decision is despite the orders that are named", LOOKING,
        "if order.order_id not in despite]", "if not despite]",
        *named(TEST_RESOLVE, "wants_a_decision_despite_it and default")),
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
    "what went back is not kept": ('    if named.status == "FULL_REFUNDED":\n', "    if False:\n"),
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
    one("person: a second one above the amount", RESOLVE, "if confirmed is None and needs_second_person(attempt):",
        "if False:", *named(TEST_RESOLVE, "proposes_and_another")),
    one("person: a second one for a release", RESOLVE, "        if needs_second_person(current):\n", "        if False:\n",
        *named(TEST_RESOLVE, "release_above")),
    one("person: nobody confirms their own", RESOLVE,
        "if proposal.proposed_by_user_id == user_id or proposal.proposed_by == actor:", "if False:",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: nobody confirms their own under another name", RESOLVE,
        "if proposal.proposed_by_user_id == user_id or proposal", "if proposal", *named(TEST_RESOLVE, "of_their_own")),
    one("person: nobody confirms under the proposer's name", RESOLVE, " or proposal.proposed_by == actor:", ":",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: who confirms may decide", RESOLVE, "if not _who_may_decide().filter(pk=user_id).exists():", "if False:",
        *named(TEST_RESOLVE, "of_their_own")),
    one("person: only staff decides", RESOLVE, ".filter(is_staff=True)", "", *named(TEST_RESOLVE, "one_person_alone")),
    one("person: who has left does not decide", RESOLVE, "is_active=True, ", "is_active=None, ",
        *named(TEST_RESOLVE, "one_person_alone")),
    one("person: who proposed is asked first", RESOLVE,
        "    _refuse_while_proposed(current)\n    wish = _Wish(ProposalKind(resolution)",
        "    wish = _Wish(ProposalKind(resolution)", *named(TEST_GUARDS, "decision_while")),
    one("person: who proposed is asked first about a release", RESOLVE,
        "    _refuse_while_proposed(current)\n    wish = _Wish(ProposalKind.RELEASE",
        "    wish = _Wish(ProposalKind.RELEASE", *named(TEST_GUARDS, "release_while")),
    one("person: two do not propose at once", RESOLVE,
        "    _refuse_while_proposed(attempt)\n    proposal = Proposal", "    proposal = Proposal",
        *named(TEST_GUARDS, "propose_at_once")),
    one("person: a proposal is decided once", RESOLVE, "    if fresh.outcome != ProposalOutcome.OPEN:\n", "    if False:\n",
        *named(TEST_RESOLVE, "keeps_others_out")),
    one("person: a proposal that was decided meanwhile is not confirmed", RESOLVE,
        "Proposal.objects.filter(pk=proposal.pk, outcome=ProposalOutcome.OPEN.value).update(",
        "Proposal.objects.filter(pk=proposal.pk).update(", *named(TEST_GUARDS, "decided_meanwhile")),
    one("person: who is too late is told", RESOLVE, "    if not decided:\n", "    if False:\n",
        *named(TEST_GUARDS, "decided_meanwhile")),
    one("person: a confirmation decides the proposal", RESOLVE,
        "                _decide_proposal(confirmed, ProposalOutcome.CONFIRMED, confirmed_why, person, now)\n",
        "                pass\n", *named(TEST_RESOLVE, "proposes_and_another")),
    one("person: a confirmed release decides the proposal", RESOLVE,
        "            _decide_proposal(proposal, ProposalOutcome.CONFIRMED, reason, person, now)\n", "",
        *named(TEST_GUARDS, "confirmed_release")),
    one("person: who rejects says why", RESOLVE,
        '    if not reason.strip():\n        raise ResolutionError("reason: say why it is rejected"',
        '    if False:\n        raise ResolutionError("reason: say why it is rejected"',
        *named(TEST_RESOLVE, "keeps_others_out")),
    one("person: both are in the history", RESOLVE, "    return {**by, \"reason\": _both(confirmed, person.name)}\n",
        "    return {**by, \"reason\": confirmed.reason}\n", *named(TEST_RESOLVE, "proposes_and_another")),
]  # fmt: skip

_DECIDE = [
    one("person: of two who decide at once one acts", RESOLVE,
        '    if locked.state != AttemptState.NEEDS_HUMAN:\n        raise ResolutionError(f"attempt: is {locked.state}; somebody',
        '    if False:\n        raise ResolutionError(f"attempt: is {locked.state}; somebody',
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
        "another hold stays": ("held_at__isnull=False, held_reason__in=reasons)", "held_at__isnull=False)"),
        "a hold that came with it goes": ("        reason.removeprefix(\"alarm: \")\n", "        reason\n"),
    }, *named(TEST_GUARDS, "after_a_decision")),
    one("person: a release keeps what holds the card otherwise", RESOLVE,
        "PaymentMethod.objects.filter(pk=attempt.payment_method_id, held_reason=attempt.state_reason).update(",
        "PaymentMethod.objects.filter(pk=attempt.payment_method_id).update(",
        *named(TEST_SETTLE, "keeps_what_holds_it")),
    *each("person: of several", MANY, {
        "charged is decided one by one": ("    if resolution is Resolution.CHARGED:\n", "    if False:\n"),
        "not too many": ("    if not 1 <= len(attempts) <= MOST_AT_ONCE:\n", "    if False:\n"),
        "each is named once": ("    if len({attempt.pk for attempt in attempts}) < len(attempts):\n", "    if False:\n"),
    }, *named(TEST_RESOLVE, "refused_as_a_whole")),
    one("person: of several none is decided unseen", MANY,
        "        if isinstance(seen, GatewayUnavailableError):\n", "        if False:\n",
        *named(TEST_RESOLVE, "cannot_be_asked_about")),
    one("person: of several one refusal holds up nobody", MANY,
        "            results.append(OneOfMany(attempt, refused=error))\n    return results\n\n\ndef release_many",
        "            raise\n    return results\n\n\ndef release_many", *named(TEST_RESOLVE, "holds_up_nobody")),
    *each("person: a card is freed", HOLDS, {
        "with a reason": ('    if not reason.strip():\n        raise ResolutionError("reason: say what was found',
                          '    if False:\n        raise ResolutionError("reason: say what was found'),
        "when it is held": ("        if not cleared:\n", "        if False:\n"),
        "and what was looked at is known": (".update(in_baseline=True)", ".count()"),
    }, *named(TEST_RESOLVE, "freed_with_a_reason")),
    one("person: a card is freed: not while the gateway works on an order", HOLDS, "        if working:\n",
        "        if False:\n", *named(TEST_GUARDS, "still_works_on")),
    one("person: a card is freed: not of what may be an open case's money", HOLDS,
        "        looked_at = _not_of_an_open_case(card, orders)\n", "        looked_at = orders\n",
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

MUTATIONS: list[Mutation] = [*_WORDS, *_LOOK, *_RULES, *_SECOND, *_DECIDE]
