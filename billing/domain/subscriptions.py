"""The states of subscriptions, cards and invoices, and which moves there are."""

from enum import StrEnum


class SubscriptionState(StrEnum):
    INCOMPLETE = "incomplete"  # waits for a usable card, or for its first payment
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"  # an invoice was declined and is being retried
    PAUSED = "paused"
    CANCELED = "canceled"
    COMPLETED = "completed"  # all repetitions are over
    EXPIRED = "expired"  # its first payment did not come in time


SS = SubscriptionState
RUNNING = frozenset({SS.TRIALING, SS.ACTIVE, SS.PAST_DUE})
ENDED = frozenset({SS.CANCELED, SS.COMPLETED, SS.EXPIRED})
STOPPED = frozenset({SS.CANCELED, SS.PAUSED})  # by a person, or by dunning
SUBSCRIPTION_MOVES: frozenset[tuple[SubscriptionState, SubscriptionState]] = frozenset(
    {
        # Completed: its first payment was the only one.
        *((SS.INCOMPLETE, to) for to in (SS.TRIALING, SS.ACTIVE, SS.CANCELED, SS.COMPLETED, SS.EXPIRED)),
        *((SS.TRIALING, to) for to in (SS.ACTIVE, SS.PAST_DUE, SS.PAUSED, SS.CANCELED, SS.COMPLETED)),
        *((SS.ACTIVE, to) for to in (SS.PAST_DUE, SS.PAUSED, SS.CANCELED, SS.COMPLETED)),
        *((SS.PAST_DUE, to) for to in (SS.ACTIVE, SS.PAUSED, SS.CANCELED, SS.COMPLETED)),
        *((SS.PAUSED, to) for to in (SS.TRIALING, SS.ACTIVE, SS.PAST_DUE, SS.CANCELED)),
    }
)


class ActivatesOn(StrEnum):
    """What makes a subscription active that is charged at its start, and has no trial."""

    CARD = "card"  # a usable card
    PAYMENT = "payment"  # its first charge is paid


class Collector(StrEnum):
    """Who charges: our engine, or the gateway's own recurring engine (whose orders we mirror)."""

    ENGINE = "engine"
    GATEWAY = "gateway"


class InvoiceState(StrEnum):
    OPEN = "open"
    PAID = "paid"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


IS = InvoiceState
INVOICE_MOVES: frozenset[tuple[InvoiceState, InvoiceState]] = frozenset(
    {
        (IS.OPEN, IS.PAID),
        (IS.OPEN, IS.UNCOLLECTIBLE),
        (IS.OPEN, IS.VOID),
        (IS.UNCOLLECTIBLE, IS.PAID),  # late money, or a person collects it
        (IS.UNCOLLECTIBLE, IS.OPEN),
        (IS.UNCOLLECTIBLE, IS.VOID),
        (IS.PAID, IS.OPEN),  # the gateway reversed the payment
    }
)


class CardState(StrEnum):
    PENDING = "pending"  # the customer has not bound a card yet
    ACTIVE = "active"
    INACTIVE = "inactive"  # the gateway says it may not be charged
    FAILED = "failed"
    REVOKED = "revoked"


class CardKind(StrEnum):
    TOKENIZED = "tokenized"
    RECURRING = "recurring"  # the gateway charges it on a schedule of its own


class OpenInvoices(StrEnum):
    """What becomes of a subscription's open invoices when a person cancels it."""

    COLLECT = "collect"  # they are collected as before
    VOID = "void"
    WRITE_OFF = "write_off"
    REVIEW = "review"  # a person decides about each


class Hold(StrEnum):
    """Why an open invoice is collected only by a person's decision."""

    CATCH_UP = "catch_up"
    REVERSED = "reversed"
    SUBSCRIPTION_CANCELED = "subscription_canceled"
    PROPOSAL = "proposal"  # one person proposed to close it, and another one decides
    ALWAYS_REFUSED = "always_refused"  # the gateway refuses its request as not valid, time after time
    PRICE_JUMPED = "price_jumped"  # a hundred times what the subscription paid before
