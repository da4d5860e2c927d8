"""One mail through Django's mail framework, and what the server's answer means.

No address and no word of a server reaches a log: both stay in the message's row."""

from collections.abc import Sequence
from email.utils import formataddr
from smtplib import (
    SMTPConnectError,
    SMTPDataError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from typing import Any, Self

from django.core.mail import EmailMultiAlternatives, get_connection

from billing.mailing.render import Rendered
from billing.models import MailSettings

LONGEST_REASON = 200


class AddressRefusedError(Exception):
    """The server will never deliver to this address; `reason` is what it answered."""

    def __init__(self, reason: str) -> None:
        super().__init__("the mail server refused the address")
        self.reason = reason[:LONGEST_REASON]


class NotSentError(Exception):
    """The mail was not accepted; the same may succeed later. Its text holds no address."""


def mail_to(address: str, content: Rendered, settings: MailSettings, *, message_id: str) -> EmailMultiAlternatives:
    """A mail of the account. The same message always has the same Message-ID, so that a second copy is known as one."""
    domain = settings.sender_address.rpartition("@")[2]
    mail = EmailMultiAlternatives(
        subject=content.subject,
        body=content.text,
        from_email=formataddr((settings.sender_name, settings.sender_address)),
        to=[address],
        reply_to=[settings.reply_to] if settings.reply_to else None,
        headers={"Message-ID": f"<{message_id}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    mail.attach_alternative(content.html, "text/html")
    return mail


class ServerAwayError(NotSentError):
    """The server cannot be reached, or hangs: the next mail would wait as long."""


class PutOffError(NotSentError):
    """The server does not accept mail to this address now; nothing is wrong with the server."""


class Transport:
    """A connection to the mail server, used for some mails. Only the first of them opens it."""

    def __init__(self) -> None:
        self._connection = get_connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def send(self, mail: Any) -> str:
        """Returns the name that the provider gave the mail, if it gives names. Raises AddressRefusedError,
        NotSentError and its kinds."""
        try:
            self._connection.open()
            accepted = self._connection.send_messages([mail])
        except Exception as error:  # noqa: BLE001  (whatever ails the server or a provider's library)
            self._close()
            if reason := refusal(error):
                raise AddressRefusedError(reason) from None
            if isinstance(error, SMTPRecipientsRefused):
                raise PutOffError("the mail server put the mail off") from None
            away = isinstance(error, TimeoutError | ConnectionError | SMTPServerDisconnected | SMTPConnectError)
            raise (ServerAwayError if away else NotSentError)(f"the mail server failed: {safe_name(error)}") from None
        if accepted != 1:
            raise NotSentError("the mail server did not accept the mail")
        return provider_id(mail)

    def _close(self) -> None:
        try:
            self._connection.close()
        except Exception:  # noqa: BLE001  (it was of no use any more)
            self._connection = get_connection()


def refusal(error: Exception) -> str:
    """What the server answered, when it refused the address or the mail for good; else nothing.

    A sender or a log-in that it refuses is a setting of ours: that is mended, and the mail is sent."""
    match error:
        case SMTPRecipientsRefused():
            answers: Sequence[tuple[int, bytes]] = list(error.recipients.values())
            return _answer(*answers[0]) if answers and all(_is_final(code) for code, _ in answers) else ""
        case SMTPSenderRefused():
            return ""
        case SMTPDataError():
            return _answer(error.smtp_code, error.smtp_error) if _is_final(error.smtp_code) else ""
        case _:
            return "the provider refused the address" if type(error).__name__ == "AnymailRecipientsRefused" else ""


def _is_final(code: int) -> bool:
    return 500 <= code < 600


def _answer(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"{code} {' '.join(text.split())}"


def safe_name(error: Exception) -> str:
    code = getattr(error, "smtp_code", None) or getattr(error, "status_code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def provider_id(mail: Any) -> str:
    status = getattr(mail, "anymail_status", None)
    return str(getattr(status, "message_id", None) or "")
