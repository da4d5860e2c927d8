"""A refund's worker that is killed at one point: `python -m tests.faults.refund_worker POINT`.

It runs the real `refund_due` against the database and the simulator that the environment names.
"""

import sys
import threading
from typing import Any

import django

from tests.faults.worker import die


def arrange(point: str) -> None:
    """Puts death at the named point of the protocol."""
    from billing.charging import refund_worker
    from billing.charging.refund_settling import RefundSettlement
    from billing.gateway.connection import Gateway

    if point == "before_arm_commits":
        apply = RefundSettlement.apply

        def apply_and_die(self: RefundSettlement, *args: Any) -> Any:
            apply(self, *args)
            die()

        RefundSettlement.apply = apply_and_die  # type: ignore[method-assign]
    elif point == "after_arm":
        refund_worker._Refunder._submit = die  # type: ignore[method-assign]
    elif point == "after_send":  # the request has left, its answer has not come
        send = Gateway.send_refund

        def send_and_die(self: Gateway, *args: Any, **kwargs: Any) -> Any:
            threading.Timer(0.4, die).start()
            return send(self, *args, **kwargs)

        Gateway.send_refund = send_and_die  # type: ignore[method-assign]
    elif point == "after_answer":
        refund_worker._Refunder._settle = _die_with_an_answer  # type: ignore[method-assign]
    elif point == "before_settle_commits":
        tell = RefundSettlement._carry_out

        def carry_out_and_die(self: RefundSettlement, to: Any, finding: Any) -> None:
            tell(self, to, finding)
            if to != "sending":
                die()

        RefundSettlement._carry_out = carry_out_and_die  # type: ignore[method-assign]
    else:
        raise SystemExit(f"no such point: {point}")


def _die_with_an_answer(self: Any) -> None:
    if self._sending:
        self._sending[0].result()
        die()


def main() -> None:
    django.setup()
    arrange(sys.argv[1])
    from billing.charging.refund_worker import refund_due
    from billing.models.clock import database_now
    from tests.conftest import SHORT

    refund_due(limits=SHORT, clock=database_now, should_stop=lambda: False)


if __name__ == "__main__":
    main()
