"""What a settlement does to subscriptions that wait for their first payment (`subscriptions.first_payment`)."""

from datetime import datetime

from billing.domain.reasons import Reason
from billing.models import Subscription
from billing.models.bulk import opening, settling
from billing.subscriptions.first_payment import schedule_from


class FirstPayments:
    """Collected while findings are applied, and written with the rest of the settlement."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._started: list[opening.Started] = []
        self._declined: list[tuple[int, int]] = []

    def paid(self, subscription: settling.SubscriptionRow, attempt: settling.AttemptRow) -> None:
        """The schedule runs from when the charge was started, however late its outcome came; money that came after the
        attempt had ended without it starts the subscription now. Raises ScheduleError: then nothing is settled."""
        at = self._now if attempt.state_reason == Reason.LATE_MONEY else attempt.armed_at
        started = schedule_from(Subscription.objects.get(pk=subscription.id), at)
        subscription.next_due_at = started.next_due_at
        self._started.append(started)

    def declined(self, subscription: settling.SubscriptionRow, invoice: settling.InvoiceRow) -> None:
        """Only another card or a person has it tried again."""
        invoice.next_attempt_at = None
        self._declined.append((subscription.id, invoice.id))

    def write(self) -> None:
        opening.write_started(self._started)
        opening.wait_for_another_card(self._declined, now=self._now)
