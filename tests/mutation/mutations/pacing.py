"""The guards of pace: begin small, pause, heal, wait for a person; and of the loop that keeps them."""

from tests.mutation.harness import Edit, Mutation, each, named, one

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
    one("pace: a run begins small", PACING, "    if begins:\n", "    if False:\n", *named(TEST_PACING, "rest")),
    one("pace: growth is of charges that ended well", PACING, "GROWTH * outcomes.paid,", "GROWTH * outcomes.good,",
        *named(TEST_PACING, "declines_neither")),
    one("pace: all workers share the allowance", PACING,
        "    busy = in_flight + sum(share.charges for share in shares.values())\n", "    busy = in_flight\n",
        *named(TEST_PACING, "all_workers_together")),
    one("pace: a worker that is gone gives its share back", PACING, "name != worker and now < one.until <= latest",
        "name != worker and one.until <= latest", *named(TEST_PACING, "share_of_a_lost")),
    one("pace: an account's own limit", PACING, "min(pace.allowance, terms.most or MOST_ALLOWED) - busy",
        "pace.allowance - busy", *named(TEST_PACING, "its_own_limit")),
    *each("pace: breaks", PACING, {
        "after some in a row": ("in_a_row >= BREAKS_AT or ", ""),
        "when a third is in doubt": (" or (bad >= BREAKS_AT and 2 * bad > good):", ":"),
        "at once on a wrong set-up": ("if outcomes.setup or outcomes.no_token or", "if outcomes.no_token or"),
        "at once without a token": ("if outcomes.setup or outcomes.no_token or", "if outcomes.setup or"),
    }, *named(TEST_PACING, "pauses or three_in_a_row or third or no_token")),
    one("pace: a pause lasts", PACING, "return retry_at is None or now >= retry_at or", "return True or",
        *named(TEST_PACING, "canary_that_fails")),
    one("pace: a pause of a clock that was set back ends", PACING,
        " or retry_at > now + MOST_PAUSE + terms.share_lasts", "", *named(TEST_PACING, "set_back_does_not_pause")),
    one("pace: one probe at a time", PACING, "        pace = replace(pace, retry_at=now + terms.share_lasts)\n",
        "        pass\n", *named(TEST_PACING, "one_worker_reads")),
    one("pace: after a pause one charge at a time", PACING, "            room = 1 - busy\n",
        "            room = pace.allowance - busy\n", *named(TEST_PACING, "one_worker_reads")),
    one("pace: only a read that succeeded lets a charge leave", PACING, "    if outcomes.probe_succeeded:\n",
        "    if True:\n", *named(TEST_PACING, "each_pause_is_longer")),
    one("pace: a charge in doubt makes the pause longer", PACING,
        "(2 if pace.state is PaceState.HALF_OPEN and outcomes.gateway else 1)", "1", *named(TEST_PACING, "an_hour")),
    one("pace: what happened before a pause does not change it", PACING,
        "    if outcomes.probe_succeeded is None:\n        return pace\n", "", *named(TEST_PACING, "before_the_pause")),
    one("pace: the gateway says how long", PACING, "max(pause, min(timedelta(seconds=least_seconds), MOST_PAUSE))",
        "pause", *named(TEST_PACING, "pause_lasts")),
    one("pace: a run in which all is declined is held", PACING,
        "    if _declines_abnormal(pace) and not was_let_run(pace, now):\n", "    if False:\n",
        *named(TEST_PACING, "run_of_declines")),
    one("pace: what is usual for the account is not held", PACING,
        "pace.usually_tried >= DECLINES_FROM and usual", "False", *named(TEST_PACING, "mostly_declined")),
    one("pace: what a person let run is not held again", PACING,
        "    if _declines_abnormal(pace) and not was_let_run(pace, now):\n", "    if _declines_abnormal(pace):\n",
        *named(TEST_PACING, "run_of_declines")),
    one("pace: slots are apart", PACING, "first + step * number", "first", *named(TEST_PACING, "slots_lie_apart")),
    one("pace: slots go on where the last ones ended", PACING,
        "grant.slots[-1] + spacing(terms.per_second) if grant.slots", "None if grant.slots",
        *named(TEST_PACING, "slots_lie_apart")),
    one("pace: an invalid invoice says nothing of its account", OUTCOMES,
        "            if finding.kind in INVOICE_KINDS:\n                return Fault.INVOICE\n", "",
        *named(TEST_PACING, "about_one_invoice")),
    one("pace: what was not sent here says nothing of the gateway", OUTCOMES,
        "if finding.source in OWN_SOURCES or finding.kind in OWN_KINDS:", "if False:",
        *named(TEST_PACING, "did_not_send")),
    one("manifest: a run of many times the usual is held", MANIFESTS,
        "    if charges > RUN_TIMES * history.most_charges:\n", "    if False:\n", *named(TEST_PACING, "own_history")),
    one("manifest: a sum of many times the usual is held", MANIFESTS, "> RUN_TIMES * known:", "< 0:",
        *named(TEST_PACING, "own_history")),
    one("manifest: today's charges count", MANIFESTS, "manifest.charges + history.today", "manifest.charges",
        *named(TEST_PACING, "charged_today")),
]  # fmt: skip

_LOOP = [
    one("senders: who claims a job is the only one", SENDERS, "return self._claim.acquire(blocking=False)",
        "return True", *named(TEST_PACE, "job_that_was_taken")),
    one("senders: a thread that does not start is not counted", SENDERS, "                break\n", "                pass\n",
        *named(TEST_SENDERS, "threads_that_started")),
    Mutation(
        "collect: what cannot be handed over is not sent",
        (
            Edit(FLIGHT, "                if charge.job.claim():\n                    self._give_up(charge)\n",
                 "                pass\n"),
            Edit(FLIGHT, "            if self._senders.take_back(charge.job):\n                self._give_up(charge)\n",
                 "            pass\n"),
        ),
        named(TEST_HOSTILE, "cannot_be_handed"),
        "whoever leaves takes back what no sender has begun",
    ),
    one("collect: an account that fails stops nobody else", COLLECT,
        "                self._left_out.add(account_id)\n                continue\n", "                raise\n",
        *named(TEST_HOSTILE, "stops_nobody_else")),
    one("collect: an account that cannot report stops nobody else", COLLECT,
        "                self._permits.forget(account_id)\n", "                raise\n",
        *named("tests/charging/test_isolation.py", "account_with_unreportable")),
    one("pace: permits that nobody uses are no charges", PACING, "if in_flight or (begins and grant.permits) else",
        "if in_flight or grant.permits else", *named(TEST_PACING, "nobody_uses")),
    one("pace: an outcome is a charge", PACING, "last_charge_at=now if outcomes.good or outcomes.bad else",
        "last_charge_at=", *named(TEST_PACING, "something_was_charged")),
    one("collect: a pause arms nothing", COLLECT,
        "        if paced.pace.state in (PaceState.OPEN, PaceState.HELD):\n", "        if False:\n",
        *named(TEST_CHARGE, "wrong_setup_pauses")),
    one("collect: outcomes are reported", COLLECT, "                    self._permits.outcomes_of(account_id).add(sent.finding)\n",
        "                    pass\n", *named(TEST_CHARGE, "wrong_setup_pauses")),
    one("pace: a run is compared with the account's history", PACE,
        "        if check_size and pace.state is PaceState.CLOSED:\n", "        if False:\n",
        *named(TEST_PACE, "many_times_its_history")),
    one("pace: letting run wants a reason", PACE, "    if not reason.strip():\n", "    if False:\n",
        *named(TEST_PACE, "let_run_needs")),
    one("arm: a price that jumped waits for a person", ARM,
        "if price_jumped(invoice.amount_minor, invoice.paid_before_minor):", "if False:",
        *named(TEST_PACE, "hundred_times")),
    one("arm: a price that a person let through is charged", ARM_SQL,
        "CASE WHEN attempt_count = 0 AND NOT collect_regardless THEN", "CASE WHEN attempt_count = 0 THEN",
        *named(TEST_PACE, "hundred_times")),
    one("health: a pause is a problem", PAUSES, "due, state__in=PAUSED, account__stopped_at=None",
        "due, state__in=[], account__stopped_at=None", *named(TEST_HEALTH, "pauses_while")),
    one("health: a stopped account is a problem", PAUSES, "due, stopped_at__isnull=False",
        "due, stopped_at__isnull=True", *named(TEST_HEALTH, "is_stopped_while")),
]  # fmt: skip

MUTATIONS = [*_DECISIONS, *_LOOP]
