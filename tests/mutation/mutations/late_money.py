"""The guards of finding money that comes after the end."""

from tests.mutation.edits import always, always_sql, drop, drop_sql, never, swap, swap_sql
from tests.mutation.harness import Mutation, each, one

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
    one("late money: a held row is no failed read of a card", WATCH, swap("_record", "NOT_DONE_YET", "CONNECTION_LOST"),
        TEST_CARDS, "held_row"),
    one("late money: a held row makes no day fail", REPORTS, swap("record", "NOT_DONE_YET", "ZeroDivisionError"),
        TEST_DAYS, "row_is_held"),
    one("late money: nothing is watched by a wrong clock", WATCH, swap("watch", "GatewayAccount.objects.exclude(...)",
        "GatewayAccount.objects"), TEST_HOSTILE, "by_a_wrong_clock"),
    *each("late money: a card is read again", RULES, {
        "further and further apart": swap("WATCH_AFTER", "(1, 2, 4, 8, ...)", "(1, 2, 4, 2, ...)"),
        "for as long as an order can be paid": swap("WATCH_AFTER", "(1, 2, 4, 8, 16, 32, 60)", "(1, 2, 4, 8)"),
        "at a step that is to come": swap("next_watch", "ended_at + step > now", "ended_at + step >= now"),
        "when a refusal may have been wrong":
            never("may_become_money", 'finding.detail.get("http_status") is not None'),
        "not when nothing left": always("may_become_money", 'finding.detail.get("http_status") is not None'),
        "after every other end without money": drop("_WITHOUT_MONEY", "S.NOT_CHARGED"),
        "less and less often when it fails":
            swap("pause_after", "min(FIRST_PAUSE * doubled, LONGEST_PAUSE)", "FIRST_PAUSE"),
    }, TEST_RULES),
    *each("late money: a report is read", RULES, {
        "before its day is a day old": drop("READ_REPORT_AFTER", "timedelta(hours=20)"),
        "when its day is over": drop("READ_REPORT_AFTER", "timedelta(hours=24, minutes=30)"),
        "by Malaysian days": swap("starts_at", "datetime.combine(...)", "datetime.combine(...) + timedelta(hours=8)"),
        "from the account's first day": swap("days_to_read",
            "max(report_day(opened_at), report_day(now - OLDEST_REPORT))", "report_day(now - OLDEST_REPORT)"),
        "for two months back": swap("days_to_read", "max(report_day(opened_at), report_day(now - OLDEST_REPORT))",
            "report_day(opened_at)"),
        "no more when it was not readable for a week":
            swap("report_after_failure", "again if again <= ends_at(day) + GIVE_UP_REPORT_AFTER else None", "again"),
    }, TEST_RULES),
    *each("late money: settled", CONSEQUENCES, {
        "a card is watched": never("_move", "may_become_money(to, finding)"),
        "a card is watched only after an end without money": always("_move", "may_become_money(to, finding)"),
        "what pays a running subscription waits for nobody": drop("_pay", "subscription.state in STOPPED"),
        "what is not late waits for nobody": always("_pay", "attempt.state_reason == Reason.LATE_MONEY"),
    }, TEST_CARDS),
    one("late money: settled: what pays a subscription that was canceled waits", "billing/domain/subscriptions.py",
        drop("STOPPED", "SS.CANCELED"), TEST_CARDS),
    *each("late money: cards", WATCH, {
        "one that the gateway forgot keeps no other waiting": drop("_read_cards", "except CardNotKnownError as error:"),
        "a gateway that is away is asked once":
            drop("_read_cards", "break", of="except GatewayUnavailableError as error:"),
        "one that cannot be read is not read": never("_finish_card", "if closed is None: done.failed += 1; ..."),
        "one that cannot be read is left when its schedule is over":
            always("_finish_card", "next_watch(...)", of="now + pause_after(...) if next_watch(...) else None"),
        "one that was not reached comes next":
            never("_finish_card", "if read is None: watching.finish_card(...); return"),
    }, TEST_CARDS),
    *each("late money: cards are claimed", SQL, {
        "by one run": swap_sql("claim_cards", "%(until)s", "%(now)s"),
        "of this account": drop_sql("claim_cards", "account_id = %(account)s AND"),
        "after open outcomes": swap_sql("claim_cards", "a.next_check_at <= %(now)s", "false"),
        "before open outcomes of others": drop_sql("claim_cards", "AND a.account_id = %(account)s"),
        "the longest waiting first": swap_sql("claim_cards", "LIMIT %(limit)s", "DESC LIMIT %(limit)s"),
        "and finished by who claimed them":
            swap_sql("finish_card", "AND next_watch_at = %s", "AND (next_watch_at = %s OR true)"),
        "and a decline meanwhile stays": always_sql("finish_card", "watch_from_at = %s"),
    }, TEST_CARDS),
    *each("late money: a payment of a report", REPORTS, {
        "is asked about once":
            drop("not_known_yet", 'known |= set(asked.values_list("gateway_transaction_id", flat=True))'),
        "is asked about again until it is money": drop("not_known_yet", "status__in=TOOK_MONEY"),
        "is not asked about when an attempt explains it":
            swap("not_known_yet", "known = _explained(day.account_id, names)", "known: set[str] = set()"),
        "of another account's attempt is not explained":
            swap("owners_of", "PaymentAttempt.objects.filter(account_id=account_id)", "PaymentAttempt.objects"),
        "is its order's when it has no marker":
            swap("owners_of", "by_order.get(orders[name]) or by_seen_order.get(orders[name])", "None"),
        "is not its order's when it has another's marker": drop("owners_of", 'marker_in(" ".join(split)) is None'),
        "with an unknown marker is listed": drop("unexplained_payments", "marker is None"),
        "that is the merchant's other business is not listed":
            drop("unexplained_payments", "if marker is None and order not in on_our_cards:"),
        "from before the card was ours is not listed": drop("unexplained_payments", "in_baseline=False"),
        "has the card of its order read":
            drop("_list", 'watching.watch_soon(list(cards.values_list("payment_method_id", flat=True)), now=now)'),
        "is settled": never("record", "if owner:"),
        "that cannot be recorded keeps no other back": swap("record", "Exception", "KeyError"),
        "that cannot be recorded leaves the day open": never("finish", "if problem:"),
        "that cannot be read leaves the day open":
            swap("finish", "[name for name in names if name in answers.failed]", "[]"),
        "that was not reached leaves the day open":
            never("finish", "any(name in answers.not_reached for name in names)"),
        "is one too many when the gateway is away": drop("__call__", "in_a_row >= FAILURES_IN_A_ROW"),
        "is one too many for a run": drop("__call__", "number >= ASKED_AT_MOST"),
        "of a day that is not over does not make it complete": always("finish", "read_at >= ends_at(day.day)"),
    }, TEST_DAYS),
    one("late money: reports are for accounts that charged", SQL,
        drop_sql("plan_days", "WHERE EXISTS (SELECT 1 FROM billing_paymentattempt WHERE account_id = %(account)s)"),
        TEST_DAYS, "never_charged"),
    *each("late money: one run", WATCH, {
        "does an account that fails by itself":
            swap("_isolated", 'logger.exception("watch: account %s failed", account.public_id)', "raise"),
    }, TEST_HOSTILE, "sick"),
    one("late money: reports that can be read again revive the days that were given up", REPORTS,
        drop("finish", "watching.revive_days(day.account_id, since=report_day(now - OLDEST_REPORT), now=now)"),
        TEST_HOSTILE, "health"),
    one("late money: health names accounts whose reports are missing", HEALTH, drop("check", "*_without_reports(now)"),
        TEST_HOSTILE, "health"),
    one("late money: reports that nobody offers are not read", REPORTS, never("claim", "not account.reads_reports"),
        TEST_HOSTILE, "cards_alone"),
    one("late money: the audit names payments that nobody explains", MONEY, swap_sql("_reported_payments_are_explained",
        "f.decided_at IS NULL AND f.attempt_id IS NULL", "false"), TEST_AUDIT, "nobody_has_decided"),
    one("late money: the audit forgets payments that somebody decided about", MONEY,
        drop_sql("_reported_payments_are_explained", "f.decided_at IS NULL AND"), TEST_AUDIT, "nobody_has_decided"),
    one("recorded payments: are read with their card", "billing/charging/reading/fetch.py",
        drop("fetch", "read_recorded(gateway, read)"), TEST_RECORDED, "next_read_of_the_card"),
    one("recorded payments: their card is read again", "billing/charging/cases/ways_out.py",
        drop("_close", "watching.watch([found.card_id], now=now, at=next_watch(now, now) or now)"),
        TEST_RECORDED, "next_read_of_the_card"),
    one("recorded payments: one that cannot be read holds nothing up", "billing/charging/reading/payments.py",
        swap("read_recorded", "continue", "raise"), TEST_RECORDED, "holds_nothing_up"),
    one("recorded payments: what a card's read shows of them is told", "billing/charging/reading/record.py",
        drop("record", "went_back.note(read.card.account_id, list(read.transactions.values()), now=now)"),
        TEST_RECORDED, "next_read_of_the_card"),
    *each("recorded payments: a report", REPORTS, {
        "asks about them again":
            swap("not_known_yet", "went_back.recorded_by_a_person(day.account_id, names)", "set()"),
        "tells what it shows of them": drop("record", "went_back.note(account_id, [one], now=now)"),
        "does not list them as unexplained": swap("unexplained_payments", "{*owners, *recorded}", "owners"),
    }, TEST_RECORDED, "daily_report"),
    *each("recorded payments: what went back", BACK, {
        "is of the account": drop("recorded_by_a_person", "account_id=account_id"),
        "is told only when it went back": drop("note", "one.went_back_minor"),
        "is told as an event": swap("_record_event", "record_event", "dict"),
        "is put before a person": drop("_record_event", "watching.list_found([found], now=now)"),
        "is told for each amount":
            swap("_record_event", 'f"{transaction.transaction_id} {amount_minor}"', "transaction.transaction_id"),
    }, TEST_RECORDED),
    one("recorded payments: the audit names what was told to nobody", MONEY, swap_sql("_refund_has_its_event",
        "seen.status = ANY(%(back)s)", "false"), "tests/audit/test_ways_out.py", "s10_refunded_outside"),
    *each("late money: a decision about a payment", FOUND, {
        "has a reason": never("decide_found", "not decision.reason"),
        "is made once": never("decide_found", "not decided"),
    }, TEST_CARDS, "decided_once"),
]  # fmt: skip
