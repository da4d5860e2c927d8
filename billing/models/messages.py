"""E-mails to customers and staff: what an account's mail looks like, and each mail with what came of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from billing.domain.messages import TO_CUSTOMERS, Language, MessageKind, MessageState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices, only_if
from billing.models.customers import Customer

WAITING = (MessageState.PENDING.value, MessageState.SENDING.value)


class MailSettings(models.Model):
    """How an account writes to its customers. Without this row, and while `enabled` is off, it writes nothing."""

    account = models.OneToOneField(GatewayAccount, on_delete=models.PROTECT, related_name="mail_settings")
    enabled = models.BooleanField(db_default=False)
    sender_name = models.TextField(db_default="")
    sender_address = models.TextField(db_default="")
    reply_to = models.TextField(blank=True, db_default="")
    logo_url = models.TextField(blank=True, db_default="")
    color = models.TextField(db_default="#0f766e")
    sentence_en = models.TextField(blank=True, db_default="")
    sentence_ms = models.TextField(blank=True, db_default="")
    # Where a customer cancels; empty: by replying.
    cancel_url = models.TextField(blank=True, db_default="")
    language = models.TextField(choices=choices(Language), db_default=Language.ENGLISH.value)
    kinds_off = ArrayField(models.TextField(), default=list, blank=True)
    # Also charges for which no card network requires a notice.
    notice_every_charge = models.BooleanField(db_default=False)

    class Meta:
        constraints = (
            any_of("language", Language, name="mail_language_known"),
            models.CheckConstraint(
                condition=Q(kinds_off__contained_by=[kind.value for kind in TO_CUSTOMERS]), name="mail_kinds_known"
            ),
            models.CheckConstraint(
                condition=Q(enabled=False) | ~Q(sender_name="") & ~Q(sender_address=""),
                name="mail_that_is_on_has_a_sender",
            ),
        )


class Message(models.Model):
    """One e-mail, written in the transaction of its cause: once per kind and occasion.

    Its subject of history and `details` (the event's payload) say what it is about. `next_try_at` is when a pending one
    is due, and when the lease of one that is being sent ends. What was sent is kept as it was sent. The foreign keys
    are not checked by the database: that would lock account and customer for every mail."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT, null=True, blank=True, db_constraint=False)
    customer = models.ForeignKey(
        Customer, on_delete=models.PROTECT, null=True, blank=True, db_constraint=False, related_name="messages"
    )
    kind = models.TextField(choices=choices(MessageKind))
    occasion = models.TextField()
    subject_type = models.TextField()
    subject_id = models.BigIntegerField()
    details = models.JSONField(default=dict)
    language = models.TextField(choices=choices(Language))
    state = models.TextField(choices=choices(MessageState))
    state_reason = models.TextField(blank=True, db_default="")
    created_at = models.DateTimeField()
    next_try_at = models.DateTimeField(null=True, blank=True)
    tries = models.IntegerField(db_default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    # When a person had it sent once more, not knowing whether it had arrived.
    sent_again_at = models.DateTimeField(null=True, blank=True)
    provider_id = models.TextField(blank=True, db_default="")
    to_address = models.TextField(blank=True, db_default="")
    subject = models.TextField(blank=True, db_default="")
    text = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (
            any_of("kind", MessageKind, name="message_kind_known"),
            any_of("state", MessageState, name="message_state_known"),
            any_of("language", Language, name="message_language_known"),
            models.UniqueConstraint(fields=("kind", "occasion"), name="a_message_is_written_once"),
            only_if("next_try_at", Q(state__in=WAITING), name="only_a_waiting_message_is_sent"),
            models.CheckConstraint(
                condition=Q(state__in=WAITING, next_try_at__isnull=False) | ~Q(state__in=WAITING),
                name="a_waiting_message_is_due_some_time",
            ),
        )
        indexes = (
            models.Index(
                fields=("account", "next_try_at"), condition=Q(next_try_at__isnull=False), name="message_to_send"
            ),
            models.Index(fields=("customer", "id"), name="message_of_customer"),
        )

    def __str__(self) -> str:
        return self.public_id
