"""The guards of what absence means: from a card's orders, and from the gateway's daily reports."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Mutation, each, one

REPORTS = "billing/charging/reading/report_search.py"
RULES = "billing/domain/reports.py"
RECONCILE = "billing/charging/reading/reconcile.py"

TEST_REPORTS = "tests/charging/test_reports.py"
TEST_SEARCH = "tests/charging/test_reports_search.py"
TEST_RULES = "tests/domain/test_reports.py"

MUTATIONS: list[Mutation] = [
    *each("reports: absence counts", RULES, {
        "when the next day was read too": swap("days_of", "day + timedelta(days=1)", "day"),
        "by Malaysian days": swap("days_of", "armed_at.astimezone(REPORT_ZONE)", "armed_at"),
        "when both reports were read":
            drop("absence_counts", "all(successes.get(day) is not None for day in days_of(armed_at))"),
        "when a success of ours is listed": drop("absence_counts", "all(successes.get(day) for day in possible)"),
        "when it is listed on the day of arming":
            swap("absence_counts", "(armed_at, armed_at + LATEST)", "(armed_at + LATEST,)"),
        "when it is listed after midnight too": drop("absence_counts", "armed_at + LATEST"),
    }, TEST_RULES),
    *each("reports: searched", REPORTS, {
        "what cannot be read is not empty": swap("_read_day", "return None", "return []"),
        "only our own successes show that a report is whole": drop("search", "known.get(p.transaction_id)"),
        "what is ours already is no candidate": drop("search", "payment.transaction_id not in known"),
        "only what could be the attempt's is asked about": drop("search", "could_be(...)"),
        "too many candidates settle nothing": never("search", "len(candidates) > MOST_CANDIDATES"),
        "a payment that cannot be read settles nothing":
            swap("search", 'return Searched(detail=detail | {"not_read": transaction_id})', "continue"),
        "our marker is found": never("search", "carries(found.words, attempt.wanted.marker)"),
        "only our marker is found": always("search", "carries(found.words, attempt.wanted.marker)"),
        "another's marker is no candidate": always("search", "marker_in(found.words) is None"),
        "a payment without a marker is one": never("search", "marker_in(found.words) is None"),
        "a payment without a marker may be ours": drop("search", "not nameless"),
        "absence by the rules": drop("search", "absence_counts(attempt.wanted.armed_at, successes, read_at=read_at)"),
    }, TEST_SEARCH),
    one("reports: of days that are over", "billing/domain/reports.py", never("absence_counts",
        "read_at.astimezone(REPORT_ZONE).date() <= max(days_of(armed_at))"), TEST_RULES, "not_over"),
    *each("reports: known", REPORTS, {
        "are the account's own": drop("known_transactions", "account_id=account_id"),
        "and have money": always("known_transactions", "AttemptState(state) in HAS_MONEY"),
    }, TEST_SEARCH, "known"),
    *each("reconcile: absence permits another try", RECONCILE, {
        "only after long": always("_absence",
            "check.checks_done + 1 >= len(tuning.ladder) and check.read_at - check.armed_at >= permitted_after"),
        "not before the ladder ends": drop("_absence", "check.checks_done + 1 >= len(tuning.ladder)"),
        "not before the time has passed": drop("_absence", "check.read_at - check.armed_at >= permitted_after"),
        "only where the account says so":
            swap("_absence", "read.card.retry_after_absence", "read.card.retry_after_absence or LEASE"),
    }, TEST_SEARCH, "what_absence_means"),
    *each("reconcile: absence", RECONCILE, {
        "is not what a payment without a marker says": never("_absence", "if searched.nameless:"),
        "from whole reports goes to a person": never("_absence", "searched.counts"),
        "from other reports says nothing": always("_absence", "searched.counts"),
    }, TEST_SEARCH, "what_absence_means"),
    one("reconcile: a payment in the report is this attempt's", RECONCILE, never("_findings", "if found.found:"),
        TEST_REPORTS, "only_the_report_lists"),
]  # fmt: skip
