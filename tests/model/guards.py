"""The worlds in which no harm is found, and the guards, each with a world in which its absence does harm."""

from dataclasses import dataclass, replace

from tests.model.state import World

CALM = {"crashes": False, "broken_commits": False}
# In each of these worlds nothing is ever charged twice, lost or forgotten. But for the last, lists may lag for ever.
SAFE = [
    World("two workers, one invoice", workers=2),
    World("money that comes late, after a decline", late_money=True, broken_commits=False),
    World("money that is taken back", invoices=2, attempts=1, reversals=True, **CALM),
    World("the customer changes the card", cards=2, card_changes=True, **CALM),
    World("two invoices of one amount on one card", invoices=2, attempts=1, **CALM),
    World("two invoices, and the gateway echoes nothing", invoices=2, attempts=1, echo="none", **CALM),
    World("answers with another's transaction", invoices=2, attempts=1, crossed_answers=True, **CALM),
    World("the same, and nothing echoed", invoices=2, attempts=1, crossed_answers=True, echo="none", **CALM),
    World("money of another amount", wrong_amounts=True),
    World("an order from before the card was ours", stranger="before"),
    World("a stranger's order", stranger="new"),
    World("cards that become inactive", inactive_cards=True, cards=2, card_changes=True, attempts=2, **CALM),
    World("reads that are written down late, and twice", attempts=1, rungs=2, stale_reads=True, late_money=True),
    World("reads that take long", invoices=2, attempts=1, slow_reads=True, **CALM),
    World("people who err", people_err=True, stale_reads=True, attempts=1),
    World("no locks, the constraints alone", workers=2, locks=False, **CALM),
    World("nothing echoed, and that is proved", echo="proved_absent", invoices=2, attempts=1, releases=True, **CALM),
    World("absence permits, and every lag ends in time", retry_after_absence=True, lag_ends=True, broken_commits=False),
]  # fmt: skip
# The same, larger: some minutes.
SAFE_FULL = [
    World("a card that a person released", invoices=2, attempts=1, releases=True, **CALM),
    World("two workers, three attempts", workers=2, attempts=3, broken_commits=False),
    World("two workers, late money, reversals", workers=2, late_money=True, reversals=True, broken_commits=False),
    World("two cards, late money, crashes", cards=2, card_changes=True, late_money=True),
    World("two invoices, two workers, crashes", invoices=2, attempts=1, workers=2, late_money=True),
    World("two invoices tried again, reads that take long", invoices=2, slow_reads=True, **CALM),
    World("people who err, and later tries", people_err=True, stale_reads=True, **CALM),
    World("stale reads of later tries", rungs=2, stale_reads=True, late_money=True, **CALM),
    World("nothing echoed, proved, tried again", echo="proved_absent", invoices=2, late_money=True, **CALM),
    World("no locks, two invoices", workers=2, invoices=2, attempts=1, locks=False, **CALM),
    World(
        "nothing echoed, proved, late money",
        echo="proved_absent",
        invoices=2,
        attempts=1,
        late_money=True,
        releases=True,
        **CALM,
    ),
    World("no locks, two workers, crashes", workers=2, locks=False, cards=2, card_changes=True),
]


@dataclass(frozen=True)
class Guard:
    """What is taken away, the world in which that does harm, and the harm that is found."""

    name: str
    what: str
    world: World
    harm: str
    also: tuple[str, ...] = ()  # other guards of the same promise, taken away with it

    def without(self) -> World:
        return replace(self.world, name=f"without {self.name}", removed=frozenset({self.name, *self.also}))


ONE = World("one invoice")
TWO = World("two invoices", invoices=2, attempts=1, **CALM)
TAKEN = "a request left while attempt 0 may still take the invoice's money"
ASKED_AGAIN = "asked again although the gateway has shown the invoice's money for over a minute"
NOT_ITS_MONEY = "and the gateway took nothing for it"
IN_NO_BOOKS = "money that was read is in nobody's books"
GUARDS = [
    Guard("durable_commit_before_send", "the attempt is committed before its request leaves", ONE, TAKEN),
    Guard("permission_only_from_arm", "permission to send is what arm returned, never a row",
          replace(ONE, workers=2), "one attempt was posted twice"),
    Guard("window_check", "a request older than its window does not leave", ONE,
          "a request left for an attempt that is unknown"),
    Guard("unacknowledged_is_not_sent", "what was committed without acknowledgement is not sent", ONE,
          "a request left for an attempt that is not in the database"),
    Guard("place_constraint", "an invoice has one attempt that took its money or still may",
          replace(ONE, workers=2, cards=2, card_changes=True, locks=False), "two attempts hold the place of invoice 0"),
    Guard("card_constraint", "a card has one attempt whose outcome is open", replace(TWO, workers=2, locks=False),
          "two attempts whose outcome is open on card 0"),
    Guard("sweeper_never_arms", "the sweeper makes unknown, and nothing else", ONE, TAKEN),
    Guard("absence_is_not_evidence", "that a list shows nothing closes nothing", ONE, TAKEN),
    Guard("marker_match", "an order is an attempt's by its marker, not by its amount",
          replace(TWO, releases=True), NOT_ITS_MONEY, also=("order_with_two_possible_makers", "marker_check")),
    Guard("marker_check", "a success with another's marker is not this attempt's",
          replace(TWO, crossed_answers=True), NOT_ITS_MONEY, also=("claimed_transaction_check",)),
    Guard("claimed_transaction_check", "a transaction explains one attempt",
          replace(TWO, crossed_answers=True, echo="none"), NOT_ITS_MONEY),
    Guard("amount_check", "a success of another amount is not this attempt's", replace(ONE, wrong_amounts=True),
          NOT_ITS_MONEY),
    Guard("baseline", "orders from before the card was ours are nobody's",
          replace(ONE, stranger="before", echo="proved_absent"), NOT_ITS_MONEY),
    Guard("order_with_two_possible_makers", "where nothing is echoed, an order that two attempts may have made is "
          "given to none", replace(TWO, echo="proved_absent", releases=True), NOT_ITS_MONEY),
    Guard("preflight", "cards are read before another try", replace(ONE, late_money=True), ASKED_AGAIN),
    Guard("preflight_of_every_card", "every card that was tried is read",
          replace(ONE, cards=2, card_changes=True, late_money=True), ASKED_AGAIN),
    Guard("complete_read_only", "a list that was cut short is no list", replace(ONE, late_money=True), ASKED_AGAIN),
    Guard("attempts_armed_meanwhile_are_asked", "an order of an attempt armed during a read is not a stranger's",
          replace(TWO, slow_reads=True), "an order of our own is called unexplained"),
    Guard("evidence_is_told_once", "the same evidence told twice counts once",
          replace(ONE, rungs=3, stale_reads=True), "one read counted twice"),
    Guard("money_is_heard_again_after_a_decision", "money counts also when it was told before a person decided",
          replace(ONE, people_err=True, stale_reads=True), IN_NO_BOOKS),
    Guard("surplus_rule", "money beyond the invoice's is recorded as surplus", replace(ONE, late_money=True),
          IN_NO_BOOKS),
]  # fmt: skip

# Not ours to enforce: what is taken to be so of the gateway. Each with the harm that is done where it is not.
ASSUMED = [
    Guard("lag_ends", "where absence may permit another try: lists lag less than the long window",
          World("absence permits", retry_after_absence=True), TAKEN),
    Guard("inactive_cards_take_nothing", "an inactive card that answered with an error took no money",
          World("errors that took money", inactive_cards=True, errors_take_money=True, cards=2, card_changes=True,
                **CALM), TAKEN),
]  # fmt: skip
