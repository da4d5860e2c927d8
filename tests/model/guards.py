"""The worlds in which no harm is found, and the guards, each with a world in which its absence does harm."""

from dataclasses import dataclass, replace

from tests.model.state import World

CALM = {"crashes": False, "broken_commits": False}
FORGETFUL = {**CALM, "attempts": 1, "again": 1, "lag_ends": True}
LYING = {**CALM, "false_refusals": True, "lag_ends": True}
APART = {"workers": 2, "invoices": 2, "cards": 2, "own_cards": True, "opened": True}
# In each of these worlds nothing is ever charged twice, lost or forgotten. But for the last, lists may lag for ever.
SAFE = [
    World("two workers, one invoice", workers=2),
    World("money that comes late, after a decline", late_money=True, broken_commits=False),
    World("money that is taken back", reversals=True, **CALM),
    World("the customer changes the card", cards=2, card_changes=True, **CALM),
    World("two invoices of one amount on one card", invoices=2, attempts=1, **CALM),
    World("two invoices, and the gateway echoes nothing", invoices=2, attempts=1, echo="none", **CALM),
    World("answers with another's transaction", invoices=2, attempts=1, crossed_answers=True, **CALM),
    World("the same, and nothing echoed", invoices=2, attempts=1, crossed_answers=True, echo="none", **CALM),
    World("money of another amount", wrong_amounts=True),
    World("an order from before the card was ours", foreign="before"),
    World("a stranger's order", foreign="new"),
    World("cards that become inactive", inactive_cards=True, cards=2, card_changes=True, attempts=2, **CALM),
    World("reads that are written down late, and twice", attempts=1, rungs=2, stale_reads=True, late_money=True),
    World("reads that take long", invoices=2, attempts=1, slow_reads=True, **CALM),
    World("people who err", people_err=True, stale_reads=True, attempts=1),
    World("no locks, the constraints alone", workers=2, locks=False, **CALM),
    World("nothing echoed, and that is proved", echo="proved_absent", invoices=2, attempts=1, releases=True, **CALM),
    World("money that comes after the end", late_money=True, watched=True, attempts=1),
    World("refusals that are not true", false_refusals=True, lag_ends=True, **CALM),
    World("strangers who have cards read", forged_hints=True, lag_ends=True, attempts=1, rungs=2, **CALM),
    World("absence permits, and every lag ends in time", retry_after_absence=True, lag_ends=True, broken_commits=False),
    World("a database that is put back", forgets="restore", workers=2, **FORGETFUL),
    World("the same, and nothing echoed", forgets="restore", echo="none", **FORGETFUL),
    World("a database that is put back on a new host", forgets="moved", **FORGETFUL),
    World("a standby that is promoted", forgets="promote", workers=2, **FORGETFUL),
    World("a copy of the database's files that runs too", forgets="clone_files", **FORGETFUL),
    World("first payments, and money after the expiry", first_payment=True, late_money=True, watched=True, attempts=1),
    World("first payments that are tried again", first_payment=True, broken_commits=False),
    World("first payments, and refusals that are not true", first_payment=True, attempts=1, **LYING),
    World("first payments in a database that is put back", first_payment=True, forgets="restore", **FORGETFUL),
    World("first payments put back, nothing echoed", first_payment=True, forgets="restore", echo="none", **FORGETFUL),
    World("a clock that steps back", clock="back", attempts=1, again=1, **CALM),
    World("a clock that steps forward", clock="forward", attempts=1, again=1, **CALM),
]  # fmt: skip
# The same, larger: some minutes.
SAFE_FULL = [
    World("money that is taken back, two invoices", invoices=2, attempts=1, reversals=True, **CALM),
    World("a card that a person released", invoices=2, attempts=1, releases=True, **CALM),
    World("refusals that are not true, three attempts", false_refusals=True, lag_ends=True, attempts=3, **CALM),
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
    World("a dump of the database that runs too", forgets="clone", **FORGETFUL),
    World("a copy beside the database, on one host", forgets="clone_beside", opened=True, **FORGETFUL),
    World("a database that is put back, crashes", forgets="restore", attempts=1, again=1, lag_ends=True, workers=2),
    World("a standby that is promoted, later tries", forgets="promote", **{**FORGETFUL, "attempts": 2}),
    World(
        "first payments on two cards, of which some become inactive",
        first_payment=True,
        cards=2,
        card_changes=True,
        inactive_cards=True,
        **CALM,
    ),
    World("first payments that are tried again, late money", first_payment=True, late_money=True, **CALM),
    World("first payments, and refusals that are not true, tried again", first_payment=True, **LYING),
    World("first payments that two workers charge", first_payment=True, workers=2, **CALM),
    World("a clock that steps back, late money", clock="back", late_money=True, **CALM),
    World(
        "a clock that steps forward, absence permits", clock="forward", retry_after_absence=True, lag_ends=True, **CALM
    ),
]


@dataclass(frozen=True)
class Guard:
    """What is taken away, the world in which that does harm, and the harm that is found."""

    name: str
    what: str
    world: World
    harm: str
    forgets: bool = False  # the harm is that something is left undone for ever
    also: tuple[str, ...] = ()  # other guards of the same promise, taken away with it

    def without(self) -> World:
        return replace(self.world, name=f"without {self.name}", removed=frozenset({self.name, *self.also}))


ONE = World("one invoice")
TWO = World("two invoices", invoices=2, attempts=1, **CALM)
FIRST = World("a first payment", first_payment=True, **CALM)
PUT_BACK = World("put back", forgets="restore", opened=True, **FORGETFUL)
BACK = World("clock back", clock="back", attempts=1, again=1, **CALM)
FORWARD = World("clock forward", clock="forward", attempts=1, again=1, **CALM)
EXPIRED = "a subscription expires while attempt 0 may still take its money"
EXPIRED_OPEN = "the subscription of invoice 0 is expired, and an outcome of it is open"
TOO_SOON = "a period is opened before it is due"
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
          replace(ONE, foreign="before", echo="proved_absent"), NOT_ITS_MONEY),
    Guard("order_with_two_possible_makers", "where nothing is echoed, an order that two attempts may have made is "
          "given to none", replace(TWO, echo="proved_absent", releases=True), NOT_ITS_MONEY),
    Guard("preflight", "cards are read before another try", replace(ONE, late_money=True), ASKED_AGAIN),
    Guard("preflight_of_every_card", "every card that was tried is read",
          replace(ONE, cards=2, card_changes=True, late_money=True), ASKED_AGAIN),
    Guard("arm_takes_the_look_back", "a look made before the previous try permits nothing",
          replace(ONE, attempts=3, **LYING), "a request left while attempt"),
    Guard("lists_catch_up_after_a_refusal", "after a refusal a look excludes nothing until lists have caught up",
          replace(ONE, **LYING), TAKEN),
    Guard("absence_by_elapsed_time", "absence counts by the time that has passed, not by how often was read",
          replace(ONE, forged_hints=True, lag_ends=True), "is called absent before the list had the time"),
    Guard("watch_after_the_end", "cards are read after the end too",
          World("after the end", attempts=1, late_money=True, watched=True, **CALM),
          "something is left undone", forgets=True),
    Guard("complete_read_only", "a list that was cut short is no list", replace(ONE, late_money=True), ASKED_AGAIN),
    Guard("attempts_armed_meanwhile_are_asked", "an order of an attempt armed during a read is not unexplained",
          replace(TWO, slow_reads=True), "an order of our own is called unexplained"),
    Guard("evidence_is_told_once", "the same evidence told twice counts once",
          replace(ONE, rungs=3, stale_reads=True), "one read counted twice"),
    Guard("money_is_heard_again_after_a_decision", "money counts also when it was found before a person decided",
          replace(ONE, people_err=True, stale_reads=True), IN_NO_BOOKS),
    Guard("surplus_rule", "money beyond the invoice's is recorded as surplus", replace(ONE, late_money=True),
          IN_NO_BOOKS),
    Guard("witness", "a marker that was sent and is not in the database stops everything", PUT_BACK, TAKEN),
    Guard("witness_before_sending", "the witness knows a marker before its request leaves",
          replace(PUT_BACK, workers=2), TAKEN),
    Guard("witness_of_every_process", "every process that arms has a witness of its own",
          World("put back, two invoices", forgets="restarted", **APART, **FORGETFUL), "a request left while attempt"),
    Guard("witness_is_read_again", "the witness is read again before a request leaves",
          replace(PUT_BACK, forgets="clone_beside"), TAKEN),
    Guard("own_marker_is_looked_for", "where another process armed meanwhile, the own attempt is looked for as well",
          replace(PUT_BACK, workers=2), TAKEN),
    Guard("identity", "a database that is in another cluster, or on another timeline, stops everything",
          replace(PUT_BACK, forgets="promote", workers=2), TAKEN, also=("own_marker_is_looked_for",)),
    Guard("unknown_host", "a host without a witness charges nothing", replace(PUT_BACK, forgets="moved"), TAKEN),
    Guard("reads_before_lifting", "a quarantine is lifted when every card was read", PUT_BACK, ASKED_AGAIN),
    Guard("reads_after_the_lag", "a read in quarantine begins after lists have caught up", PUT_BACK, TAKEN),
    Guard("found_payments", "an order of ours that the database does not have pays its invoice", PUT_BACK,
          ASKED_AGAIN, also=("what_is_cleared_is_explained",)),
    Guard("answer_by_marker", "an answer knows its attempt by its marker, not by the id of a row",
          replace(PUT_BACK, workers=2), "an answer settles an attempt that it is not about"),
    Guard("orphans_on_record", "an answer that fits no attempt is put on record", PUT_BACK,
          "an answer with money is on no record"),
    Guard("one_invoice_per_due_date", "a subscription has one invoice for a due date", BACK,
          "day 0 was charged twice", also=("resumed_after_the_last_period", "clock_check_at_resuming")),
    Guard("clock_check_at_opening", "nothing is opened by a clock that is known to be off", FORWARD, TOO_SOON),
    Guard("clock_check_at_pausing", "nothing is paused by a clock that is known to be off", FORWARD, TOO_SOON),
    Guard("clock_check_at_resuming", "nothing is resumed by a clock that is known to be off", FORWARD,
          "a period that is still to come is left out"),
    Guard("clock_check_at_arming", "nothing is armed by a clock that is known to be off",
          replace(BACK, attempts=2, again=0, late_money=True), ASKED_AGAIN),
    Guard("waits_for_its_payment", "a subscription that pays first is active once it has paid", FIRST,
          "started its subscription, and was not paid"),
    Guard("expiry_after_the_outcome", "nothing expires while an outcome of it is open", FIRST, EXPIRED_OPEN),
    Guard("expiry_under_the_locks", "what expires is decided under the locks", FIRST, EXPIRED_OPEN),
    Guard("expiry_after_what_is_due", "nothing expires while a charge of it is due",
          replace(FIRST, **LYING), EXPIRED, also=("expiry_after_a_read",)),
    Guard("expiry_after_a_read", "after a refusal nothing expires before the cards were read",
          replace(FIRST, **LYING), EXPIRED),
    Guard("expiry_in_a_recognised_database", "nothing expires in a database that is not recognised",
          replace(PUT_BACK, first_payment=True, opened=False), EXPIRED),
    Guard("expiry_without_a_held_card", "nothing expires while a card of its customer is held",
          replace(PUT_BACK, first_payment=True, opened=False, echo="none"), EXPIRED),
]  # fmt: skip

# Not ours to enforce: what is taken to be so of the gateway, of people and of machines. Each with the harm that is done
# where it is not.
ASSUMED = [
    Guard("lag_ends", "where absence may permit another try: lists lag less than the long window",
          World("absence permits", retry_after_absence=True), TAKEN),
    Guard("inactive_cards_take_nothing", "an inactive card that answered with an error took no money",
          World("errors that took money", inactive_cards=True, errors_take_money=True, cards=2, card_changes=True,
                **CALM), TAKEN),
    Guard("lists_lag_less_than_the_quarantine", "lists lag less than a quarantine lasts", PUT_BACK, TAKEN),
    Guard("what_is_cleared_is_explained", "where nothing is echoed, a person frees a card only after its orders are "
          "written down", replace(PUT_BACK, echo="none"), ASKED_AGAIN),
    Guard("one_installation_is_lifted", "of two installations one is switched off before the other goes on",
          replace(PUT_BACK, forgets="clone_files"), TAKEN),
    Guard("switched_off_before_the_reads", "it is switched off before the cards are read for the other",
          replace(PUT_BACK, forgets="clone_files"), TAKEN),
    Guard("unknown_host_where_nothing_was_charged", "a copy that goes to a new host is no older than the first charge",
          replace(PUT_BACK, forgets="moved"), TAKEN),
    Guard("hosts_share_a_witness", "the hosts of one database share a witness",
          World("put back, two hosts", forgets="restarted", **APART, **FORGETFUL), TAKEN),
    Guard("clock_check_at_looking", "where absence may permit another try: nothing is read by a clock that is ahead",
          World("absence permits", clock="forward", retry_after_absence=True, lag_ends=True, **CALM), TAKEN),
]  # fmt: skip
