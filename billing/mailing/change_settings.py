"""Changing how an account writes to its customers."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as installation
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from billing.domain.messages import TO_CUSTOMERS, Language, MailError
from billing.models import GatewayAccount, MailSettings
from billing.models.bulk.history import record_change, record_transition

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
STATES = {True: "mail on", False: "mail off"}
LONGEST = {"sender_name": 60, "sentence_en": 500, "sentence_ms": 500}


def settings_of(account: GatewayAccount) -> MailSettings:
    """The account's, or what they are before anybody set them: off."""
    found = MailSettings.objects.filter(account=account).first()
    return found or MailSettings(
        account=account, enabled=False, sender_name=account.name, color="#0f766e", language=Language.ENGLISH.value,
        sender_address="", reply_to="", logo_url="", sentence_en="", sentence_ms="", cancel_url="",
        notice_every_charge=False,
    )  # fmt: skip


def change_mail_settings(
    *, account: GatewayAccount, changes: Mapping[str, Any], reason: str, actor: str, now: datetime
) -> MailSettings:
    """Writes new values, with lines of history. Raises MailError, which names the field and the rule; then nothing was
    changed."""
    with transaction.atomic():
        GatewayAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        row = settings_of(account)
        differs = {name: (getattr(row, name), changes[name]) for name in sorted(changes)}
        differs = {name: (before, after) for name, (before, after) in differs.items() if before != after}
        for name, (_, after) in differs.items():
            setattr(row, name, after)
        check(row)
        row.save()
        _record(row, differs, reason=reason, actor=actor, now=now)
    return row


def _record(
    row: MailSettings, differs: Mapping[str, tuple[Any, Any]], *, reason: str, actor: str, now: datetime
) -> None:
    """One line for the switch, and one for all other settings, with the values before and after."""
    about: dict[str, Any] = {"account_id": row.account_id, "subject_type": "mail", "subject_id": row.account_id}
    others = {name: values for name, values in differs.items() if name != "enabled"}
    if others:
        state = STATES[differs["enabled"][0] if "enabled" in differs else row.enabled]
        record_change(**about, state=state, kind=None, changes=others, reason=reason, actor=actor, now=now)
    if "enabled" in differs:
        before, after = differs["enabled"]
        record_transition(
            **about, from_state=STATES[before], to_state=STATES[after], reason=reason, actor=actor, now=now
        )


def check(row: MailSettings) -> None:
    """Raises MailError for the first value that cannot be used."""
    for name in ("sender_name", "sender_address", "reply_to", "logo_url", "cancel_url", "color"):
        if _CONTROL.search(getattr(row, name)):
            raise MailError(name, "invalid", "must be one line without control characters")
    for name, most in LONGEST.items():
        if len(getattr(row, name)) > most:
            raise MailError(name, "too_long", f"must be at most {most} characters")
    for name in ("sender_address", "reply_to"):
        _check_address(name, getattr(row, name))
    for name in ("logo_url", "cancel_url"):
        _check_url(name, getattr(row, name))
    if not _COLOR.fullmatch(row.color):
        raise MailError("color", "invalid", "must be # and six digits of 0-9 and a-f, such as #0f766e")
    if row.language not in list(Language):
        raise MailError("language", "invalid", f"must be one of {', '.join(Language)}")
    if unknown := sorted(set(row.kinds_off) - set(TO_CUSTOMERS)):
        raise MailError("kinds_off", "invalid", f"{unknown[0]}: no such kind of message")
    if row.enabled:
        _check_ready(row)


def _check_ready(row: MailSettings) -> None:
    for name in ("sender_name", "sender_address"):
        if not getattr(row, name):
            raise MailError(name, "required", "must be set before mail is sent")
    if not installation.KITARAN_SENDS_MAIL:
        raise MailError("enabled", "not_usable", "must stay off until a mail server is configured (EMAIL_HOST)")


def _check_address(name: str, value: str) -> None:
    if value:
        try:
            validate_email(value)
        except ValidationError:
            raise MailError(name, "invalid", "must be an e-mail address, such as billing@example.com") from None


def _check_url(name: str, value: str) -> None:
    if value and (urlsplit(value).scheme != "https" or not urlsplit(value).hostname):
        raise MailError(name, "invalid", "must be an address that begins with https://")
