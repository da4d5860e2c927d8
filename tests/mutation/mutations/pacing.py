"""The guards of pace: begin small, pause, heal, wait for a person; and of the loop that keeps them."""

from tests.mutation.edits import always, drop, drop_sql, never, swap
from tests.mutation.harness import Edit, Mutation, each, one

PACING = "billing/domain/pacing.py"
OUTCOMES = "billing/domain/outcomes.py"
MANIFESTS = "billing/domain/manifests.py"
COLLECT = "billing/charging/collecting/collect.py"
FLIGHT = "billing/charging/collecting/flight.py"
SENDERS = "billing/charging/protocol/senders.py"
PACE = "billing/charging/attempts/pace.py"
ARM = "billing/charging/attempts/arm.py"
ARM_SQL = "billing/models/bulk/arming.py"
PAUSES = "billing/operating/pauses.py"

TEST_PACING = "tests/domain/test_pacing.py"
TEST_SENDERS = "tests/charging/test_senders.py"
TEST_HOSTILE = "tests/hostile/test_pace.py"
TEST_PACE = "tests/charging/test_pace.py"
TEST_CHARGE = "tests/charging/test_one_charge.py"
TEST_HEALTH = "tests/operating/test_health.py"

_DECISIONS = [
    one("pace: a run begins small", PACING, never("take", "if begins:"), TEST_PACING, "rest"),
    one("pace: growth is of charges that ended well", PACING, swap("_learn_closed", "outcomes.paid", "outcomes.good"),
        TEST_PACING, "declines_neither"),
    one("pace: all workers share the allowance", PACING,
        swap("take", "in_flight + sum(share.charges for share in shares.values())", "in_flight"),
        TEST_PACING, "all_workers_together"),
    one("pace: a worker that is gone gives its share back", PACING,
        swap("take", "now < one.until <= latest", "one.until <= latest"), TEST_PACING, "share_of_a_lost"),
    one("pace: an account's own limit", PACING, swap("_grant", "min(pace.allowance, terms.most or MOST_ALLOWED)",
        "pace.allowance"), TEST_PACING, "its_own_limit"),
    *each("pace: breaks", PACING, {
        "after some in a row": drop("_learn_closed", "in_a_row >= BREAKS_AT",
            of="... or in_a_row >= BREAKS_AT or (bad >= BREAKS_AT and ...)"),
        "when a third is in doubt": drop("_learn_closed", "bad >= BREAKS_AT and 2 * bad > good"),
        "at once on a wrong set-up": drop("_learn_closed", "outcomes.setup"),
        "at once without a token": drop("_learn_closed", "outcomes.no_token"),
    }, TEST_PACING, "pauses or three_in_a_row or third or no_token"),
    one("pace: a pause lasts", PACING, always("_may_probe", "retry_at is None"), TEST_PACING, "canary_that_fails"),
    one("pace: a pause of a clock that was set back ends", PACING,
        drop("_may_probe", "retry_at > now + MOST_PAUSE + terms.share_lasts"), TEST_PACING, "set_back_does_not_pause"),
    one("pace: one probe at a time", PACING, drop("take", "pace = replace(pace, retry_at=now + terms.share_lasts)"),
        TEST_PACING, "one_worker_reads"),
    one("pace: after a pause one charge at a time", PACING, swap("_grant", "1 - busy", "MOST_ALLOWED - busy"),
        TEST_PACING, "one_worker_reads"),
    one("pace: only a read that succeeded lets a charge leave", PACING,
        always("_learn_open", "if outcomes.probe_succeeded:"), TEST_PACING, "each_pause_is_longer"),
    one("pace: a charge in doubt makes the pause longer", PACING, swap("_opened",
        "2 if pace.state is PaceState.HALF_OPEN and outcomes.gateway else 1", "1"), TEST_PACING, "an_hour"),
    one("pace: what happened before a pause does not change it", PACING,
        drop("_learn_open", "if outcomes.probe_succeeded is None:"), TEST_PACING, "before_the_pause"),
    one("pace: the gateway says how long", PACING, swap("_paused",
        "max(pause, min(timedelta(seconds=least_seconds), MOST_PAUSE))", "pause"), TEST_PACING, "pause_lasts"),
    one("pace: a run in which all is declined is held", PACING, never("_learn_closed",
        "_declines_abnormal(pace) and not was_let_run(pace, now)"), TEST_PACING, "run_of_declines"),
    one("pace: what is usual for the account is not held", PACING,
        never("_declines_abnormal", "pace.usually_tried >= DECLINES_FROM and usual"), TEST_PACING, "mostly_declined"),
    one("pace: what a person let run is not held again", PACING, drop("_learn_closed", "not was_let_run(pace, now)"),
        TEST_PACING, "run_of_declines"),
    one("pace: slots are apart", PACING, swap("_slots", "first + step * number", "first"),
        TEST_PACING, "slots_lie_apart"),
    one("pace: slots go on where the last ones ended", PACING,
        swap("take", "grant.slots[-1] + spacing(terms.per_second)", "None"), TEST_PACING, "slots_lie_apart"),
    one("pace: an invalid invoice says nothing of its account", OUTCOMES,
        drop("fault_of", "if finding.kind in INVOICE_KINDS:"), TEST_PACING, "about_one_invoice"),
    one("pace: what was not sent here says nothing of the gateway", OUTCOMES,
        never("fault_of", "finding.source in OWN_SOURCES or finding.kind in OWN_KINDS"), TEST_PACING, "did_not_send"),
    one("manifest: a run of many times the usual is held", MANIFESTS,
        never("abnormal", "charges > RUN_TIMES * history.most_charges"), TEST_PACING, "own_history"),
    one("manifest: a sum of many times the usual is held", MANIFESTS, swap("abnormal",
        "due + history.today_sums_minor.get(...) > RUN_TIMES * known", "due + history.today_sums_minor.get(...) < 0"),
        TEST_PACING, "own_history"),
    one("manifest: today's charges count", MANIFESTS,
        swap("abnormal", "manifest.charges + history.today", "manifest.charges"), TEST_PACING, "charged_today"),
]  # fmt: skip

_LOOP = [
    one("senders: who claims a job is the only one", SENDERS, always("claim", "self._claim.acquire(blocking=False)"),
        TEST_PACE, "job_that_was_taken"),
    one("senders: a thread that does not start is not counted", SENDERS, drop("ready", "break"),
        TEST_SENDERS, "threads_that_started"),
    Mutation("collect: what cannot be handed over is not sent", (
        Edit(FLIGHT, drop("hand_over", "if charge.job.claim():")),
        Edit(FLIGHT, drop("take_back", "if self._senders.take_back(charge.job):")),
    ), TEST_HOSTILE, "cannot_be_handed", why="whoever leaves takes back what no sender has begun"),
    one("collect: an account that fails stops nobody else", COLLECT,
        swap("_arm", "self._left_out.add(account_id); continue", "raise"), TEST_HOSTILE, "stops_nobody_else"),
    one("collect: an account that cannot report stops nobody else", COLLECT, swap("_report",
        "self._permits.forget(account_id)", "raise"), "tests/charging/test_isolation.py", "account_with_unreportable"),
    one("pace: permits that nobody uses are no charges", PACING, drop("take", "begins", of="begins and grant.permits"),
        TEST_PACING, "nobody_uses"),
    one("pace: an outcome is a charge", PACING,
        swap("learn", "now if outcomes.good or outcomes.bad else pace.last_charge_at", "pace.last_charge_at"),
        TEST_PACING, "something_was_charged"),
    one("collect: a pause arms nothing", COLLECT,
        never("_work_on", "paced.pace.state in (PaceState.OPEN, PaceState.HELD)"), TEST_CHARGE, "wrong_setup_pauses"),
    one("collect: outcomes are reported", COLLECT,
        drop("_settle", "self._permits.outcomes_of(account_id).add(sent.finding)"), TEST_CHARGE, "wrong_setup_pauses"),
    one("pace: a run is compared with the account's history", PACE,
        never("exchange", "check_size and pace.state is PaceState.CLOSED"), TEST_PACE, "many_times_its_history"),
    one("pace: letting run wants a reason", PACE, never("let_run", "not reason.strip()"), TEST_PACE, "let_run_needs"),
    one("arm: a price that jumped waits for a person", ARM,
        never("_choose", "price_jumped(invoice.amount_minor, invoice.paid_before_minor)"), TEST_PACE, "hundred_times"),
    one("arm: a price that a person let through is charged", ARM_SQL,
        drop_sql("lock_invoices", "AND NOT collect_regardless"), TEST_PACE, "hundred_times"),
    one("health: a pause is a problem", PAUSES, swap("sentences", "PAUSED", "[]"), TEST_HEALTH, "pauses_while"),
    one("health: a stopped account is a problem", PAUSES, always("sentences", "False"),
        TEST_HEALTH, "is_stopped_while"),
]  # fmt: skip

MUTATIONS = [*_DECISIONS, *_LOOP]
