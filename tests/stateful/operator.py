"""A person who decides by what the gateway's ledger really says, and only when the engine has asked in vain."""

from billing.accounts.gateway_accounts import start_account
from billing.charging.holds import clear_hold, unexplained_orders
from billing.charging.resolve import Resolution, ResolutionError, resolve
from billing.gateway.connection import GatewayUnavailableError
from billing.models import GatewayAccount, PaymentAttempt, PaymentMethod
from tests.stateful.world import Snapshot, World

TAKEN = ("SUCCESS", "PARTIAL_REFUNDED", "FULL_REFUNDED")
OPEN = ("IN_PROCESS", "ON_HOLD")
WHO = "aisyah"


def ladder_ended(world: World, attempt: PaymentAttempt) -> bool:
    return world.now >= attempt.armed_at + world.limits.ladder[-1]


def truth(snapshot: Snapshot, attempt: PaymentAttempt) -> tuple[Resolution, str] | None:
    """What became of the attempt, with the transaction when money was taken; None while the gateway works on it."""
    found = snapshot.of_marker(attempt.marker)
    taken = [charge for charge in found if charge["status"] in TAKEN]
    if taken:
        return Resolution.CHARGED, str(taken[-1]["transaction_id"])
    if any(charge["status"] in OPEN for charge in found):
        return None
    if found and found[-1]["status"] == "FAILED":
        return Resolution.DECLINED, ""
    return Resolution.NOT_CHARGED, ""


def resolve_truthfully(world: World, snapshot: Snapshot, attempt: PaymentAttempt) -> bool:
    """False: the person waits, for the ladder's end or for the gateway."""
    found = truth(snapshot, attempt)
    if found is None or not ladder_ended(world, attempt):
        return False
    resolution, transaction_id = found
    looked_at = [order.gateway_order_id for order in unexplained_orders(attempt.payment_method_id)]
    try:
        resolve(
            attempt=attempt,
            resolution=resolution,
            reason="looked in the portal",
            actor=WHO,
            limits=world.limits,
            now=world.now,
            transaction_id=transaction_id,
            despite_orders=looked_at,
        )
    except (ResolutionError, GatewayUnavailableError):
        return False  # the gateway does not show it yet, or shows something else: another day
    return True


def do_the_days_work(world: World, snapshot: Snapshot) -> None:
    """Decides what can be decided, and lets go every card that is held."""
    for attempt in snapshot.in_state("needs_human"):
        resolve_truthfully(world, snapshot, attempt)
    for card in snapshot.cards:
        if card.held_at is not None:
            clear(world, card)


def clear(world: World, card: PaymentMethod) -> None:
    clear_hold(card=card, reason="looked in the portal", actor=WHO, now=world.now)


def start_again(world: World) -> None:
    start_account(account=GatewayAccount.objects.get(pk=world.account.pk), reason="repaired", actor=WHO, now=world.now)
