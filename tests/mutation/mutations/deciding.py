"""The guards of `decide`, and of `match`, which says whose an order is."""

from tests.mutation.edits import always, drop, never, swap
from tests.mutation.harness import Mutation, each, one

ATTEMPTS = "billing/domain/attempts.py"
MATCHING = "billing/domain/matching.py"
DUNNING = "billing/domain/dunning.py"
READ_RULES = "billing/domain/reads.py"

TEST_READ_RULES = "tests/domain/test_reads.py"
TEST_READS = "tests/hostile/test_reads.py"
TEST_ATTEMPTS = "tests/domain/test_attempts.py"
TEST_MATCHING = "tests/domain/test_matching.py"
TEST_DUNNING = "tests/domain/test_dunning.py"
# Without those that try a great many pairs.
QUICK = "not means and not time_alone and not every_finding"

MUTATIONS: list[Mutation] = [
    *each("decide", ATTEMPTS, {
        "only a person decides what is with one":
            never("decide", "state is S.NEEDS_REVIEW and finding.source is not Source.OPERATOR"),
        "money that is seen while a person decides is an alarm":
            swap("decide", "Alarm(...) if finding.verdict is Verdict.PAID else Stay()", "Stay()"),
        "what is not clear is unknown":
            swap("decide", "Move(S.UNKNOWN, finding.reason)", "Move(S.NOT_SENT, finding.reason)"),
        "what is not clear changes nothing later":
            swap("decide", "Move(S.UNKNOWN, ...) if state is S.SENDING else Stay()", "Move(S.UNKNOWN, ...)"),
        "a refusal does not outweigh the gateway's record": never("decide", "state is S.IN_PROCESS"),
        "absence closes nothing":
            swap("decide", "Stay()", "Move(S.NOT_CHARGED, Reason.ABSENT)", of="case Verdict.ABSENT:"),
        "a person decides only what is with one":
            swap("decide", "Move(...) if state is S.NEEDS_REVIEW else Stay()", "Move(...)"),
        "the amount": never("mismatch", "finding.amount_minor != attempt.amount_minor"),
        "the currency": never("mismatch", "finding.currency != attempt.currency"),
        "the store": never("mismatch",
            "finding.store_id is not None and attempt.store_id and finding.store_id != attempt.store_id"),
        "the card": never("_anothers",
            "finding.gateway_customer_id is not None and finding.gateway_customer_id != attempt.gateway_customer_id"),
        "the marker": never("_anothers", "finding.marker is not None and finding.marker != attempt.marker"),
        "the claim":
            swap("_anothers", "Reason.TRANSACTION_ID_CLAIMED if attempt.transaction_claimed else None", "None"),
        "money names its transaction":
            swap("mismatch", "None if finding.transaction_id else Reason.TRANSACTION_ID_MISSING", "None"),
        "a success is this attempt's": swap("_paid", "mismatch(attempt, finding)", "None"),
        "a decline takes no money back": drop("_declined", "if state in HAS_MONEY:"),
        "a decline is this attempt's": swap("_declined", "_anothers(attempt, finding)", "None"),
        "only surplus inherits": drop("_paid", "state is S.SURPLUS"),
        "an heir is wanted": drop("_paid", "attempt.money_wanted"),
        "an heir finds the place free": drop("_paid", "not attempt.place_taken"),
        "a second transaction is an alarm":
            swap("_paid", "Stay() if known else Alarm(Reason.SECOND_TRANSACTION)", "Stay()"),
        "money after a reversal is an alarm": drop("_paid", "state is S.REVERSED"),
        "an answer that is older than a reversal is an alarm":
            drop("_paid", "found_reversed", of="state is S.REVERSED or attempt.transaction_reversed or found_reversed"),
        "money for a taken place is surplus": drop("_paid", "attempt.place_taken"),
        "money that is not wanted is surplus": drop("_paid", "not attempt.money_wanted"),
        "a reversal of another transaction takes no money back":
            never("_reversed", "finding.transaction_id and finding.transaction_id != attempt.transaction_id"),
        "a reversal as a first answer is unknown": drop("_reversed", "if state is S.SENDING:"),
        "a reversal has to age": drop("_reversed", "now - attempt.armed_at >= settles_after"),
        "at last a person": swap("_to_a_person", "Move(S.NEEDS_REVIEW, ...)", "Move(S.NOT_CHARGED, ...)"),
        "only what is open comes to a person": drop("_to_a_person", "state in UNRESOLVED"),
        "a contradiction about what has ended is an alarm": swap("_to_a_person",
            "Alarm(finding.reason) if finding.verdict is Verdict.CONTRADICTION else Stay()", "Stay()"),
        "waits for what was not sent grow":
            swap("wait_after_not_sent", "min(max(in_a_row, 1), len(NOT_SENT_WAITS)) - 1", "0"),
        "the gateway is not waited for longer than a day":
            swap("wait_after_not_sent", "min(max(retry_after_seconds, 1), most)", "max(retry_after_seconds, 1)"),
        "the ladder ends": drop("next_check", "if checks_done >= len(ladder):"),
        "a rung that has passed is made up for": swap("next_check", "at if at > now else now + ladder[0]", "at"),
    }, TEST_ATTEMPTS, QUICK),
    *each("decide", ATTEMPTS, {
        "what is in process stays so":
            swap("decide", "Move(S.IN_PROCESS, ...) if state is S.SENDING else Stay()", "Move(S.IN_PROCESS, ...)"),
        "what was not sent ends nothing that has ended":
            swap("decide", "Move(...) if state in UNRESOLVED else Stay()", "Move(...)"),
        "long absence closes only what is unknown":
            swap("decide", "Move(...) if state is S.UNKNOWN else Stay()", "Move(...)"),
        "a decline ends nothing that has ended": never("_declined", "state not in UNRESOLVED"),
        "a reversal ends nothing that has ended": drop("_reversed", "state in UNRESOLVED"),
    }, TEST_ATTEMPTS, "every_finding"),
    *each("match", MATCHING, {
        "the amount": drop("could_be", "amount_minor != wanted.amount_minor"),
        "the currency": drop("could_be", "currency != wanted.currency"),
        "not too early": swap("could_be", "wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
            "created_at <= wanted.armed_at + LATEST"),
        "not too late": swap("could_be", "wanted.armed_at - EARLIEST <= created_at <= wanted.armed_at + LATEST",
            "wanted.armed_at - EARLIEST <= created_at"),
        "an order that does not say when may be ours": swap("could_be", "return True", "return False"),
        "a marker is a whole word": swap("carries", "words.split()", "words"),
        "a marker has digits": drop("_is_marker", "any(c.isdigit() for c in word)"),
        "a marker has letters": drop("_is_marker", "any(c.isalpha() for c in word)"),
        "a marker is the first or the last word": swap("marker_in", "(*split[:1], *split[-1:])", "split[:1]"),
        "an order of our transaction is ours":
            drop("match", "wanted.transaction_id and order.transaction_id == wanted.transaction_id"),
        "an order with our marker is ours": drop("match", "carries(order.words, wanted.marker)"),
        "no transaction is not the same transaction": swap("match",
            "wanted.transaction_id and order.transaction_id == wanted.transaction_id",
            'order.transaction_id == (wanted.transaction_id or "")'),
        "another's marker is no candidate": drop("match", "marker_in(order.words) is None"),
        "an order that could not be ours is no candidate": drop("match", "fits(wanted, order)"),
        "an order without a marker is a person's": drop("match", "echo is MarkerEcho.PROVED_ABSENT"),
        "two candidates are a person's": drop("match", "len(nameless) == 1"),
        "two orders of one attempt are a person's":
            swap("match", "Match(own[0]) if len(own) == 1 else Ambiguous(...)", "Match(own[0])"),
    }, TEST_MATCHING),
    *each("dunning", DUNNING, {
        "four tries at most": never("check_retry_days", "len(days) >= MOST_TRIES"),
        "within thirty days": never("check_retry_days", "any(day < 1 or day > MOST_DAYS for day in days)"),
        "one day after the other": never("check_retry_days", "list(days) != sorted(set(days))"),
        "a day that has passed is skipped": always("next_step", "if at > after:"),
        "each day once": swap("next_step", "max(tried_at, now)", "now"),
        "two days that move together are one try":
            swap("ladder", "{_instant(...) for day in days}", "[_instant(...) for day in days]"),
        "a try does not move past thirty days":
            swap("_moved", "min(day + timedelta(days=MOST_MOVE), first + timedelta(days=MOST_DAYS))",
                 "day + timedelta(days=MOST_MOVE)"),
        "a preferred day goes before another": never("_moved", "policy.prefers(one)"),
        "an avoided day is left": always("_moved", "not policy.avoids(one)"),
        "a grace that is over is over": swap("next_step", "policy.grace_days and end > after", "policy.grace_days"),
        "a grace comes after the last try":
            swap("ends_at", "(first_tried_at, *ladder(policy, first_tried_at))[-1]", "first_tried_at"),
    }, TEST_DUNNING),
    *each("looks: a rung", READ_RULES, {
        "is reached by the time since arming": swap("due", "armed_at + self.rungs[done]", "armed_at"),
        "is one first rung after the last": swap("due", "max(at, last + self.rungs[0])", "at"),
        "of a clock that was set back is counted by its gap": drop("due", "armed_at > now"),
        "that was read by that clock is not waited for": drop("due", "rung_at <= now"),
        "beyond the last comes now and then": drop("due", "done >= len(self.rungs)"),
    }, TEST_READ_RULES, "rung or clock"),
    *each("looks: money is excluded", READ_RULES, {
        "only when the lists must show it": always("look_from", "spoken_of or nothing_left"),
        "at once by a transaction's own word": drop("look_from", "spoken_of", of="spoken_of or nothing_left"),
        "at once where nothing left": drop("look_from", "nothing_left", of="spoken_of or nothing_left"),
        "by a word that is final": drop("look_from", "finding.verdict in (Verdict.DECLINED, Verdict.REVERSED)"),
    }, TEST_READ_RULES, "excludes_money"),
    one("looks: a refusal is no proof that nothing left", "billing/gateway/findings.py",
        always("finding_from_error", "isinstance(error, NotSent)"), TEST_READS, "lies_charges"),
    one("looks: what never left waits for no list", "billing/gateway/findings.py",
        never("finding_from_error", "isinstance(error, NotSent)"), TEST_READS, "never_left"),
]  # fmt: skip
