"""The engine's own worker of refunds, stopped between any two of its steps, which can be interleaved and lost."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, cast

from django.db import OperationalError, connection

from billing.charging.refunds import worker as refund_worker
from billing.charging.refunds.arm import ArmedRefund
from billing.charging.refunds.settle import settle_refund
from billing.domain.refunds import RefundState
from billing.gateway.connection import Gateway, GatewayUnavailableError, ReadTransaction
from billing.models.bulk import refunding
from tests.stateful.commits import broken_commit

if TYPE_CHECKING:
    from tests.stateful.world import World

# What waits, what the gateway showed of its transaction, and when it was asked.
Looked = tuple[refunding.Waiting, ReadTransaction | GatewayUnavailableError, datetime]
NO_POOL = cast("ThreadPoolExecutor", None)  # what is armed is kept here, and sent by a step of its own


class Refunder(refund_worker._Refunder):
    """What it keeps is in memory only: it is gone when its process dies."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.tuning, lambda: world.now, lambda: False)
        self._world = world
        self.looks: list[Looked] = []
        self.permissions: list[ArmedRefund] = []
        self.findings: list[refund_worker.Answered] = []  # settled once already

    @property
    def answers(self) -> list[refund_worker.Answered]:
        return self._unsettled

    @property
    def unsettled(self) -> bool:
        return bool(self._unsettled or self._unacknowledged)

    @property
    def busy(self) -> bool:
        return any((self.looks, self.permissions, self._unsettled, self._unacknowledged))

    def look(self) -> None:
        """Claims what waits, and reads its transactions."""
        for one in refunding.claim(now=self._world.now, lease=refund_worker.LEASE, limit=refund_worker.SENDERS):
            self.looks.append((one, refund_worker._read(self._world.gateway, one.transaction_id), self._world.now))

    def carry_on(self, number: int) -> None:
        """Arms what was asked for, or writes down what is known of what was sent."""
        one, seen, looked_at = self.looks.pop(number)
        if isinstance(seen, GatewayUnavailableError):
            self._not_seen(one, seen)
        elif one.state == RefundState.REQUESTED:
            self._give_back(NO_POOL, self._world.gateway, one, seen, looked_at)
        else:
            self._ask_about(one, seen)

    def carry_on_without_acknowledgement(self, number: int, *, spared: int, reached: bool) -> None:
        """COMMIT raises: that of what was seen, or, when that one is spared, that of arm."""
        with broken_commit(reached=reached, spared=spared), contextlib.suppress(OperationalError):
            self.carry_on(number)
        connection.close()

    def send(self, number: int) -> None:
        self._unsettled.append(refund_worker._send(self._world.gateway, self.permissions.pop(number)))

    def settle(self) -> None:
        self._settle_unacknowledged()
        self.findings += self._unsettled
        self._settle()

    def settle_again(self) -> None:
        for armed, finding in self.findings:
            settle_refund(armed.refund_id, finding, tuning=self._tuning, now=self._world.now)

    def lose_an_answer(self, number: int) -> None:
        self._unsettled.pop(number)

    def die(self) -> None:
        for kept in (self.looks, self.permissions, self.findings, self._unsettled, self._unacknowledged):
            cast("list[object]", kept).clear()

    def _submit(self, _pool: ThreadPoolExecutor, _gateway: Gateway, armed: ArmedRefund) -> None:
        self.permissions.append(armed)

    def _reconnect(self) -> None:
        connection.close()
