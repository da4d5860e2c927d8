"""Who pays, and with which card."""

from django.db import models
from django.db.models import Q

from billing.domain.arming import Environment
from billing.domain.messages import Language
from billing.domain.subscriptions import CardKind, CardState
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices, only_if


class Customer(models.Model):
    """Who pays. `reference` is the merchant's own, unique within the account. `language` is that of their mail; None:
    the account's. One who is `silenced` gets no mail but what the card networks require. A payment link carries the
    `link_epoch` that it was made in; another one ends all links that there are."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    reference = models.TextField()
    name = models.TextField()
    email = models.TextField()
    country_code = models.TextField(db_default="60")
    phone_number = models.TextField()
    language = models.TextField(choices=choices(Language), null=True, blank=True)
    silenced = models.BooleanField(db_default=False)
    link_epoch = models.TextField(blank=True, db_default="")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "reference"), name="customer_reference_once_per_account"),
            only_if("language", Q(language__in=[one.value for one in Language]), name="customer_language_known"),
        )

    def __str__(self) -> str:
        return self.public_id


class PaymentMethod(models.Model):
    """One card bound at the gateway. `label` is the first six and last four digits, as the gateway gives it.

    `held_at` pauses the card: something about it is unexplained, and nothing is armed on it. `merchant_return_url`
    is where the merchant wants the browser after our own return page. `bind_outcome` (failed, cancelled or empty)
    and `bind_reason` are what a browser last claimed on its way back: shown and kept, never believed.

    `unread_since`: reading its orders has failed since; `unreadable_at`: for so long that a person was asked;
    `given_up_at`: a person went on without its orders. A complete read empties all three. `watch_from_at` is when its
    last attempt without money ended, `next_watch_at` when the card is read for money that came since.

    `frozen_by` is the code of a decline after which the bank approves nothing more, `rests_until` and `capped_until`
    when our limits and the network's allow a try again (`domain.card_limits`); a settled decline writes them."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="payment_methods")
    kind = models.TextField(choices=choices(CardKind), db_default=CardKind.TOKENIZED.value)
    state = models.TextField(choices=choices(CardState), db_default=CardState.PENDING.value)
    environment = models.TextField(choices=choices(Environment))
    gateway_customer_id = models.TextField(null=True, blank=True)
    label = models.TextField(blank=True, db_default="")
    payment_url = models.TextField(blank=True, db_default="")
    return_token = models.TextField(unique=True)
    merchant_return_url = models.TextField(blank=True, db_default="")
    bind_outcome = models.TextField(blank=True, db_default="")
    bind_reason = models.TextField(blank=True, db_default="")
    bind_outcome_at = models.DateTimeField(null=True, blank=True)
    is_default = models.BooleanField(db_default=False)
    # Saved by the link of a message: it becomes the card for all that the customer pays.
    takes_over = models.BooleanField(db_default=False)
    baseline_read_at = models.DateTimeField(null=True, blank=True)
    held_at = models.DateTimeField(null=True, blank=True)
    held_reason = models.TextField(blank=True, db_default="")
    unread_since = models.DateTimeField(null=True, blank=True)
    unreadable_at = models.DateTimeField(null=True, blank=True)
    given_up_at = models.DateTimeField(null=True, blank=True)
    watch_from_at = models.DateTimeField(null=True, blank=True)
    next_watch_at = models.DateTimeField(null=True, blank=True)
    watches_failed = models.IntegerField(db_default=0)
    frozen_at = models.DateTimeField(null=True, blank=True)
    frozen_by = models.TextField(null=True, blank=True)
    rests_until = models.DateTimeField(null=True, blank=True)
    capped_until = models.DateTimeField(null=True, blank=True)
    declined_at = models.DateTimeField(null=True, blank=True)  # the newest decline that these two count
    # When the newest complete read of the card for a quarantine began.
    quarantine_read_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            any_of("kind", CardKind, name="card_kind_known"),
            any_of("state", CardState, name="card_state_known"),
            any_of("environment", Environment, name="card_environment_known"),
            models.UniqueConstraint(fields=("account", "gateway_customer_id"), name="one_card_per_gateway_customer"),
            models.UniqueConstraint(
                fields=("customer",), condition=Q(is_default=True), name="one_default_card_per_customer"
            ),
            models.CheckConstraint(
                condition=~Q(state=CardState.ACTIVE.value)
                | Q(gateway_customer_id__isnull=False, baseline_read_at__isnull=False),
                name="active_card_has_its_baseline",
            ),
            only_if("held_at", ~Q(held_reason=""), name="held_card_says_why"),
            only_if("unreadable_at", Q(unread_since__isnull=False), name="only_a_card_that_was_not_read_is_unreadable"),
            only_if("given_up_at", Q(unreadable_at__isnull=False), name="only_an_unreadable_card_is_given_up"),
            models.CheckConstraint(
                condition=Q(frozen_at__isnull=True, frozen_by__isnull=True)
                | Q(frozen_at__isnull=False) & ~Q(frozen_by=""),
                name="frozen_card_says_why",
            ),
            only_if("next_watch_at", Q(watch_from_at__isnull=False), name="a_watched_card_says_since_when"),
        )
        indexes = (
            models.Index(fields=("held_at",), condition=Q(held_at__isnull=False), name="card_held"),
            models.Index(fields=("frozen_at",), condition=Q(frozen_at__isnull=False), name="card_frozen"),
            models.Index(fields=("unreadable_at",), condition=Q(unreadable_at__isnull=False), name="card_unreadable"),
            models.Index(
                fields=("account", "next_watch_at", "id"),
                condition=Q(next_watch_at__isnull=False),
                name="card_to_watch",
            ),
        )

    def __str__(self) -> str:
        return self.public_id
