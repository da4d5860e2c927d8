"""What a process may arm, account by account, and what it reports to the account of its charges in return."""

import secrets
from collections.abc import Callable
from datetime import datetime

from billing.charging.attempts.pace import Paced, exchange
from billing.charging.collecting.flight import Flight
from billing.domain.outcomes import Outcomes
from billing.models import GatewayAccount
from billing.operating.tuning import Tuning


class Permits:
    """One worker's share of each account's pace. Outcomes are kept until an exchange has reported them."""

    def __init__(self, worker: str, flight: Flight, tuning: Tuning, clock: Callable[[], datetime]) -> None:
        self._share_name = f"{worker} {secrets.token_hex(4)}"
        self._flight = flight
        self._tuning = tuning
        self._clock = clock
        self._outcomes: dict[int, Outcomes] = {}
        self._sized: set[int] = set()

    def ask(self, account: GatewayAccount, wanted: int, *, may_probe: bool = False) -> Paced:
        """Reports what came of the account's charges, and asks for at most `wanted` more."""
        outcomes = self._outcomes.get(account.pk, Outcomes())
        paced = exchange(
            account=account,
            worker=self._share_name,
            in_flight=self._flight.of(account.pk),
            wanted=max(wanted, 0),
            may_probe=may_probe,
            outcomes=outcomes,
            check_size=account.pk not in self._sized,
            tuning=self._tuning,
            now=self._clock(),
        )
        self._outcomes.pop(account.pk, None)
        self._sized.add(account.pk)
        return paced

    def outcomes_of(self, account_id: int) -> Outcomes:
        """To be added to; reported with the next exchange."""
        return self._outcomes.setdefault(account_id, Outcomes())

    def unreported(self) -> list[int]:
        """The accounts that have outcomes to report."""
        return list(self._outcomes)

    def forget(self, account_id: int) -> None:
        """The account's pace cannot be written."""
        self._outcomes.pop(account_id, None)

    def give_back_all(self) -> None:
        """An empty report gives back what was permitted and not used."""
        for account_id in self._sized:
            self.outcomes_of(account_id)
