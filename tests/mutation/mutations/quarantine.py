"""The guards of recognising a database, of its witness, and of the way out of a quarantine."""

from tests.mutation.harness import Edit, Mutation, each, named, one

DOUBTS = "billing/domain/doubts.py"
RECOVERY = "billing/domain/recovery.py"
PERMISSION = "billing/charging/protocol/permission.py"
ARM_SQL = "billing/models/bulk/arming.py"
REFUND = "billing/charging/refunds/arm.py"
RECOGNISE = "billing/operating/recognise.py"
RECOVER = "billing/charging/recovery/recover.py"
CARDS = "billing/charging/recovery/from_cards.py"
LOST_ORDERS = "billing/charging/reading/lost_orders.py"
QUARANTINE = "billing/operating/quarantine.py"
FROM_REPORTS = "billing/charging/recovery/from_reports.py"
REPORT_DAYS = "billing/charging/reading/report_days.py"
HOLDS = "billing/charging/cases/holds.py"
CLEAR = "billing/charging/cases/clear_hold.py"
UNEXPLAINED = "billing/charging/cases/unexplained_payments.py"
WAYS_OUT = "billing/charging/cases/ways_out.py"
BINDING = "billing/subscriptions/cards.py"
BEGINNING = "billing/subscriptions/activate.py"
CLOCKS = "billing/operating/clocks.py"
CLOCK_SQL = "billing/models/bulk/recognising.py"

TEST_DOUBTS = "tests/domain/test_doubts.py"
TEST_RECOVERY = "tests/domain/test_recovery.py"
TEST_WAY_OUT = "tests/hostile/test_quarantine_way_out.py"
TEST_OPEN_ENDS = "tests/hostile/test_quarantine_open_ends.py"

MUTATIONS: list[Mutation] = [
    one("doubt: a forgotten attempt is one", DOUBTS, "    if seen.forgotten:\n", "    if False:\n",
        *named(TEST_DOUBTS, "strongest_doubt")),
    one("doubt: a witness of another life is one", DOUBTS,
        "    if strange := seen.witness_epochs - seen.past_epochs - {seen.epoch}:\n",
        "    if strange := seen.witness_epochs & frozenset():\n", *named(TEST_DOUBTS, "never_had")),
    one("doubt: another database is one", DOUBTS, "    if difference := seen.actual.difference(seen.stored):\n",
        "    if difference := \"\":\n", *named(TEST_DOUBTS, "another_cluster")),
    one("doubt: the timeline is compared", DOUBTS,
        "            (\"timeline\", stored.timeline, self.timeline),\n", "", *named(TEST_DOUBTS, "another_cluster")),
    one("doubt: a host that is not admitted waits", DOUBTS,
        "Step.GO_ON if seen.host_admitted else Step.WAIT", "Step.GO_ON",
        *named(TEST_DOUBTS, "only_once_it_is_admitted")),
    one("doubt: an old sign of life admits nobody", DOUBTS, "others_last_seen_at > first_seen_at", "True",
        *named(TEST_DOUBTS, "sign_of_life")),
    one("doubt: a sign of life from the future admits nobody", RECOGNISE,
        "        recognising.forget_future_signs(now=now)\n", "",
        *named(TEST_WAY_OUT, "clock_that_was_ahead_admits_no_copy")),
    one("reading: an order with a marker is spoken for by no other attempt", "billing/domain/matching.py",
        "    if marker_in(order.words) is not None:\n", "    if False:\n",
        *named(TEST_WAY_OUT, "no_other_attempts")),
    one("quarantine: nobody lifts it by a wrong clock", QUARANTINE,
        "        if is_known_to_be_wrong(account.api_url, now):  # before", "        if False:  # before",
        *named(TEST_WAY_OUT, "by_a_wrong_clock_nothing_is_read")),
    one("doubt: a quarantine outlasts the lag", DOUBTS, "    if now < from_when:\n", "    if False:\n",
        *named(TEST_DOUBTS, "outlasts_the_lag")),
    one("doubt: a quarantine outlasts every card", DOUBTS, "return NotYet(from_when, unread) if unread else None", "return None",
        *named(TEST_DOUBTS, "outlasts_the_lag")),
    one("recovery: another amount is not assigned", RECOVERY,
        "(order.amount_minor, order.currency) == (invoice.amount_minor, invoice.currency)", "True",
        *named(TEST_RECOVERY, "another_amount or differs_in_anything")),
    one("recovery: of two that fit neither is taken", RECOVERY,
        "(nearest[0], False) if len(nearest) == 1 else (None, False)", "(nearest[0], False) if nearest else (None, False)",
        *named(TEST_RECOVERY, "fit_alike")),
    one("recovery: two lost invoices do not share one", RECOVERY, "guessed.count(invoice.id) == 1", "True",
        *named(TEST_RECOVERY, "do_not_share")),
    Mutation(
        "arm: the database is recognised first",
        (
            Edit(PERMISSION, "            confirmed = recognise.confirm()\n",
                 "            confirmed = recognise.Confirmed(\"\", \"e\", frozenset(), {})\n"),
            Edit(PERMISSION, "    if frozen.is_empty:\n", "    if True:\n"),
        ),
        named(TEST_WAY_OUT, "missing_witnessed_marker"),
        "before a request leaves, the files of the witness are asked about once more",
    ),
    one("arm: what is not witnessed is not sent", PERMISSION, "    if frozen.is_empty:\n", "    if True:\n",
        *named(TEST_WAY_OUT, "could_not_be_witnessed")),
    one("arm: an account in quarantine is stopped", ARM_SQL,
        "stopped_at IS NOT NULL OR quarantined_at IS NOT NULL AS", "stopped_at IS NOT NULL AS",
        *named(TEST_WAY_OUT, "in_quarantine_nothing_is_charged")),
    one("attest: the others' files are read again", RECOGNISE,
        "    if strange or (changed and recognising.forgotten(markers, nonces)):\n", "    if False:\n",
        *named(TEST_WAY_OUT, "see_each_other")),
    one("attest: the own marker is looked for beside the others'", RECOGNISE,
        "asked = [*changed, Witnessed(confirmed.epoch, marker, nonce)]", "asked = changed",
        *named(TEST_WAY_OUT, "loses_its_own_attempt")),
    one("enter: the witness's epochs are past", RECOGNISE,
        "begin_epoch(secrets.token_hex(8), row.actual, past=past)", "begin_epoch(secrets.token_hex(8), row.actual)",
        *named(TEST_WAY_OUT, "begins_once")),
    one("lost orders: an order of ours begins a quarantine", LOST_ORDERS, "    if found:\n", "    if False:\n",
        *named(TEST_WAY_OUT, "never_made_begins")),
    one("recover: what fits nothing holds every card", RECOVER, "            _hold_all(card, now)\n",
        "            pass\n", *named(TEST_WAY_OUT, "holds_every_card")),
    one("recover: a card that could not be read stays unread", CARDS,
        "            unread.append(Unread(known[card], read))\n            continue\n",
        "            PaymentMethod.objects.filter(pk=card).update(quarantine_read_at=started_at)\n            continue\n",
        *named(TEST_WAY_OUT, "cannot_be_read_keeps")),
    one("lift: first attempts are preceded by a look", QUARANTINE,
        "preflight_until=now + max(LOOK_FIRST_FOR, shown_after(locked))", "preflight_until=None",
        *named(TEST_WAY_OUT, "lifting_is_refused")),
    *each("reports in quarantine", FROM_REPORTS, {
        "what nothing explains outlasts the quarantine": ("                ours.append(read)\n", ""),
        "what was not recorded is read again": ("    if problem:\n", "    if False:\n"),
        "what the watch found first is asked about": (" - undecided\n", "\n"),
    }, *named(TEST_OPEN_ENDS, "outlasts or read_again or watch_found_first")),
    *each("a payment of a report", REPORT_DAYS, {
        "names its invoice": ("            invoice_id=invoices.get(seen.transaction_id),\n", ""),
        "holds the cards of whom it may have paid for": ("    if invoice.state in CLOSABLE:\n", "    if False:\n"),
        "tells the merchant which invoice": ('        "invoice": invoice,\n', '        "invoice": None,\n'),
    }, *named(TEST_OPEN_ENDS, "outlasts or watch_found_first")),
    one("a payment of a report: names an invoice of its account", REPORT_DAYS,
        "Invoice.objects.filter(account_id=account_id, public_id", "Invoice.objects.filter(public_id",
        *named(TEST_WAY_OUT, "holds_no_card_of_another")),
    one("a payment of a report: a card in place of the lost one is held", BINDING,
        "    if others.filter(held_at__isnull=False).exists():\n", "    if False:\n",
        *named(TEST_OPEN_ENDS, "in_place_of_the_lost")),
    one("a payment of a report: a hold that was cleared holds no new card", BINDING,
        "    if others.filter(held_at__isnull=False).exists():\n",
        "    if PaymentMethod.objects.filter(customer_id=card.customer_id).exists():\n",
        *named(TEST_OPEN_ENDS, "in_place_of_the_lost")),
    one("clear a hold: found payments are named first", UNEXPLAINED,
        "    found = _found_payments(card, {order.gateway_transaction_id for order in orders})\n",
        "    found: list[Candidate] = []\n", *named(TEST_OPEN_ENDS, "by_the_way")),
    one("clear a hold: a payment is named by its transaction too", CLEAR,
        "if not {one.order.gateway_order_id, one.order.gateway_transaction_id} & (although - {\"\"})",
        "if one.order.gateway_order_id not in although", *named(TEST_OPEN_ENDS, "charges_although")),
    *each("found payments of a customer", HOLDS, {
        "a decision ends it": ("        attempt=None,\n        decided_at=None,\n", "        attempt=None,\n"),
        "only what is still owed": ("        invoice__state__in=sorted(CLOSABLE),\n", ""),
        "only what no attempt has": ("        ~Exists(attempts),\n", ""),
    }, *named(TEST_OPEN_ENDS, "waits_only_while")),
    one("found payments: recorded as an invoice's payment, one is decided", WAYS_OUT,
        "                close_found(locked, found.transaction_id, actor=decision.actor, now=now)\n",
        "                pass\n",
        *named(TEST_OPEN_ENDS, "by_the_way")),
    one("free a card: not while a payment was found that may be its invoice's", UNEXPLAINED,
        "    if unexplained_orders(card_id).exists() or found_payments_of(card.customer_id).exists():\n",
        "    if unexplained_orders(card_id).exists():\n", *named(TEST_OPEN_ENDS, "keeps_its_hold")),
    one("free a card in quarantine: not while a payment was found", CARDS,
        "        if found_payments_of(card.customer_id).exists():\n", "        if False:\n",
        *named(TEST_OPEN_ENDS, "keeps_its_hold")),
    one("clock: by one that is not compared a quarantine is doubted", QUARANTINE,
        "        doubted=addresses_not_to_open(now),", "        doubted=(),", *named(TEST_OPEN_ENDS, "before_the_clock")),
    *each("clock: a quarantine", QUARANTINE, {
        "is not read by a wrong one": ("    if is_known_to_be_wrong(account.api_url, now):\n        GatewayAccount",
                                       "    if False:\n        GatewayAccount"),
        "is doubted when it is wrong": (
            "isnull=False).update(quarantine_clock_doubted=True)\n        return False",
            "isnull=False).update()\n        return False"),
        "that is doubted begins anew": ("    if not account.quarantine_clock_doubted:\n", "    if True:\n"),
        "that is doubted is not lifted": ("    if account.quarantine_clock_doubted:\n        why_not", "    if False:\n        why_not"),
    }, *named(TEST_OPEN_ENDS, "anew")),
    one("clock: a read from the future is none", CLOCK_SQL, "    if restarted:\n", "    if False:\n",
        *named(TEST_WAY_OUT, "clock_that_is_ahead")),
    one("clock: whoever notices that it moves doubts the quarantine", CLOCKS,
        "            quarantine_clock_doubted=True\n", "            quarantine_clock_doubted=False\n",
        *named(TEST_OPEN_ENDS, "breaker_that_moves")),
    *each("a card that is never shown", CARDS, {
        "comes to a person": ("    note_unread(unread, limits=limits, now=clock())\n", ""),
        "or that cannot be recorded": (
            "            unread.append(Unread(known[card], GatewayUnavailableError(f\"not recorded: {type(error).__name__}\")))\n",
            ""),
    }, *named(TEST_OPEN_ENDS, "never_be_read or reports_with_unrecordable or card_content")),
    *each("a card that was given up", QUARANTINE, {
        "counts as read": ("    unread = not_read.exclude(pk__in=given_up.values(\"pk\")).count()\n",
                           "    unread = not_read.count()\n"),
        "since the quarantine began": ("not_read.filter(given_up_at__gte=account.quarantined_at)",
                                       "not_read.filter(given_up_at__isnull=False)"),
    }, *named(TEST_OPEN_ENDS, "never_be_read or given_up_before")),
    one("a card that was given up before the quarantine is given up again", HOLDS,
        "Q(given_up_at=None) | Q(given_up_at__lt=F(\"account__quarantined_at\"))", "Q(given_up_at=None)",
        *named(TEST_OPEN_ENDS, "given_up_before")),
    one("begin: one that cannot keeps nobody waiting", BEGINNING, "    except (OperationalError, InterfaceError):\n",
        "    except Exception:\n", *named("tests/subscriptions/test_lifecycle.py", "unstartable_subscription_blocks")),
]  # fmt: skip
