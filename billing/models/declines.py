"""What an account's staff decided about the codes of declines."""

from django.db import models
from django.db.models import Q

from billing.domain.declines import DeclineKind
from billing.models.accounts import GatewayAccount
from billing.models.choices import any_of, choices


class DeclineRuling(models.Model):
    """The kind that a code of declines has for this account, other than the table's (`domain.declines`).

    `code` is in capital letters."""

    account = models.ForeignKey(GatewayAccount, on_delete=models.PROTECT)
    code = models.TextField()
    kind = models.TextField(choices=choices(DeclineKind))
    decided_by = models.TextField()
    reason = models.TextField()
    decided_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "code"), name="one_ruling_per_decline_code"),
            any_of("kind", DeclineKind, name="decline_ruling_kind_known"),
            models.CheckConstraint(condition=~Q(code="") & ~Q(reason=""), name="decline_ruling_says_what_and_why"),
        )

    def __str__(self) -> str:
        return f"{self.code}: {self.kind}"
