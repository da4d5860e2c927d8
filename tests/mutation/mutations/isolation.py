"""The guards of isolation: accounts do not wait for each other, credentials are proved, clocks are compared."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Mutation, each, one

RULES = "billing/domain/clocks.py"
CLOCK = "billing/gateway/sending_clock.py"
CLOCKS = "billing/operating/clocks.py"
ARM = "billing/charging/attempts/arm.py"
REFUND_ARM = "billing/charging/refunds/arm.py"
RENEW = "billing/subscriptions/renew.py"
RECONCILE = "billing/charging/reading/reconcile.py"
WORKER = "billing/charging/refunds/worker.py"
REMIND = "billing/charging/cases/remind.py"
SWEEP = "billing/charging/collecting/sweep.py"
TROUBLES = "billing/operating/troubles.py"
CHANGE = "billing/accounts/change_account.py"
ACCOUNTS = "billing/accounts/gateway_accounts.py"
PROVING = "billing/gateway/proving.py"

TEST_RULES = "tests/domain/test_clocks.py"
TEST_HOSTILE = "tests/hostile/test_isolation.py"
TEST_REFUND_GUARDS = "tests/charging/test_refund_guards.py"

_CLOCKS = [
    *each("clock", RULES, {
        "a clock that is off refuses": never("judge", "abs(ahead) > tolerance"),
        "an old reading permits no money":
            drop("judge", "no_older_than is not None and uptime - reading.uptime > no_older_than"),
        "no reading permits nothing": swap("judge", "ClockRefusal.NOT_COMPARED", "None"),
        "it waits until they have agreed for a while": drop("judge", "uptime - since < SETTLES"),
        "it waits for a newer reading": drop("judge", "reading.uptime < since"),
        "a reading of the future is none": drop("newest", "one.uptime <= uptime"),
    }, TEST_RULES),
    one("clock: uptime counts sleep", "rm_gateway/elapsed.py",
        swap("elapsed", "time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)", "time.process_time()"),
        TEST_HOSTILE, "uptime_counts_sleep"),
    one("clock: what was read counts from the moment of asking", CLOCK,
        swap("align", "self._read[1] if self._read is not None and self._read[0] == now else elapsed()", "elapsed()"),
        TEST_HOSTILE, "freezes_after_reading"),
    one("clock: nothing is armed by a wrong one", ARM,
        never("_choose", "clock_refusal(account.api_url, gateway=self.gateway, now=self.now)"),
        TEST_HOSTILE, "step_between_two_passes and default"),
    one("clock: nothing is given back by a wrong one", REFUND_ARM,
        never("_freeze_or_wait", "outcome is None and clock_refusal(account.api_url, gateway=gateway, now=now)"),
        TEST_REFUND_GUARDS, "recheck_on_arming_requires_a_right"),
    one("clock: nothing is opened by a wrong one", RENEW, swap("open_due", "not_to_open = addresses_not_to_open(now)",
        "not_to_open: list[str] = []"), TEST_HOSTILE, "forty_days_ahead and default"),
    one("clock: nothing is opened before it was compared", CLOCKS, swap("addresses_not_to_open",
        "[one for one, refusal in _judge_all(now).items() if refusal]", "addresses_off(now)"),
        TEST_HOSTILE, "before_the_gateways_clock_was_seen"),
]  # fmt: skip

_ACCOUNTS = [
    one("isolation: reconcile asks for each gateway apart", RECONCILE, swap("_gateways", "Exception", "KeyError"),
        TEST_HOSTILE, "no_reconciling_of_another and default and pem"),
    one("isolation: refunds ask for each gateway apart", WORKER, swap("_gateway_of", "Exception", "KeyError"),
        TEST_HOSTILE, "no_refund_of_another and default and pem"),
    one("isolation: what was sent is settled although the loop fails", WORKER, swap("run", "Exception", "KeyError"),
        TEST_HOSTILE, "although_the_loop_fails and default"),
    one("isolation: each account is reminded apart", REMIND, swap("remind",
        "with troubles.isolated(...): written += _of_account(account, now)",
        "if True: written += _of_account(account, now)"), TEST_HOSTILE, "reminders_and_the_sweep and default"),
    one("isolation: each account is swept apart", SWEEP, swap("sweep", "troubles.isolated(...)",
        '__import__("contextlib").nullcontext()'), TEST_HOSTILE, "reminders_and_the_sweep and default"),
    one("isolation: a trouble is written down", TROUBLES, drop("isolated",
        "note(account_id, work, error, now=clock())"), TEST_HOSTILE, "reminders_and_the_sweep and default"),
    one("isolation: words that may hold a secret stay out", TROUBLES,
        always("safe_message", "isinstance(error, SPEAKS_SAFELY)"), TEST_HOSTILE, "holds_no_secret and default"),
]  # fmt: skip

_CREDENTIALS = [
    one("credentials: of the merchant whose cards are charged", PROVING,
        never("prove", "known_cards and not any(_knows(client, card) for card in known_cards)"),
        TEST_HOSTILE, "another_merchants_credentials and default"),
    one("credentials: a refusal is no silence", PROVING, always("_meaning", "not _is_a_refusal(error)"),
        TEST_HOSTILE, "do_not_work and default"),
    one("credentials: unproved ones stop the account", CHANGE,
        never("change_account", "if not proved: stop_account(...)"), TEST_HOSTILE, "somebody_insists and default"),
    one("credentials: unproved ones do not start", ACCOUNTS, never("start_account",
        "GatewayAccount.objects.filter(...).exists()"), TEST_HOSTILE, "somebody_insists and default"),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_CLOCKS, *_ACCOUNTS, *_CREDENTIALS]
