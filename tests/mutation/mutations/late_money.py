"""The guards of finding money that comes after the end."""

from tests.mutation.harness import Mutation, each, named, one

RULES = "billing/domain/late_money.py"
WATCH = "billing/charging/reading/late_money.py"
REPORTS = "billing/charging/reading/report_days.py"
CONSEQUENCES = "billing/charging/attempts/consequences.py"
SQL = "billing/models/bulk/watching.py"
FOUND = "billing/charging/cases/found_payments.py"
HEALTH = "billing/operating/health.py"
MONEY = "billing/audit/money.py"
BACK = "billing/charging/reading/went_back.py"
KNOWN = "billing/charging/reading/known.py"

TEST_RULES = "tests/domain/test_late_money.py"
TEST_CARDS = "tests/charging/test_watch_cards.py"
TEST_DAYS = "tests/charging/test_report_days.py"
TEST_HOSTILE = "tests/hostile/test_late_money.py"
TEST_AUDIT = "tests/audit/test_violations.py"
TEST_RECORDED = "tests/hostile/test_recorded_payments.py"

MUTATIONS: list[Mutation] = [
    one("late money: a held row is no failed read of a card", WATCH, "except NOT_DONE_YET:", "except CONNECTION_LOST:",
        *named(TEST_CARDS, "held_row")),
    one("late money: a held row makes no day fail", REPORTS, "except NOT_DONE_YET:", "except ZeroDivisionError:",
        *named(TEST_DAYS, "row_is_held")),
    one("late money: nothing is watched by a wrong clock", WATCH,
        "GatewayAccount.objects.exclude(api_url__in=addresses_off(clock())).order_by", "GatewayAccount.objects.order_by",
        *named(TEST_HOSTILE, "by_a_wrong_clock")),
    *each("late money: a card is read again", RULES, {
        "further and further apart": ("for days in (1, 2, 4, 8, 16, 32, 60)", "for days in (1, 2, 4, 2, 16, 32, 60)"),
        "for as long as an order can be paid": ("for days in (1, 2, 4, 8, 16, 32, 60)", "for days in (1, 2, 4, 8)"),
        "at a step that is to come": ("if ended_at + step > now), None)", "if ended_at + step >= now), None)"),
        "when a refusal may have been wrong": ('return finding.detail.get("http_status") is not None',
                                               "return False"),
        "not when nothing left": ('return finding.detail.get("http_status") is not None', "return True"),
        "after every other end without money": ("S.DECLINED, S.NOT_CHARGED, S.SURPLUS", "S.DECLINED, S.SURPLUS"),
        "less and less often when it fails": ("return min(FIRST_PAUSE * doubled, LONGEST_PAUSE)",
                                              "return FIRST_PAUSE"),
    }, TEST_RULES),
    *each("late money: a report is read", RULES, {
        "before its day is a day old": ("    timedelta(hours=20),\n", ""),
        "when its day is over": ("    timedelta(hours=24, minutes=30),\n", ""),
        "by Malaysian days": ("datetime.combine(day, time.min, REPORT_ZONE)",
                              "datetime.combine(day, time.min, REPORT_ZONE) + timedelta(hours=8)"),
        "from the account's first day": ("return max(report_day(opened_at), report_day(now - OLDEST_REPORT))",
                                         "return report_day(now - OLDEST_REPORT)"),
        "for two months back": ("return max(report_day(opened_at), report_day(now - OLDEST_REPORT))",
                                "return report_day(opened_at)"),
        "no more when it was not readable for a week": (
            "return again if again <= ends_at(day) + GIVE_UP_REPORT_AFTER else None", "return again"),
    }, TEST_RULES),
    *each("late money: settled", CONSEQUENCES, {
        "a card is watched": ("        if may_become_money(to, finding):\n", "        if False:\n"),
        "a card is watched only after an end without money": ("        if may_become_money(to, finding):\n",
                                                              "        if True:\n"),
        "what pays a subscription that was canceled waits": ("frozenset({SubscriptionState.CANCELED, Subscr",
                                                             "frozenset({Subscr"),
        "what pays a running subscription waits for nobody": ("if subscription and subscription.state in STOPPED:",
                                                              "if subscription:"),
        "what is not late waits for nobody": ("        if attempt.state_reason == Reason.LATE_MONEY:\n", "        if True:\n"),
    }, TEST_CARDS),
    *each("late money: cards", WATCH, {
        "one that the gateway forgot keeps no other waiting": (
            "        except CardNotKnownError as error:\n            reads[card.id] = error\n", ""),
        "a gateway that is away is asked once": ("            reads[card.id] = error\n            break\n",
                                                 "            reads[card.id] = error\n"),
        "one that cannot be read is not read": ("    if closed is None:\n", "    if False:\n"),
        "one that cannot be read is left when its schedule is over": (
            "if next_watch(one.watch_from_at, now) else None", "if True else None"),
        "one that was not reached comes next": ("    if read is None:\n", "    if False:\n"),
    }, TEST_CARDS),
    *each("late money: cards are claimed", SQL, {
        "by one run": (
            """        \"\"\"UPDATE billing_paymentmethod SET next_watch_at = %(until)s
           WHERE id = ANY""", """        \"\"\"UPDATE billing_paymentmethod SET next_watch_at = %(now)s
           WHERE id = ANY"""),
        "of this account": ("WHERE account_id = %(account)s AND next_watch_at <= %(now)s",
                            "WHERE next_watch_at <= %(now)s"),
        "after open outcomes": ("WHERE a.next_check_at <= %(now)s AND a.account_id", "WHERE false AND a.account_id"),
        "before open outcomes of others": ("WHERE a.next_check_at <= %(now)s AND a.account_id = %(account)s",
                                           "WHERE a.next_check_at <= %(now)s"),
        "the longest waiting first": ("ORDER BY next_watch_at LIMIT", "ORDER BY next_watch_at DESC LIMIT"),
        "and finished by who claimed them": ("WHERE id = %s AND next_watch_at = %s AND watch_from_at = %s",
                                             "WHERE id = %s AND (next_watch_at = %s OR true) AND watch_from_at = %s"),
        "and a decline meanwhile stays": ("WHERE id = %s AND next_watch_at = %s AND watch_from_at = %s",
                                          "WHERE id = %s AND next_watch_at = %s AND (watch_from_at = %s OR true)"),
    }, TEST_CARDS),
    *each("late money: a payment of a report", REPORTS, {
        "is asked about once": ('    known |= set(asked.values_list("gateway_transaction_id", flat=True))\n', ""),
        "is asked about again until it is money": (
            "gateway_transaction_id__in=names, status__in=TOOK_MONEY\n", "gateway_transaction_id__in=names\n"),
        "is not asked about when an attempt explains it": (
            "    known = _explained(day.account_id, names)\n", "    known: set[str] = set()\n"),
        "of another account's attempt is not explained": (
            "attempts = PaymentAttempt.objects.filter(account_id=account_id).only", "attempts = PaymentAttempt.objects.only"),
        "is its order's when it has no marker": (
            "row = by_order.get(orders[name]) or by_seen_order.get(orders[name])", "row = None"),
        "is not its order's when it has another's marker": (
            'if row is None and marker_in(" ".join(split)) is None:', "if row is None:"),
        "with an unknown marker is listed": ("        if marker is None and order not in on_our_cards:\n",
                                             "        if order not in on_our_cards:\n"),
        "that is the merchant's other business is not listed": (
            "        if marker is None and order not in on_our_cards:\n            continue\n", ""),
        "from before the card was ours is not listed": ("in_baseline=False, attempt__isnull=True", "attempt__isnull=True"),
        "has the card of its order read": ('    watching.watch_soon(list(cards.values_list("payment_method_id", flat=True))'
                                           ", now=now)\n", ""),
        "is settled": ("                if owner:\n", "                if False:\n"),
        "that cannot be recorded keeps no other back": ("        except Exception as error:\n            logger.exception("
                                                        '"watch: a payment', "        except KeyError as error:\n"
                                                        '            logger.exception("watch: a payment'),
        "that cannot be recorded leaves the day open": ("    if problem:\n", "    if False:\n"),
        "that cannot be read leaves the day open": (
            "    if failed := [name for name in names if name in answers.failed]:\n", "    if failed := []:\n"),
        "that was not reached leaves the day open": (
            "    if any(name in answers.not_reached for name in names):\n", "    if False:\n"),
        "is one too many when the gateway is away": (" or in_a_row >= FAILURES_IN_A_ROW", ""),
        "is one too many for a run": ("number >= ASKED_AT_MOST or ", ""),
        "of a day that is not over does not make it complete": ("complete = read_at >= ends_at(day.day)",
                                                                "complete = True"),
    }, TEST_DAYS),
    one("late money: reports are for accounts that charged", SQL,
        "               WHERE EXISTS (SELECT 1 FROM billing_paymentattempt WHERE account_id = %(account)s)\n", "",
        *named(TEST_DAYS, "never_charged")),
    *each("late money: one run", WATCH, {
        "does an account that fails by itself": ("        logger.exception(\"watch: account %s failed\", account.public_id)\n",
                                                 "        raise\n"),
    }, *named(TEST_HOSTILE, "sick")),
    one("late money: reports that can be read again revive the days that were given up", REPORTS,
        "    watching.revive_days(day.account_id, since=report_day(now - OLDEST_REPORT), now=now)\n", "",
        *named(TEST_HOSTILE, "health")),
    one("late money: health names accounts whose reports are missing", HEALTH, "        *_without_reports(now),\n",
        "", *named(TEST_HOSTILE, "health")),
    one("late money: reports that nobody offers are not read", REPORTS, "    if not account.reads_reports:\n",
        "    if False:\n", *named(TEST_HOSTILE, "cards_alone")),
    one("late money: the audit names payments that nobody explains", MONEY,
        "WHERE f.decided_at IS NULL AND f.attempt_id IS NULL", "WHERE false", *named(TEST_AUDIT, "nobody_has_decided")),
    one("late money: the audit forgets payments that somebody decided about", MONEY,
        "WHERE f.decided_at IS NULL AND f.attempt_id IS NULL", "WHERE f.attempt_id IS NULL",
        *named(TEST_AUDIT, "nobody_has_decided")),
    one("recorded payments: are read with their card", "billing/charging/reading/fetch.py",
        "    read_recorded(gateway, read)\n", "", *named(TEST_RECORDED, "next_read_of_the_card")),
    one("recorded payments: their card is read again", "billing/charging/cases/ways_out.py",
        "                watching.watch([found.card_id], now=now, at=next_watch(now, now) or now)\n", "",
        *named(TEST_RECORDED, "next_read_of_the_card")),
    one("recorded payments: one that cannot be read holds nothing up", "billing/charging/reading/payments.py",
        "            read.transactions[transaction_id] = gateway.read_transaction(transaction_id)\n"
        "        except GatewayUnavailableError:\n            continue\n",
        "            read.transactions[transaction_id] = gateway.read_transaction(transaction_id)\n"
        "        except GatewayUnavailableError:\n            raise\n", *named(TEST_RECORDED, "holds_nothing_up")),
    one("recorded payments: what a card's read shows of them is told", "billing/charging/reading/record.py",
        "        went_back.note(read.card.account_id, list(read.transactions.values()), now=now)\n", "",
        *named(TEST_RECORDED, "next_read_of_the_card")),
    *each("recorded payments: a report", REPORTS, {
        "asks about them again": ("    known -= went_back.recorded_by_a_person(day.account_id, names)", "    known -= set()"),
        "tells what it shows of them": ("                went_back.note(account_id, [one], now=now)\n", ""),
        "does not list them as unexplained": ("in {*owners, *recorded} or", "in owners or"),
    }, *named(TEST_RECORDED, "daily_report")),
    *each("recorded payments: what went back", BACK, {
        "is of the account": ("OutsidePayment.objects.filter(account_id=account_id, gateway_transaction_id__in=transaction_ids)",
                              "OutsidePayment.objects.filter(gateway_transaction_id__in=transaction_ids)"),
        "is told only when it went back": ("for one in transactions if one.went_back_minor}", "for one in transactions}"),
        "is told as an event": ("    record_event(\n", "    dict(\n"),
        "is put before a person": ("    watching.list_found([found], now=now)\n", ""),
        "is told for each amount": ('f"{transaction.transaction_id} {amount_minor}"', "transaction.transaction_id"),
    }, TEST_RECORDED),
    one("recorded payments: the audit names what was told to nobody", MONEY,
        "            WHERE seen.status = ANY(%(back)s) AND", "            WHERE false AND",
        *named("tests/audit/test_ways_out.py", "s10_refunded_outside")),
    *each("late money: a decision about a payment", FOUND, {
        "has a reason": ("    if not decision.reason:\n", "    if False:\n"),
        "is made once": ("    if not decided:\n", "    if False:\n"),
    }, *named(TEST_CARDS, "decided_once")),
]  # fmt: skip
