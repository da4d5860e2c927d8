"""Messages: each occasion has one, it moves along its table, and what was sent stays."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from psycopg.types.json import Json

from billing.domain.messages import MESSAGE_MOVES, MessageState
from billing.models import Message
from tests.factories import NOW, make_customer, make_mail, make_message
from tests.promises.attacks import attacks, columns, insert_copy, other_value, refused, update

pytestmark = pytest.mark.django_db
messages = import_module("billing.migrations.0023_messages")
sent_again = import_module("billing.migrations.0026_messages_sent_again")
WAITING = (MessageState.PENDING, MessageState.SENDING)
ON_THE_WAY = {
    MessageState.SENT: ("sending",),
    MessageState.UNKNOWN: ("sending",),
    MessageState.BOUNCED: ("sending", "sent"),
}


def in_state(state: MessageState) -> Message:
    message = make_message()
    for step in (*ON_THE_WAY.get(state, () if state is MessageState.PENDING else ("sending",)), state.value):
        update(message, state=step, next_try_at=NOW if step in WAITING else None)
    message.refresh_from_db()
    return message


def test_the_database_and_the_domain_have_the_same_moves() -> None:
    listed = {old: set(news) for old, news in sent_again.MESSAGE_MOVES.items()}
    assert listed == {old.value: {new.value for new in news} for old, news in MESSAGE_MOVES.items()}


@attacks("messages_move_only_along_the_table")
@pytest.mark.parametrize("old", MessageState)
def test_a_message_moves_along_the_table_only(old: MessageState) -> None:
    for new in set(MessageState) - {old} - MESSAGE_MOVES.get(old, frozenset()):
        message = in_state(old)
        with refused("messages_move_only_along_the_table"):
            update(message, state=new.value, next_try_at=NOW if new in WAITING else None)


@attacks("only_a_person_sends_an_unknown_message_again")
def test_an_unknown_message_is_sent_again_only_with_the_time_of_the_decision() -> None:
    message = in_state(MessageState.UNKNOWN)
    with refused("only_a_person_sends_an_unknown_message_again"):
        update(message, state="pending", next_try_at=NOW)
    update(message, state="pending", next_try_at=NOW, sent_again_at=NOW)
    update(message, state="sending")
    update(message, state="unknown", next_try_at=None)
    with refused("only_a_person_sends_an_unknown_message_again"):
        update(message, state="pending", next_try_at=NOW)
    update(message, state="pending", next_try_at=NOW, sent_again_at=NOW + timedelta(minutes=1))


@attacks("messages_never_change")
@pytest.mark.parametrize("column", [*messages.FROZEN_MESSAGE_COLUMNS, *messages.SENT_COLUMNS])
def test_what_was_written_and_sent_never_changes(column: str) -> None:
    message = in_state(MessageState.SENT)
    old = getattr(message, column)
    new: Any = Json({"other": 1}) if column == "details" else NOW if old is None else other_value(old)
    with refused("messages_never_change"):
        update(message, **{column: new})


def test_every_column_of_a_message_is_classified() -> None:
    free = {"state", "state_reason", "next_try_at", "tries", "provider_id", "sent_again_at"}
    assert {*messages.FROZEN_MESSAGE_COLUMNS, *messages.SENT_COLUMNS, *free} == set(columns(Message))


@attacks("a_message_is_written_once", "billing_message_public_id_key", "billing_mailsettings_account_id_key")
def test_an_occasion_has_one_message() -> None:
    message, mail = make_message(), make_mail()
    with refused("a_message_is_written_once"):
        insert_copy(message, public_id="msg_2")
    with refused("billing_message_public_id_key"):
        insert_copy(message, occasion="another")
    with refused("billing_mailsettings_account_id_key"):
        insert_copy(mail)
    insert_copy(message, public_id="msg_2", kind="notice")


@attacks(
    "message_kind_known",
    "message_state_known",
    "message_language_known",
    "only_a_waiting_message_is_sent",
    "a_waiting_message_is_due_some_time",
)
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("message_kind_known", {"kind": "poem"}),
        ("message_state_known", {"state": "lost", "next_try_at": None}),
        ("message_language_known", {"language": "tlh"}),
        ("only_a_waiting_message_is_sent", {"state": "sent"}),
        ("a_waiting_message_is_due_some_time", {"next_try_at": None}),
        ("a_waiting_message_is_due_some_time", {"state": "sending", "next_try_at": None}),
    ],
)
def test_a_message_that_must_not_exist_is_refused(name: str, wrong: dict[str, Any]) -> None:
    message = make_message(next_try_at=NOW + timedelta(hours=1))
    with refused(name):
        insert_copy(message, **{"public_id": "msg_2", "occasion": "another", **wrong})


@attacks("mail_language_known", "mail_kinds_known", "mail_that_is_on_has_a_sender", "customer_language_known")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("mail_language_known", {"language": "tlh"}),
        ("mail_kinds_known", {"kinds_off": ["poem"]}),
        ("mail_kinds_known", {"kinds_off": ["staff"]}),
        ("mail_that_is_on_has_a_sender", {"sender_name": ""}),
        ("mail_that_is_on_has_a_sender", {"sender_address": ""}),
    ],
)
def test_mail_settings_that_must_not_exist_are_refused(name: str, wrong: dict[str, Any]) -> None:
    mail = make_mail()
    with refused(name):
        update(mail, **wrong)


def test_a_customer_has_a_language_that_is_known() -> None:
    customer = make_customer()
    update(customer, language="ms")
    with refused("customer_language_known"):
        update(customer, language="tlh")
