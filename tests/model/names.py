"""The steps of the model by name: what the page on money safety walks through."""

from typing import NamedTuple

from tests.model.state import State

# Who takes the step: "engine" (it will happen, sooner or later), "time" (so will this), or what nobody can count on.
STEPS: dict[str, tuple[str, str]] = {
    "open": ("engine", "a period is due: its invoice is opened"),
    "load": ("engine", "what our books know of a card is loaded, before the card is read"),
    "look": ("engine", "the card's orders are read at the gateway"),
    "record": ("engine", "what the read said is written down"),
    "choose": ("engine", "an invoice is re-checked and chosen"),
    "arm": ("engine", "an attempt is committed, and the commit is acknowledged"),
    "refused_by_a_constraint": ("engine", "the database refuses the attempt"),
    "arm_not_stored": ("fault", "arm's commit raised; nothing was stored"),
    "arm_unacknowledged": ("fault", "arm's commit raised; it was stored all the same"),
    "arm_in_limbo": ("fault", "arm's commit raised; the database is still busy with it"),
    "limbo_ends": ("time", "the database ends what it was busy with"),
    "say_not_sent": ("engine", "the process that armed without acknowledgement says that nothing was sent"),
    "send": ("engine", "the one POST leaves"),
    "expire": ("engine", "a process wakes after the window and does not send"),
    "request_lost": ("fault", "the request never reaches the gateway"),
    "refuse": ("gateway", "the gateway turns the request away before executing it"),
    "refuse_falsely": ("gateway", "the gateway says that it turned the request away, and carries it out"),
    "answer_with_an_error": ("gateway", "the gateway answers with an error that is not understood"),
    "take_in": ("gateway", "the gateway takes the request in"),
    "decide": ("gateway", "the gateway ends the charge: money or none"),
    "answer": ("gateway", "the gateway's answer reaches the process that waits for it"),
    "time_out": ("engine", "no answer came: the outcome is not known"),
    "settle": ("engine", "the answer is written down"),
    "settle_again": ("fault", "settle's commit is stored and not acknowledged: the same is told again"),
    "record_again": ("fault", "a read's commit is stored and not acknowledged: the same is told again"),
    "sweep": ("engine", "an attempt past its deadline becomes unknown"),
    "give_up_reading": ("fault", "the card cannot be read for days: the attempt goes to a person"),
    "show": ("gateway", "an order appears in the gateway's list"),
    "pay_late": ("gateway", "a failed order becomes money at the gateway's own doing"),
    "take_back": ("gateway", "the gateway takes a success back"),
    "resolve": ("person", "a person says what became of an attempt"),
    "resolve_wrongly": ("person", "a person says what is not so"),
    "release": ("person", "a person lets a card's later invoices go on"),
    "clear": ("person", "a person clears a held card"),
    "collect_after_all": ("person", "a person lets a reversed invoice be collected again"),
    "time_for_the_first_payment_passes": ("time", "the time for a first payment passes"),
    "expire_unpaid": ("engine", "a subscription that was not paid for in time expires, and its invoice is void"),
    "try_again": ("person", "somebody wants a first invoice to be tried again"),
    "write_off": ("person", "a person writes a first invoice off"),
    "change_card": ("person", "the customer names another card"),
    "window_passes": ("time", "an attempt's window passes"),
    "deadline_passes": ("time", "an attempt's deadline passes"),
    "long_window_passes": ("time", "the long window passes: absence may count, and lists have caught up"),
    "minute_passes": ("time", "a minute passes: what was read is no longer fresh"),
    "crash": ("fault", "a process is killed; what it had in memory is gone"),
    # Where the database becomes an old one.
    "back_up": ("person", "the database is copied, or a standby falls behind"),
    "restore": ("person", "the database is put back to the copy; the gateway and the processes are not"),
    "promote": ("fault", "the standby takes over; the last commits are lost"),
    "clone": ("person", "a second installation begins on a copy"),
    "switch_off": ("person", "the first installation is switched off"),
    "note": ("engine", "the process writes the marker to its witness, before the request leaves"),
    "orphan": ("engine", "an answer that fits no attempt is put on record"),
    "quarantine": ("engine", "arm finds that the database is not the one it was: nothing is armed from now on"),
    "lag_passes": ("time", "the quarantine has lasted longer than lists lag"),
    "read_in_quarantine": ("engine", "a card is read, and what we no longer know is written down"),
    "write_down": ("person", "a person says which invoice an order paid"),
    "lift": ("person", "a person lifts the quarantine"),
    # Where the database's clock steps.
    "day_passes": ("time", "a day passes"),
    "clock_steps": ("fault", "the database's clock steps"),
    "clock_is_set_right": ("time", "the database's clock is right again"),
    "pause": ("person", "a subscription is paused; what is due by then is opened before"),
    "resume": ("person", "it is resumed: its next period is the next from now on"),
}


class Step(NamedTuple):
    name: str
    detail: str
    after: State
    harm: str | None = None  # a promise that this very step broke
