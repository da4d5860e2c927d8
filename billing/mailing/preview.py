"""What a message would look like: with the account's newest object of its kind, or with made-up values."""

from datetime import datetime
from typing import Any

from django.core.mail import EmailMultiAlternatives
from django.db.models import Model

from billing.domain.messages import Language, MessageKind, NoticeReason
from billing.ids import new_id
from billing.mailing.letters import letter_of
from billing.mailing.render import Rendered, render
from billing.mailing.samples import sample
from billing.mailing.transport import AddressRefusedError, NotSentError, Transport, mail_to
from billing.models import GatewayAccount, Invoice, MailSettings, Message, PaymentMethod, Refund, Subscription

K = MessageKind
_ABOUT: dict[MessageKind, tuple[type[Model], dict[str, Any]]] = {
    K.ENROLLED: (Subscription, {"next_due_at__isnull": False}),
    K.NOTICE: (Subscription, {"next_due_at__isnull": False}),
    K.RECEIPT: (Invoice, {"state": "paid"}),
    K.PAYMENT_FAILED: (Invoice, {"tries__gt": 0}),
    K.LAST_WARNING: (Invoice, {"tries__gt": 0}),
    K.PAUSED: (Subscription, {"state": "paused"}),
    K.ENDED: (Subscription, {"state": "canceled"}),
    K.EXPIRED: (Subscription, {"state": "expired"}),
    K.CARD_NEEDED: (Subscription, {"state": "incomplete"}),
    K.CARD_SWITCHED_OFF: (PaymentMethod, {"state": "inactive"}),
    K.REFUNDED: (Refund, {"state": "succeeded"}),
}
# A button of a preview leads nowhere.
NO_LINK = "#"


def preview(
    account: GatewayAccount, settings: MailSettings, kind: MessageKind, language: Language, *, now: datetime
) -> Rendered:
    values = sample(kind, language, settings, now=now)
    model, condition = _ABOUT[kind]
    row = model._default_manager.filter(account=account, **condition).order_by("-pk").first()
    if row is not None:
        real = letter_of(_about(row, kind, language), settings).values
        values |= {name: value for name, value in real.items() if value not in ("", None)}
    values["cancel_url"] = settings.cancel_url or (NO_LINK if account.payers_may_cancel else "")
    return render(kind, language, values, settings, page_url=NO_LINK)


def _about(row: Any, kind: MessageKind, language: Language) -> Message:
    details: dict[str, Any] = {"tries_left": 1}
    if kind is K.NOTICE:
        details |= {
            "due_at": row.next_due_at.isoformat(),
            "amount_minor": row.amount_minor,
            "reason": NoticeReason.TRIAL_ENDS.value,
        }
    return Message(kind=kind.value, language=language.value, subject_id=row.pk, details=details)


def send_preview(content: Rendered, settings: MailSettings, *, address: str, now: datetime) -> bool:
    """Sends it to a person of the staff; False: the mail server did not accept it."""
    mail: EmailMultiAlternatives = mail_to(address, content, settings, message_id=new_id("test", now))
    try:
        with Transport() as transport:
            transport.send(mail)
    except (AddressRefusedError, NotSentError):
        return False
    return True
