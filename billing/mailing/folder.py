"""A mail server for a developer's machine: each mail becomes a file that mail programs open."""

from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


class EmailBackend(BaseEmailBackend):
    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.KITARAN_MAIL_DIR)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for mail in email_messages:
            name = mail.extra_headers.get("Message-ID", token_hex(8)).strip("<>").partition("@")[0]
            (folder / f"{name}.eml").write_bytes(mail.message().as_bytes())
        return len(email_messages)
