"""What one person proposes about a case, an invoice or a card, and another confirms or rejects."""

from django.db import models
from django.db.models import F, Q

from billing.domain.attempts import AttemptState
from billing.domain.closing import CLOSABLE
from billing.domain.resolution import NAMES_A_TRANSACTION, ProposalKind, ProposalOutcome
from billing.models.accounts import GatewayAccount
from billing.models.attempts import PaymentAttempt
from billing.models.choices import any_of, choices
from billing.models.customers import PaymentMethod
from billing.models.invoices import Invoice

_OPEN = ProposalOutcome.OPEN.value
_CONFIRMED = ProposalOutcome.CONFIRMED.value
_NAMES = sorted(kind.value for kind in NAMES_A_TRANSACTION)


class Proposal(models.Model):
    """A decision above the account's amount, waiting for another person. It is about one attempt, invoice or card.

    `proposed_by` and `decided_by` are names of the history; `…_user_id` is the person behind one, and is empty for
    an API key and for the command line, which are no persons. `orders` are the gateway's orders that the proposer
    looked at and decided despite of; `details` are what else it takes to carry the proposal out."""

    public_id = models.TextField(unique=True)
    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    attempt = models.ForeignKey(
        PaymentAttempt, on_delete=models.PROTECT, null=True, blank=True, related_name="proposals"
    )
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, blank=True, related_name="proposals")
    payment_method = models.ForeignKey(
        PaymentMethod, on_delete=models.PROTECT, null=True, blank=True, related_name="proposals"
    )
    kind = models.TextField(choices=choices(ProposalKind))
    transaction_id = models.TextField(blank=True, db_default="")
    orders = models.JSONField(default=list)
    details = models.JSONField(default=dict)
    reason = models.TextField()
    proposed_by = models.TextField()
    proposed_by_user_id = models.BigIntegerField(null=True)
    proposed_at = models.DateTimeField()
    outcome = models.TextField(choices=choices(ProposalOutcome))
    decided_by = models.TextField(blank=True, db_default="")
    decided_by_user_id = models.BigIntegerField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_reason = models.TextField(blank=True, db_default="")

    class Meta:
        constraints = (
            any_of("kind", ProposalKind, name="proposal_kind_known"),
            any_of("outcome", ProposalOutcome, name="proposal_outcome_known"),
            models.UniqueConstraint(
                fields=("attempt",), condition=Q(outcome=_OPEN), name="one_open_proposal_per_attempt"
            ),
            models.UniqueConstraint(
                fields=("invoice",), condition=Q(outcome=_OPEN), name="one_open_proposal_per_invoice"
            ),
            models.UniqueConstraint(
                fields=("payment_method",), condition=Q(outcome=_OPEN), name="one_open_proposal_per_card"
            ),
            models.CheckConstraint(
                condition=Q(attempt__isnull=False, invoice__isnull=True, payment_method__isnull=True)
                | Q(attempt__isnull=True, invoice__isnull=False, payment_method__isnull=True)
                | Q(attempt__isnull=True, invoice__isnull=True, payment_method__isnull=False),
                name="a_proposal_is_about_one_thing",
            ),
            models.CheckConstraint(
                condition=~Q(outcome=_CONFIRMED)
                | Q(decided_by_user_id__isnull=False)
                & ~Q(decided_by=F("proposed_by"))
                & (Q(proposed_by_user_id__isnull=True) | ~Q(decided_by_user_id=F("proposed_by_user_id"))),
                name="the_second_person_is_another",
            ),
            models.CheckConstraint(
                condition=Q(outcome=_OPEN, decided_at__isnull=True, decided_by="", decided_by_user_id__isnull=True)
                | ~Q(outcome=_OPEN) & Q(decided_at__isnull=False) & ~Q(decided_by=""),
                name="a_decided_proposal_says_by_whom",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=_NAMES) & ~Q(transaction_id="") | ~Q(kind__in=_NAMES) & Q(transaction_id=""),
                name="a_proposed_charge_names_its_transaction",
            ),
        )

    def __str__(self) -> str:
        return self.public_id


def waiting_proposals() -> models.QuerySet[Proposal]:
    """Those that another person can still decide. Not those that a payment or a read of the card was faster with."""
    about = Q(attempt__state=AttemptState.NEEDS_REVIEW.value) | Q(invoice__state__in=sorted(CLOSABLE))
    about |= Q(payment_method__held_at__isnull=False)
    return Proposal.objects.filter(about, outcome=_OPEN).order_by("pk")
