"""The guards of what absence means: from a card's orders, and from the gateway's daily reports."""

from tests.mutation.harness import Mutation, each, named, one

REPORTS = "billing/charging/reading/report_search.py"
RULES = "billing/domain/reports.py"
RECONCILE = "billing/charging/reading/reconcile.py"

TEST_REPORTS = "tests/charging/test_reports.py"
TEST_SEARCH = "tests/charging/test_reports_search.py"
TEST_RULES = "tests/domain/test_reports.py"

MUTATIONS: list[Mutation] = [
    *each("reports: absence counts", RULES, {
        "when the next day was read too": ("return day, day + timedelta(days=1)", "return day, day"),
        "by Malaysian days": ("day = armed_at.astimezone(REPORT_ZONE).date()", "day = armed_at.date()"),
        "when both reports were read": (
            "return all(successes.get(day) is not None for day in days_of(armed_at)) and all(", "return all("),
        "when a success of ours is listed": (") and all(\n        successes.get(day) for day in possible\n    )", ")"),
        "when it is listed on the day of arming": ("for at in (armed_at, armed_at + LATEST)",
                                                   "for at in (armed_at + LATEST,)"),
        "when it is listed after midnight too": ("for at in (armed_at, armed_at + LATEST)", "for at in (armed_at,)"),
    }, TEST_RULES),
    *each("reports: searched", REPORTS, {
        "what cannot be read is not empty": ("        return None\n\n\ndef known", "        return []\n\n\ndef known"),
        "only our own successes show that a report is whole": ("if known.get(p.transaction_id)]", "]"),
        "what is ours already is no candidate": ("if payment.transaction_id not in known\n        and could_be(",
                                                 "if could_be("),
        "only what could be the attempt's is asked about": (
            "        and could_be(\n            attempt.wanted,\n            amount_minor=payment.amount_minor,\n"
            "            currency=payment.currency,\n            created_at=payment.transaction_at,\n        )\n", ""),
        "too many candidates settle nothing": ("if len(candidates) > MOST_CANDIDATES:", "if False:"),
        "a payment that cannot be read settles nothing": (
            '            return Searched(detail=detail | {"not_read": transaction_id})\n', "            continue\n"),
        "our marker is found": ("if carries(found.words, attempt.wanted.marker):", "if False:"),
        "only our marker is found": ("if carries(found.words, attempt.wanted.marker):", "if True:"),
        "another's marker is no candidate": ("if marker_in(found.words) is None:", "if True:"),
        "a payment without a marker is one": ("if marker_in(found.words) is None:", "if False:"),
        "a payment without a marker may be ours": ("counts = not nameless and absence", "counts = absence"),
        "absence by the rules": (
            "counts = not nameless and absence_counts(attempt.wanted.armed_at, successes, read_at=read_at)",
            "counts = not nameless"),
    }, TEST_SEARCH),
    one("reports: of days that are over", "billing/domain/reports.py",
        "    if read_at.astimezone(REPORT_ZONE).date() <= max(days_of(armed_at)):\n", "    if False:\n",
        *named(TEST_RULES, "not_over")),
    *each("reports: known", REPORTS, {
        "are the account's own": ("filter(account_id=account_id, gateway", "filter(gateway"),
        "and have money": ("transaction_id: AttemptState(state) in HAS_MONEY\n", "transaction_id: True\n"),
    }, *named(TEST_SEARCH, "known")),
    *each("reconcile: absence permits another try", RECONCILE, {
        "only after long": (
            "check.checks_done + 1 >= len(limits.ladder) and check.read_at - check.armed_at >= permitted_after", "True"),
        "not before the ladder ends": ("check.checks_done + 1 >= len(limits.ladder) and check", "check"),
        "not before the time has passed": (
            "check.checks_done + 1 >= len(limits.ladder) and check.read_at - check.armed_at >= permitted_after",
            "check.checks_done + 1 >= len(limits.ladder)"),
        "only where the account says so": ("    elif permitted_after is not None:\n        long_enough =",
                                           "    elif True:\n        permitted_after = permitted_after or LEASE\n"
                                           "        long_enough ="),
    }, *named(TEST_SEARCH, "what_absence_means")),
    *each("reconcile: absence", RECONCILE, {
        "is not what a payment without a marker says": ("    elif searched.nameless:\n", "    elif False:\n"),
        "from whole reports goes to a person": ("    elif searched.counts:\n", "    elif False:\n"),
        "from other reports says nothing": ("    elif searched.counts:\n", "    elif True:\n"),
    }, *named(TEST_SEARCH, "what_absence_means")),
    one("reconcile: a payment in the report is this attempt's", RECONCILE, "        if found.found:\n",
        "        if False:\n", *named(TEST_REPORTS, "only_the_report_lists")),
]  # fmt: skip
