"""The guards of `decide`, and of `match`, which says whose an order is."""

from tests.mutation.harness import Mutation, each, named

ATTEMPTS = "billing/domain/attempts.py"
MATCHING = "billing/domain/matching.py"
DUNNING = "billing/domain/dunning.py"

TEST_ATTEMPTS = "tests/domain/test_attempts.py"
TEST_MATCHING = "tests/domain/test_matching.py"
TEST_DUNNING = "tests/domain/test_dunning.py"
# Without those that try a great many pairs.
QUICK = "not means and not time_alone and not every_finding"

MUTATIONS: list[Mutation] = [
    *each("decide", ATTEMPTS, {
        "only a person decides what is with one": (
            "if state is S.NEEDS_HUMAN and finding.source is not Source.OPERATOR:", "if False:"),
        "money that is seen while a person decides is an alarm": (
            'return Alarm("evidence_while_with_a_person") if finding.verdict is Verdict.PAID else Stay("with_a_person")',
            'return Stay("with_a_person")'),
        "what is not clear is unknown": (
            'return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay("still_unclear")',
            'return Move(S.NOT_SENT, finding.reason) if state is S.SENDING else Stay("still_unclear")'),
        "what is not clear changes nothing later": (
            'return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay("still_unclear")',
            "return Move(S.UNKNOWN, finding.reason)"),
        "absence closes nothing": ('return Stay("absent")\n        case Verdict.ABSENT_FOR_LONG',
                                   'return Move(S.NOT_CHARGED, "absent")\n        case Verdict.ABSENT_FOR_LONG'),
        "a person decides only what is with one": (
            'return Move(S.NOT_CHARGED, finding.reason) if state is S.NEEDS_HUMAN else Stay("not_with_a_person")',
            "return Move(S.NOT_CHARGED, finding.reason)"),
        "the amount": ("if finding.amount_minor != attempt.amount_minor:", "if False:"),
        "the currency": ("if finding.currency != attempt.currency:", "if False:"),
        "the store": (
            "if finding.store_id is not None and attempt.store_id and finding.store_id != attempt.store_id:",
            "if False:"),
        "the card": (
            "if finding.gateway_customer_id is not None and finding.gateway_customer_id != attempt.gateway_customer_id:",
            "if False:"),
        "the marker": ("if finding.marker is not None and finding.marker != attempt.marker:", "if False:"),
        "the claim": ('return "transaction_id_claimed" if attempt.transaction_claimed else None', "return None"),
        "money names its transaction": ('(None if finding.transaction_id else "transaction_id_missing")', "None"),
        "a success is this attempt's": ("if wrong := mismatch(attempt, finding):", "if wrong := None:"),
        "a decline takes no money back": (
            '    if state in HAS_MONEY:\n        return Alarm("declined_after_money")\n', ""),
        "a decline is this attempt's": ("if wrong := _anothers(attempt, finding):", "if wrong := None:"),
        "only surplus inherits": ("heir = state is S.SURPLUS and attempt", "heir = attempt"),
        "an heir is wanted": ("heir = state is S.SURPLUS and attempt.money_wanted and", "heir = state is S.SURPLUS and"),
        "an heir finds the place free": ("attempt.money_wanted and not attempt.place_taken", "attempt.money_wanted"),
        "a second transaction is an alarm": (
            'Stay("already_paid") if known else Alarm("second_transaction")', 'Stay("already_paid")'),
        "money after a reversal is an alarm": (
            "if state is S.REVERSED or (attempt.found_reversed", "if (attempt.found_reversed"),
        "an answer that is older than a reversal is an alarm": (
            " or (attempt.found_reversed and finding.transaction_id == attempt.transaction_id):", ":"),
        "money for a taken place is surplus": ("if attempt.place_taken or not attempt.money_wanted:",
                                               "if not attempt.money_wanted:"),
        "money that is not wanted is surplus": ("if attempt.place_taken or not attempt.money_wanted:",
                                                "if attempt.place_taken:"),
        "a reversal of another transaction takes no money back": (
            "if finding.transaction_id and finding.transaction_id != attempt.transaction_id:", "if False:"),
        "a reversal as a first answer is unknown": (
            '    if state is S.SENDING:\n        return Move(S.UNKNOWN, "reversed_at_first")\n', ""),
        "a reversal has to age": (
            "if state in UNRESOLVED and now - attempt.armed_at >= settles_after:", "if state in UNRESOLVED:"),
        "at last a person": (
            "return Move(S.NEEDS_HUMAN, finding.reason or finding.verdict.value)",
            "return Move(S.NOT_CHARGED, finding.reason or finding.verdict.value)"),
        "only what is open comes to a person": (
            "    if state in UNRESOLVED and state is not S.NEEDS_HUMAN:\n        return Move(S.NEEDS_HUMAN, finding",
            "    if state is not S.NEEDS_HUMAN:\n        return Move(S.NEEDS_HUMAN, finding"),
        "a contradiction about what has ended is an alarm": (
            'return Alarm(finding.reason) if finding.verdict is Verdict.CONTRADICTION else Stay("already_ended")',
            'return Stay("already_ended")'),
        "waits for what was not sent grow": ("return NOT_SENT_WAITS[min(max(in_a_row, 1), len(NOT_SENT_WAITS)) - 1]",
                                             "return NOT_SENT_WAITS[0]"),
        "the gateway is not waited for longer than a day": ("min(max(retry_after_seconds, 1), most)",
                                                            "max(retry_after_seconds, 1)"),
        "the ladder ends": ("    if checks_done >= len(ladder):\n        return None\n", ""),
        "a rung that has passed is made up for": ("return at if at > now else now + ladder[0]", "return at"),
    }, *named(TEST_ATTEMPTS, QUICK)),
    *each("decide", ATTEMPTS, {
        "what is in process stays so": (
            'return Move(S.IN_PROCESS, "in_process") if state is S.SENDING else Stay("still_in_process")',
            'return Move(S.IN_PROCESS, "in_process")'),
        "what was not sent ends nothing that has ended": (
            'return Move(S.NOT_CHARGED, finding.reason) if state in UNRESOLVED else Stay("already_ended")',
            "return Move(S.NOT_CHARGED, finding.reason)"),
        "long absence closes only what is unknown": (
            'return Move(S.NOT_CHARGED, "absent_for_long") if state is S.UNKNOWN else Stay("absent")',
            'return Move(S.NOT_CHARGED, "absent_for_long")'),
        "a decline ends nothing that has ended": ("if state not in UNRESOLVED:", "if False:"),
        "a reversal ends nothing that has ended": (
            "if state in UNRESOLVED and now - attempt.armed_at >= settles_after:",
            "if now - attempt.armed_at >= settles_after:"),
    }, *named(TEST_ATTEMPTS, "every_finding")),
    *each("match", MATCHING, {
        "the amount": ("if amount_minor != wanted.amount_minor or currency", "if currency"),
        "the currency": ("if amount_minor != wanted.amount_minor or currency != wanted.currency:",
                         "if amount_minor != wanted.amount_minor:"),
        "not too early": ("wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
                          "created_at <= wanted.armed_at + LATEST"),
        "not too late": ("wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
                         "wanted.armed_at - EARLIEST <= created_at"),
        "an order that does not say when may be ours": ("    if created_at is None:\n        return True\n",
                                                        "    if created_at is None:\n        return False\n"),
        "a marker is a whole word": ("return marker in words.split()", "return marker in words"),
        "a marker has digits": ("any(c.isdigit() for c in word) and any(c.isalpha()", "any(c.isalpha()"),
        "a marker has letters": (" and any(c.isalpha() for c in word)", ""),
        "a marker is the first or the last word": ("for word in (*split[:1], *split[-1:])", "for word in split[:1]"),
        "an order of our transaction is ours": (
            "if (wanted.transaction_id and order.transaction_id == wanted.transaction_id)\n        or carries(",
            "if carries("),
        "an order with our marker is ours": ("        or carries(order.words, wanted.marker)\n", ""),
        "no transaction is not the same transaction": (
            "if (wanted.transaction_id and order.transaction_id == wanted.transaction_id)",
            'if (order.transaction_id == (wanted.transaction_id or ""))'),
        "another's marker is no candidate": ("if marker_in(order.words) is None\n        and could_be(", "if could_be("),
        "an order that could not be ours is no candidate": (
            "        and could_be(wanted, amount_minor=order.amount_minor, currency=order.currency, "
            "created_at=order.created_at)\n    ]", "    ]"),
        "an order without a marker is a person's": (
            "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if len(nameless) == 1:"),
        "two candidates are a person's": (
            "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if echo is MarkerEcho.PROVED_ABSENT:"),
        "two orders of one attempt are a person's": (
            'Match(own[0]) if len(own) == 1 else Ambiguous(tuple(own), "two_orders_for_one_attempt")', "Match(own[0])"),
    }, TEST_MATCHING),
    *each("dunning", DUNNING, {
        "four tries at most": ("    if len(days) >= MOST_TRIES:\n", "    if False:\n"),
        "within thirty days": ("if any(day < 1 or day > MOST_DAYS for day in days):", "if False:"),
        "one day after the other": ("    if list(days) != sorted(set(days)):\n", "    if False:\n"),
        "a day that has passed is skipped": ("        if at > now:\n", "        if True:\n"),
        "each day once": ("in policy.retry_days[max(tries - 1, 0) :]:", "in policy.retry_days:"),
        "from the first try": ("at = first_tried_at + timedelta(days=day)", "at = now + timedelta(days=day)"),
    }, TEST_DUNNING),
]  # fmt: skip
