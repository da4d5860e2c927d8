"""Which events there are: one table of kinds, each with its object, the moves of history that write it, and its words.

A move of history from one state to another that is listed here writes its event in the same call
(`billing/models/bulk/history.py`), so that none can be forgotten. Kinds without moves are written where they happen."""

from dataclasses import dataclass
from enum import StrEnum


class ObjectType(StrEnum):
    """What an event is about, as the API calls it."""

    ACCOUNT = "account"
    CUSTOMER = "customer"
    PAYMENT_METHOD = "payment_method"
    PLAN = "plan"
    SUBSCRIPTION = "subscription"
    INVOICE = "invoice"
    ATTEMPT = "attempt"
    REFUND = "refund"
    PROPOSAL = "proposal"
    ORPHAN_ANSWER = "orphan_answer"
    WEBHOOK_ENDPOINT = "webhook_endpoint"


# What history calls otherwise. The pace and the quarantine of an account are the account's own.
_OF_SUBJECT = {
    "card": ObjectType.PAYMENT_METHOD,
    "orphan": ObjectType.ORPHAN_ANSWER,
    "pace": ObjectType.ACCOUNT,
    "quarantine": ObjectType.ACCOUNT,
}
_SUBJECTS = {ObjectType.PAYMENT_METHOD: "card", ObjectType.ORPHAN_ANSWER: "orphan"}
ANY = "*"
Move = tuple[str, str, str]  # subject of history, state before, state after


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is what the merchant's system reads; `when` completes "recorded when …"."""

    name: str
    object_type: ObjectType
    when: str
    moves: tuple[Move, ...] = ()


def _of(object_type: ObjectType, *kinds: tuple[str, str, tuple[Move, ...]]) -> tuple[Kind, ...]:
    return tuple(Kind(name, object_type, when, moves) for name, when, moves in kinds)


def _to(subject: str, *states: str) -> tuple[Move, ...]:
    return tuple((subject, ANY, state) for state in states)


O = ObjectType  # noqa: E741
KINDS: tuple[Kind, ...] = (
    *_of(
        O.CUSTOMER,
        ("customer.created", "a customer is created", _to("customer", "created")),
        ("customer.updated", "a customer's name, address, phone number or metadata changes", ()),
    ),
    *_of(
        O.PAYMENT_METHOD,
        ("payment_method.created", "a customer starts to save a card", _to("card", "pending")),
        ("payment_method.saved", "the gateway confirms that a card can be charged", _to("card", "active")),
        ("payment_method.failed", "the browser comes back without a saved card", ()),
        ("payment_method.default_changed", "another card becomes the customer's default", ()),
        ("payment_method.switched_off", "the gateway shows that a card is inactive", _to("card", "inactive")),
        ("payment_method.revoked", "a card is revoked", _to("card", "revoked")),
        ("payment_method.held", "a card is held: something about it is unexplained", _to("card", "held")),
        ("payment_method.frozen", "the bank approves nothing more: another card is needed", _to("card", "frozen")),
        ("payment_method.released", "a card may be charged again", _to("card", "free", "released")),
        ("payment_method.unreadable", "a card's orders could not be read for long", ()),
        ("payment_method.set_aside", "a person continues without a card that cannot be read", _to("card", "given up")),
        ("payment_method.unexplained_order", "the gateway shows an order that belongs to nothing here", ()),
    ),
    *_of(
        O.PLAN,
        ("plan.created", "a plan, or the next version of one, is created", _to("plan", "created")),
    ),
    *_of(
        O.SUBSCRIPTION,
        ("subscription.created", "a subscription is created", (("subscription", "", "incomplete"),)),
        ("subscription.trialing", "its trial begins or goes on", _to("subscription", "trialing")),
        ("subscription.active", "it starts, resumes, or owes nothing any more", _to("subscription", "active")),
        ("subscription.past_due", "an invoice of it was declined", _to("subscription", "past_due")),
        ("subscription.paused", "it is paused", _to("subscription", "paused")),
        ("subscription.canceled", "it is cancelled", _to("subscription", "canceled")),
        ("subscription.expired", "its first payment was not made in time", _to("subscription", "expired")),
        ("subscription.completed", "its last period is over", _to("subscription", "completed")),
        ("subscription.updated", "its card, its catch-up policy or its metadata changes", ()),
        ("subscription.not_opened", "a due period could not be opened", ()),
    ),
    *_of(
        O.INVOICE,
        ("invoice.opened", "an invoice is owed", (("invoice", "", "open"),)),
        ("invoice.skipped", "a missed period is not charged", (("invoice", "", "void"),)),
        ("invoice.paid", "an invoice is paid, by a charge or elsewhere", _to("invoice", "paid")),
        ("invoice.payment_failed", "a charge was declined, or not made because of its card's declines", ()),
        ("invoice.held", "an invoice needs review before it is charged", ()),
        ("invoice.released", "an invoice that was held is charged again", ()),
        ("invoice.uncollectible", "the last try was declined, or it is written off", _to("invoice", "uncollectible")),
        ("invoice.voided", "nothing is owed any more", _to("invoice", "void")),
        (
            "invoice.reopened",
            "its payment was reversed, or it is collected again",
            (("invoice", "paid", "open"), ("invoice", "uncollectible", "open")),
        ),
        ("payment.went_back", "the payment that a person recorded for an invoice was refunded", ()),
    ),
    *_of(
        O.ATTEMPT,
        ("attempt.succeeded", "a charge took the money", _to("attempt", "succeeded")),
        ("attempt.declined", "the bank refused a charge", _to("attempt", "declined")),
        ("attempt.not_sent", "a charge certainly did not reach the gateway", _to("attempt", "not_sent")),
        ("attempt.not_charged", "an unknown charge turns out to have taken nothing", _to("attempt", "not_charged")),
        ("attempt.unknown", "the outcome of a charge is not known yet", _to("attempt", "unknown", "in_process")),
        ("attempt.needs_review", "a person has to decide about a charge", _to("attempt", "needs_review")),
        ("attempt.still_needs_review", "it still has to be decided, once a day", ()),
        ("attempt.surplus", "an overpayment arrived", _to("attempt", "surplus")),
        ("attempt.reversed", "the gateway took a payment back", _to("attempt", "reversed")),
        ("attempt.alarm", "the gateway shows what contradicts a charge that had ended", ()),
    ),
    *_of(
        O.REFUND,
        ("refund.requested", "a refund is requested", _to("refund", "requested")),
        ("refund.sending", "a refund is sent", _to("refund", "sending")),
        ("refund.unknown", "the outcome of a refund is not known yet", _to("refund", "unknown")),
        ("refund.succeeded", "the money is refunded", _to("refund", "succeeded")),
        ("refund.failed", "nothing is refunded", _to("refund", "refused", "not_sent", "not_refunded")),
        ("refund.needs_review", "a person has to decide about a refund", _to("refund", "needs_review")),
        ("refund.alarm", "the gateway shows what contradicts a refund that had ended", ()),
    ),
    *_of(
        O.PROPOSAL,
        ("proposal.created", "a decision needs a second person", _to("proposal", "open")),
        ("proposal.still_waiting", "it still needs one, once a day", ()),
        ("proposal.decided", "it is confirmed or rejected", _to("proposal", "confirmed", "rejected")),
    ),
    *_of(
        O.ORPHAN_ANSWER,
        ("attempt.orphan_answer", "the gateway answered a charge that this database does not have", ()),
        ("refund.orphan_answer", "the gateway answered a refund that this database does not have", ()),
    ),
    *_of(
        O.ACCOUNT,
        ("account.updated", "settings of the account change", ()),
        ("account.stopped", "a person stops all charging", _to("account", "stopped")),
        ("account.started", "a person starts charging again", _to("account", "running")),
        ("account.paused", "charging pauses automatically", _to("pace", "open")),
        ("account.held", "a run needs review before it continues", _to("pace", "held")),
        ("account.resumed", "charging resumes after a pause", _to("pace", "closed")),
        ("account.quarantined", "the database may lack charges; nothing is charged", _to("quarantine", "quarantined")),
        ("account.quarantine_lifted", "a person lifts the quarantine", _to("quarantine", "lifted")),
        ("payment.unexplained", "a daily report lists a payment that belongs to nothing here", ()),
    ),
    *_of(
        O.WEBHOOK_ENDPOINT,
        (
            "webhook_endpoint.disabled",
            "an endpoint answers 410, or nothing succeeds there for five days",
            _to("webhook_endpoint", "disabled"),
        ),
        ("webhook_endpoint.test", "somebody tests an endpoint; only that one gets it", ()),
    ),
)
BY_NAME = {kind.name: kind for kind in KINDS}
_BY_MOVE = {move: kind.name for kind in KINDS for move in kind.moves}


def object_type(subject_type: str) -> ObjectType:
    """What a subject of history is to the merchant's system."""
    return _OF_SUBJECT.get(subject_type) or ObjectType(subject_type)


def kind_of_move(subject_type: str, before: str, after: str) -> str | None:
    """The event of a change of state; None for a line of history that changes no state, or that nobody waits for.

    An invoice that is held is `open (reason)` in history."""
    if before == after:
        return None
    if subject_type == "invoice" and after.startswith("open ("):
        return "invoice.held"
    if subject_type == "invoice" and before.startswith("open (") and after == "open":
        return "invoice.released"
    return _BY_MOVE.get((subject_type, before, after)) or _BY_MOVE.get((subject_type, ANY, after))


def subject_of(subject_type: str) -> str:
    """The subject under which events of a subject of history are numbered: those of an account are one sequence."""
    found = object_type(subject_type)
    return _SUBJECTS.get(found, found.value)
