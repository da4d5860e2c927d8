"""send: messages to customers that are due are sent, each once.

1. claim: a few messages of an account are leased, in one commit (*sending*);
2. prepare: what each says now, or why it is not sent any more;
3. send, with no transaction and no connection to the database held;
4. record: sent, refused for good, or tried again later.

A worker that dies between 3 and 4 leaves a message that may have been sent. A receipt or the note of a refund is
sent again only by a person: two of them look like two payments. Any other is sent again, with the same Message-ID: a
notice that never comes is worse than one that comes twice (ADR 0026, 0027)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import connection

from billing.domain.messages import LEGAL, Language, MessageKind, MessageState, retry_at
from billing.mailing.letters import letter_of
from billing.mailing.render import render
from billing.mailing.transport import (
    AddressRefusedError,
    NotSentError,
    PutOffError,
    ServerAwayError,
    Transport,
    mail_to,
)
from billing.models import MailSettings, Message
from billing.models.bulk import mailing
from billing.models.bulk.mailing import NO_ADDRESS, SILENCED, Claimed, Outcome
from billing.operating import troubles
from billing.subscriptions.payment_links import address_of, payment_link

BATCH = 10
# Then others that share the worker have their turn; the rest goes with the next tick.
SEND_FOR = timedelta(seconds=30)
NOT_TRIED_WAIT = timedelta(seconds=30)
GIVEN_UP = "the mail server did not accept it for a day"
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A mail and its message; or, without a mail, why there is none."""

    claimed: Claimed
    mail: EmailMultiAlternatives | None
    outcome: Outcome


def send_due(*, clock: Clock, should_stop: Callable[[], bool], send_for: timedelta = SEND_FOR) -> int:
    """Sends what is due, a few of each account in turn; how many the server accepted. Nothing without a mail server.

    A server that hangs holds up nothing for longer than one mail: the others wait without being tried."""
    if not settings.KITARAN_SENDS_MAIL:
        return 0
    mailing.give_up_interrupted(now=clock())
    until = clock() + send_for
    sent, waiting = 0, mailing.accounts_with_mail(now=clock())
    with Transport() as transport:
        while waiting:
            more = []
            for account_id in waiting:
                if should_stop() or clock() >= until:
                    break
                with troubles.isolated(account_id, "mail", clock):
                    claimed = mailing.claim(account_id, now=clock(), limit=BATCH)
                    more += [account_id] if len(claimed) == BATCH else []
                    sent += _send(claimed, transport, clock)
            waiting = more
    return sent


def _send(claimed: list[Claimed], transport: Transport, clock: Clock) -> int:
    """Raises what kept a mail from being written or sent, after all outcomes are recorded."""
    prepared, failure = _prepare(claimed, clock())
    if not connection.in_atomic_block:
        connection.close()
    outcomes: list[tuple[Claimed, Outcome]] = []
    away = False
    for one in prepared:
        if away and one.mail is not None:
            outcomes.append((one.claimed, _not_tried(clock())))
            continue
        outcome, error = _send_one(one, transport, clock())
        outcomes.append((one.claimed, outcome))
        failure, away = failure or error, away or isinstance(error, ServerAwayError)
    recorded = [outcome for one, outcome in outcomes if mailing.finish(one, outcome)]
    if failure:
        raise failure
    return sum(outcome.state is MessageState.SENT for outcome in recorded)


def _prepare(claimed: list[Claimed], now: datetime) -> tuple[list[_Prepared], Exception | None]:
    """One that cannot be written is tried again later; the others are sent."""
    messages = Message.objects.select_related("customer__account").in_bulk([one.id for one in claimed])
    accounts = {message.account_id for message in messages.values()}
    looks = {row.account_id: row for row in MailSettings.objects.filter(account_id__in=accounts)}
    prepared, failure = [], None
    for one in claimed:
        message = messages[one.id]
        try:
            prepared.append(_prepare_one(one, message, looks.get(message.account_id or 0), now))
        except Exception as error:  # noqa: BLE001  (it is raised again when the others are sent)
            failure = failure or error
            prepared.append(_Prepared(one, None, _later(one, now)))
    return prepared, failure


def _prepare_one(claimed: Claimed, message: Message, look: MailSettings | None, now: datetime) -> _Prepared:
    kind, customer = MessageKind(message.kind), message.customer
    if look is None or not look.enabled or kind.value in look.kinds_off or customer is None:
        return _Prepared(claimed, None, Outcome(state=MessageState.CANCELED, reason="the account does not send it"))
    if customer.silenced and kind not in LEGAL:
        return _Prepared(claimed, None, Outcome(state=MessageState.SILENCED, reason=SILENCED))
    if not customer.email:
        return _Prepared(claimed, None, Outcome(state=MessageState.CANCELED, reason=NO_ADDRESS))
    letter = letter_of(message, look)
    if letter.stale:
        return _Prepared(claimed, None, Outcome(state=MessageState.CANCELED, reason=letter.stale))
    page = payment_link(customer, now=now).url
    values = {**letter.values, "cancel_url": look.cancel_url or (page if customer.account.payers_may_cancel else "")}
    content = render(kind, Language(message.language), values, look, page_url=page)
    mail = mail_to(customer.email, content, look, message_id=message.public_id)
    # Whoever reads it later in the admin or the API may not be allowed what the link allows.
    kept = content.text.replace(page, address_of("…"))
    accepted = Outcome(
        state=MessageState.SENT, sent_at=now, to_address=customer.email, subject=content.subject, text=kept
    )
    return _Prepared(claimed, mail, accepted)


def _send_one(one: _Prepared, transport: Transport, now: datetime) -> tuple[Outcome, Exception | None]:
    if one.mail is None:
        return one.outcome, None
    try:
        name = transport.send(one.mail)
    except AddressRefusedError as error:
        return replace(one.outcome, state=MessageState.REFUSED, reason=error.reason, sent_at=None), None
    except PutOffError:
        return _later(one.claimed, now), None
    except NotSentError as error:
        return _later(one.claimed, now), error
    return replace(one.outcome, sent_at=now, provider_id=name), None


def _not_tried(now: datetime) -> Outcome:
    """Sooner than what was tried in vain, so that it is not always behind the same mail."""
    return Outcome(state=MessageState.PENDING, reason="not accepted yet", again_at=now + NOT_TRIED_WAIT, tried=False)


def _later(claimed: Claimed, now: datetime) -> Outcome:
    again = retry_at(claimed.tries, now)
    if again is None:
        return Outcome(state=MessageState.REFUSED, reason=GIVEN_UP)
    return Outcome(state=MessageState.PENDING, reason="not accepted yet", again_at=again)
