"""The guards of `decide`, and of `match`, which says whose an order is."""

from tests.mutation.harness import Mutation, each, named, one

ATTEMPTS = "billing/domain/attempts.py"
MATCHING = "billing/domain/matching.py"
DUNNING = "billing/domain/dunning.py"
LOOKS = "billing/domain/reads.py"

TEST_READS = "tests/domain/test_reads.py"
TEST_READS = "tests/hostile/test_reads.py"
TEST_ATTEMPTS = "tests/domain/test_attempts.py"
TEST_MATCHING = "tests/domain/test_matching.py"
TEST_DUNNING = "tests/domain/test_dunning.py"
# Without those that try a great many pairs.
QUICK = "not means and not time_alone and not every_finding"

MUTATIONS: list[Mutation] = [
    *each("decide", ATTEMPTS, {
        "only a person decides what is with one": (
            "if state is S.NEEDS_REVIEW and finding.source is not Source.OPERATOR:", "if False:"),
        "money that is seen while a person decides is an alarm": (
            'return Alarm(Reason.EVIDENCE_WHILE_WITH_A_PERSON) if finding.verdict is Verdict.PAID else Stay()',
            'return Stay()'),
        "what is not clear is unknown": (
            'return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay()',
            'return Move(S.NOT_SENT, finding.reason) if state is S.SENDING else Stay()'),
        "what is not clear changes nothing later": (
            'return Move(S.UNKNOWN, finding.reason) if state is S.SENDING else Stay()',
            "return Move(S.UNKNOWN, finding.reason)"),
        "a refusal does not outweigh the gateway's record": (
            "            if state is S.IN_PROCESS:  # the gateway's own", "            if False:  # the gateway's own"),
        "absence closes nothing": ('return Stay()\n        case Verdict.ABSENT_FOR_LONG',
                                   'return Move(S.NOT_CHARGED, Reason.ABSENT)\n        case Verdict.ABSENT_FOR_LONG'),
        "a person decides only what is with one": (
            'return Move(S.NOT_CHARGED, finding.reason) if state is S.NEEDS_REVIEW else Stay()',
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
        "the claim": ('return Reason.TRANSACTION_ID_CLAIMED if attempt.transaction_claimed else None', "return None"),
        "money names its transaction": ('(None if finding.transaction_id else Reason.TRANSACTION_ID_MISSING)', "None"),
        "a success is this attempt's": ("if wrong := mismatch(attempt, finding):", "if wrong := None:"),
        "a decline takes no money back": (
            '    if state in HAS_MONEY:\n        return Alarm(Reason.DECLINED_AFTER_MONEY)\n', ""),
        "a decline is this attempt's": ("if wrong := _anothers(attempt, finding):", "if wrong := None:"),
        "only surplus inherits": ("heir = state is S.SURPLUS and attempt", "heir = attempt"),
        "an heir is wanted": ("heir = state is S.SURPLUS and attempt.money_wanted and", "heir = state is S.SURPLUS and"),
        "an heir finds the place free": ("attempt.money_wanted and not attempt.place_taken", "attempt.money_wanted"),
        "a second transaction is an alarm": (
            'Stay() if known else Alarm(Reason.SECOND_TRANSACTION)', 'Stay()'),
        "money after a reversal is an alarm": (
            "if state is S.REVERSED or attempt.transaction_reversed", "if attempt.transaction_reversed"),
        "an answer that is older than a reversal is an alarm": (
            "attempt.transaction_reversed or found_reversed:", "attempt.transaction_reversed:"),
        "money for a taken place is surplus": ("if attempt.place_taken or not attempt.money_wanted:",
                                               "if not attempt.money_wanted:"),
        "money that is not wanted is surplus": ("if attempt.place_taken or not attempt.money_wanted:",
                                                "if attempt.place_taken:"),
        "a reversal of another transaction takes no money back": (
            "if finding.transaction_id and finding.transaction_id != attempt.transaction_id:", "if False:"),
        "a reversal as a first answer is unknown": (
            '    if state is S.SENDING:\n        return Move(S.UNKNOWN, Reason.REVERSED_AT_FIRST)\n', ""),
        "a reversal has to age": (
            "if state in UNRESOLVED and now - attempt.armed_at >= settles_after:", "if state in UNRESOLVED:"),
        "at last a person": (
            "return Move(S.NEEDS_REVIEW, finding.reason or finding.verdict.value)",
            "return Move(S.NOT_CHARGED, finding.reason or finding.verdict.value)"),
        "only what is open comes to a person": (
            "    if state in UNRESOLVED and state is not S.NEEDS_REVIEW:\n        return Move(S.NEEDS_REVIEW, finding",
            "    if state is not S.NEEDS_REVIEW:\n        return Move(S.NEEDS_REVIEW, finding"),
        "a contradiction about what has ended is an alarm": (
            'return Alarm(finding.reason) if finding.verdict is Verdict.CONTRADICTION else Stay()',
            'return Stay()'),
        "waits for what was not sent grow": ("return NOT_SENT_WAITS[min(max(in_a_row, 1), len(NOT_SENT_WAITS)) - 1]",
                                             "return NOT_SENT_WAITS[0]"),
        "the gateway is not waited for longer than a day": ("min(max(retry_after_seconds, 1), most)",
                                                            "max(retry_after_seconds, 1)"),
        "the ladder ends": ("    if checks_done >= len(ladder):\n        return None\n", ""),
        "a rung that has passed is made up for": ("return at if at > now else now + ladder[0]", "return at"),
    }, *named(TEST_ATTEMPTS, QUICK)),
    *each("decide", ATTEMPTS, {
        "what is in process stays so": (
            'return Move(S.IN_PROCESS, Reason.IN_PROCESS) if state is S.SENDING else Stay()',
            'return Move(S.IN_PROCESS, Reason.IN_PROCESS)'),
        "what was not sent ends nothing that has ended": (
            'return Move(S.NOT_CHARGED, finding.reason) if state in UNRESOLVED else Stay()',
            "return Move(S.NOT_CHARGED, finding.reason)"),
        "long absence closes only what is unknown": (
            'return Move(S.NOT_CHARGED, Reason.ABSENT_FOR_LONG) if state is S.UNKNOWN else Stay()',
            'return Move(S.NOT_CHARGED, Reason.ABSENT_FOR_LONG)'),
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
        "another's marker is no candidate": ("if marker_in(order.words) is None and fits(wanted, order)]",
                                               "if fits(wanted, order)]"),
        "an order that could not be ours is no candidate": (
            "if marker_in(order.words) is None and fits(wanted, order)]", "if marker_in(order.words) is None]"),
        "an order without a marker is a person's": (
            "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if len(nameless) == 1:"),
        "two candidates are a person's": (
            "if len(nameless) == 1 and echo is MarkerEcho.PROVED_ABSENT:", "if echo is MarkerEcho.PROVED_ABSENT:"),
        "two orders of one attempt are a person's": (
            'Match(own[0]) if len(own) == 1 else Ambiguous(tuple(own), Reason.TWO_ORDERS_FOR_ONE_ATTEMPT)', "Match(own[0])"),
    }, TEST_MATCHING),
    *each("dunning", DUNNING, {
        "four tries at most": ("    if len(days) >= MOST_TRIES:\n", "    if False:\n"),
        "within thirty days": ("if any(day < 1 or day > MOST_DAYS for day in days):", "if False:"),
        "one day after the other": ("    if list(days) != sorted(set(days)):\n", "    if False:\n"),
        "a day that has passed is skipped": ("        if at > now:\n", "        if True:\n"),
        "each day once": ("in policy.retry_days[max(tries - 1, 0) :]:", "in policy.retry_days:"),
        "from the first try": ("at = first_tried_at + timedelta(days=day)", "at = now + timedelta(days=day)"),
    }, TEST_DUNNING),
    *each("looks: a rung", LOOKS, {
        "is reached by the time since arming": ("        at = armed_at + self.rungs[done]\n", "        at = armed_at\n"),
        "is one first rung after the last": ("max(at, last + self.rungs[0])", "at"),
        "of a clock that was set back is counted by its gap": ("if armed_at > now or done >=", "if done >="),
        "that was read by that clock is not waited for": ("rung_at is not None and rung_at <= now", "rung_at is not None"),
        "beyond the last comes now and then": ("if armed_at > now or done >= len(self.rungs):", "if armed_at > now:"),
    }, *named(TEST_READS, "rung or clock")),
    *each("looks: money is excluded", LOOKS, {
        "only when the lists must show it": ("    if spoken_of or nothing_left:\n", "    if True:\n"),
        "at once by a transaction's own word": ("    if spoken_of or nothing_left:\n", "    if nothing_left:\n"),
        "at once where nothing left": ("    if spoken_of or nothing_left:\n", "    if spoken_of:\n"),
        "by a word that is final": (" and finding.verdict in (Verdict.DECLINED, Verdict.REVERSED)\n", "\n"),
    }, *named(TEST_READS, "excludes_money")),
    one("looks: a refusal is no proof that nothing left", "billing/gateway/findings.py",
        "nothing_left=isinstance(error, NotSent)", "nothing_left=True", *named(TEST_READS, "lies_charges")),
    one("looks: what never left waits for no list", "billing/gateway/findings.py",
        "nothing_left=isinstance(error, NotSent)", "nothing_left=False", *named(TEST_READS, "never_left")),
]  # fmt: skip
