"""Filling an empty installation, through the same use cases as everybody else.

Each step first looks for what it would make, so a seeding that was interrupted goes on where it stopped, and a
second run makes nothing.
"""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from billing.accounts.change_account import change_account
from billing.accounts.gateway_accounts import move_simulator, open_account
from billing.demo.catalogue import MERCHANT, SEEDS, Begins, Seed
from billing.demo.simulator import Hello, SimulatorError, bind_as_browser
from billing.domain.arming import Environment
from billing.domain.money import Price
from billing.domain.recurrence import Recurrence
from billing.domain.schedules import Interval, Schedule, occurrences
from billing.domain.subscriptions import ActivatesOn, CardState
from billing.mailing.change_settings import change_mail_settings
from billing.models import Customer, GatewayAccount, PaymentMethod, Plan, Subscription
from billing.subscriptions.cards import confirm_binding, start_binding
from billing.subscriptions.customers import create_customer
from billing.subscriptions.plans import create_plan
from billing.subscriptions.start import start_subscription

SENDER = "hello@kedai.example"
LONGEST_INTERVAL = timedelta(days=40)
# A subscription that is due has started so long before its occurrence: on the same day, and before it.
LEAD = timedelta(minutes=40)
_CHARGE_TIMES = (time(9, 0), time(6, 0))
_BEFORE, _AFTER = timedelta(hours=1), timedelta(minutes=10)


def find_account(hello: Hello) -> GatewayAccount | None:
    """The account of this simulator's merchant, with its addresses as they are today."""
    account = GatewayAccount.objects.filter(environment=Environment.SIMULATOR.value, client_id=hello.client_id).first()
    if account is not None and (account.oauth_url, account.api_url) != (hello.oauth_url, hello.api_url):
        move_simulator(account=account, oauth_url=hello.oauth_url, api_url=hello.api_url)
        account.refresh_from_db()
    return account


def create_account(hello: Hello, *, now: datetime) -> GatewayAccount:
    """The simulator lists an order at once, so that a false refusal is found out without an hour's wait."""
    account = open_account(
        name=MERCHANT,
        environment=Environment.SIMULATOR,
        client_id=hello.client_id,
        client_secret=hello.client_secret,
        private_key_pem=hello.private_key,
        gateway_public_key=hello.server_public_key,
        store_id=hello.store_id,
        oauth_url=hello.oauth_url,
        api_url=hello.api_url,
        now=now,
    )
    changes, reason = {"list_lag_seconds": 0}, "the simulator's lists do not lag"
    change_account(account=account, changes=changes, reason=reason, actor="demo", now=now)
    mail, why = {"enabled": True, "sender_address": SENDER}, "the mail of a demo goes to a folder"
    change_mail_settings(account=account, changes=mail, reason=why, actor="demo", now=now)
    account.refresh_from_db()
    return account


def seed(account: GatewayAccount, *, return_url: str, clock: Callable[[], datetime]) -> int:
    """Customers, cards, plans and subscriptions that are not there yet; how many subscriptions were started."""
    known = set(Subscription.objects.filter(account=account).values_list("reference", flat=True))
    missing = [(number, one) for number, one in enumerate(SEEDS, 1) if one.slug not in known]
    if not missing:
        return 0
    now = clock()
    charge_time = quiet_charge_time(now.astimezone(ZoneInfo(account.time_zone)))
    for number, one in missing:
        _seed_one(account, one, number, charge_time=charge_time, return_url=return_url, now=now)
    return len(missing)


def _seed_one(
    account: GatewayAccount, one: Seed, number: int, *, charge_time: time, return_url: str, now: datetime
) -> None:
    plan = _plan(account, one, charge_time, now=now)
    begins_at = beginning(one, charge_time=plan.charge_time, zone=plan.time_zone, now=now)
    customer = _customer(account, one, number, now=begins_at)
    _card(customer, one, return_url=return_url, now=begins_at)
    start_subscription(
        customer=customer,
        plan=plan,
        reference=one.slug,
        charge_at_start=one.begins is Begins.AT_ONCE,
        now=begins_at,
        actor="demo",
    )


def _plan(account: GatewayAccount, one: Seed, charge_time: time, *, now: datetime) -> Plan:
    found = Plan.objects.filter(account=account, code=one.plan_code).order_by("-version").first()
    return found or create_plan(
        account=account,
        code=one.plan_code,
        name=one.product,
        price=Price(one.amount_minor),
        recurrence=Recurrence(Interval(one.interval), one.target, one.every, charge_time, account.time_zone),
        trial_days=one.trial_days,
        activates_on=ActivatesOn.CARD,  # all are customers of before the demo, and begin days ago
        now=now,
    )


def _customer(account: GatewayAccount, one: Seed, number: int, *, now: datetime) -> Customer:
    found = Customer.objects.filter(account=account, reference=one.slug).first()
    return found or create_customer(
        account=account,
        reference=one.slug,
        name=one.customer,
        email=f"{one.slug}@example.com",
        phone_number=f"1234567{number:02}",
        now=now,
    )


def _card(customer: Customer, one: Seed, *, return_url: str, now: datetime) -> None:
    if PaymentMethod.objects.filter(customer=customer, state=CardState.ACTIVE.value, is_default=True).exists():
        return
    card = start_binding(customer=customer, return_url=return_url, now=now)
    bound = bind_as_browser(card.payment_url, card=one.card.value, name=one.customer)
    if not (bound and confirm_binding(card=card, now=now)):
        raise SimulatorError(f"The card of {one.customer} was not saved.")


def beginning(one: Seed, *, charge_time: time, zone: str, now: datetime) -> datetime:
    """When the subscription begins so that exactly one period is due at `now`, or none."""
    if one.begins is not Begins.BEFORE_LAST:
        return now
    earliest = now - LONGEST_INTERVAL
    # Every matching day, whatever `every` says: the one that is found becomes the subscription's first.
    schedule = Schedule(Interval(one.interval), one.target, earliest.date(), 1, charge_time, zone)
    last = earliest
    for due_at in occurrences(schedule, earliest):
        if due_at > now:
            break
        last = due_at
    return last - LEAD


def quiet_charge_time(local_now: datetime) -> time:
    """A time of day that is neither just over nor about to come, so that what is due does not change meanwhile."""
    for charge_time in _CHARGE_TIMES:
        today = datetime.combine(local_now.date(), charge_time, local_now.tzinfo)
        if not today - _BEFORE <= local_now <= today + _AFTER:
            return charge_time
    raise AssertionError("the charge times are hours apart")
