"""The guards of isolation: accounts do not wait for each other, credentials are proved, clocks are compared."""

from tests.mutation.harness import Mutation, each, named, one

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
        "a clock that is off refuses": ("    if abs(ahead) > tolerance:\n", "    if False:\n"),
        "an old reading permits no money": (
            "reading is None or (no_older_than is not None and uptime - reading.uptime > no_older_than)",
            "reading is None"),
        "no reading permits nothing": (
            "    if reading is None or (no_older_than is not None and uptime - reading.uptime > no_older_than):\n"
            "        return ClockRefusal.NOT_COMPARED, breaker\n",
            "    if reading is None or (no_older_than is not None and uptime - reading.uptime > no_older_than):\n"
            "        return None, breaker\n"),
        "it waits until they have agreed for a while": (
            "    if uptime - since < SETTLES or reading.uptime < since:\n", "    if reading.uptime < since:\n"),
        "it waits for a newer reading": (
            "    if uptime - since < SETTLES or reading.uptime < since:\n", "    if uptime - since < SETTLES:\n"),
        "a reading of the future is none": ("if one.uptime <= uptime]", "]"),
    }, TEST_RULES),
    one("clock: uptime counts sleep", "rm_gateway/elapsed.py",
        "    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)\n",
        "    return time.process_time()\n", *named(TEST_HOSTILE, "uptime_counts_sleep")),
    one("clock: what was read counts from the moment of asking", CLOCK,
        "asked_at = self._read[1] if self._read is not None and self._read[0] == now else elapsed()",
        "asked_at = elapsed()", *named(TEST_HOSTILE, "freezes_after_reading")),
    one("clock: nothing is armed by a wrong one", ARM,
        "if clock_refusal(account.api_url, gateway=self.gateway, now=self.now):", "if False:",
        *named(TEST_HOSTILE, "step_between_two_passes and default")),
    one("clock: nothing is given back by a wrong one", REFUND_ARM,
        "if outcome is None and clock_refusal(account.api_url, gateway=gateway, now=now):", "if False:",
        *named(TEST_REFUND_GUARDS, "recheck_on_arming_requires_a_right")),
    one("clock: nothing is opened by a wrong one", RENEW, "not_to_open = addresses_not_to_open(now)",
        "not_to_open: list[str] = []", *named(TEST_HOSTILE, "forty_days_ahead and default")),
    one("clock: nothing is opened before it was compared", CLOCKS,
        "[one for one, refusal in _judge_all(now).items() if refusal]\n", "addresses_off(now)\n",
        *named(TEST_HOSTILE, "before_the_gateways_clock_was_seen")),
]  # fmt: skip

_ACCOUNTS = [
    one("isolation: reconcile asks for each gateway apart", RECONCILE,
        "        except Exception as error:\n            logger.exception(\"reconcile: no gateway client for account %s\"",
        "        except KeyError as error:\n            logger.exception(\"reconcile: no gateway client for account %s\"",
        *named(TEST_HOSTILE, "no_reconciling_of_another and default and pem")),
    one("isolation: refunds ask for each gateway apart", WORKER,
        "        except Exception as error:\n            logger.exception(\"refund: no gateway client for account %s\"",
        "        except KeyError as error:\n            logger.exception(\"refund: no gateway client for account %s\"",
        *named(TEST_HOSTILE, "no_refund_of_another and default and pem")),
    one("isolation: what was sent is settled although the loop fails", WORKER,
        "                except Exception:  # what was sent is settled all the same; the rest is for the next run\n",
        "                except KeyError:  # what was sent is settled all the same; the rest is for the next run\n",
        *named(TEST_HOSTILE, "although_the_loop_fails and default")),
    one("isolation: each account is reminded apart", REMIND,
        '        with troubles.isolated(account.pk, "remind", lambda: now):\n', "        if True:\n",
        *named(TEST_HOSTILE, "reminders_and_the_sweep and default")),
    one("isolation: each account is swept apart", SWEEP,
        '        with troubles.isolated(account_id, "sweep", lambda: now):\n', "        if True:\n",
        *named(TEST_HOSTILE, "reminders_and_the_sweep and default")),
    one("isolation: a trouble is written down", TROUBLES, "        note(account_id, work, error, now=clock())\n", "",
        *named(TEST_HOSTILE, "reminders_and_the_sweep and default")),
    one("isolation: words that may hold a secret stay out", TROUBLES,
        "    if isinstance(error, SPEAKS_SAFELY):\n", "    if True:\n", *named(TEST_HOSTILE, "holds_no_secret and default")),
]  # fmt: skip

_CREDENTIALS = [
    one("credentials: of the merchant whose cards are charged", PROVING,
        "if known_cards and not any(_knows(client, card) for card in known_cards):", "if False:",
        *named(TEST_HOSTILE, "another_merchants_credentials and default")),
    one("credentials: a refusal is no silence", PROVING, "    if not _is_a_refusal(error):\n", "    if True:\n",
        *named(TEST_HOSTILE, "do_not_work and default")),
    one("credentials: unproved ones stop the account", CHANGE, "        if not proved:\n            stop_account",
        "        if False:\n            stop_account", *named(TEST_HOSTILE, "somebody_insists and default")),
    one("credentials: unproved ones do not start", ACCOUNTS,
        "if GatewayAccount.objects.filter(pk=account.pk, credentials_unproved_at__isnull=False).exists():", "if False:",
        *named(TEST_HOSTILE, "somebody_insists and default")),
]  # fmt: skip

MUTATIONS: list[Mutation] = [*_CLOCKS, *_ACCOUNTS, *_CREDENTIALS]
