"""How the engine is, from PostgreSQL alone."""

from datetime import timedelta

import pytest

from billing.charging.cases import approvals
from billing.domain.resolution import ProposalKind
from billing.models import AccountPace, GatewayAccount, Installation, Invoice
from billing.models.bulk.history import NewEvent, record_events
from billing.models.clock import database_now
from billing.notifying.publish import publish
from billing.operating.health import QUEUES, check
from billing.operating.heartbeats import beat
from tests.factories import make_account, make_card, make_invoice, make_subscription

pytestmark = pytest.mark.django_db


def all_beat() -> None:
    for queue in QUEUES:
        beat(queue=queue, worker="test", now=database_now())


def test_health_is_fine_with_every_heartbeat_and_nothing_late() -> None:
    all_beat()
    assert check(database_now()).ok


def test_a_queue_without_a_pulse_is_named() -> None:
    all_beat()
    health = check(database_now() + timedelta(seconds=61))
    assert health.silent_queues == QUEUES
    assert "queue charge has had no heartbeat" in health.problems[0]


def test_work_due_for_ten_minutes_and_not_taken_is_a_problem() -> None:
    all_beat()
    now = database_now()
    late = now - timedelta(minutes=11)
    make_invoice(next_attempt_at=late)
    make_subscription(make_card(), next_due_at=late)
    health = check(now)
    assert (health.due_but_unopened, health.due_but_unclaimed) == (True, True)
    assert len(health.problems) == 2


@pytest.mark.parametrize(
    ("state", "sentence"),
    [("open", "is paused"), ("half_open", "is paused"), ("held", "needs review")],
)
def test_account_that_pauses_while_invoices_are_due_is_a_problem(state: str, sentence: str) -> None:
    all_beat()
    now = database_now()
    invoice = make_invoice(next_attempt_at=now)
    AccountPace.objects.create(account=invoice.account, state=state, reason="no answer")
    (problem,) = check(now).problems
    assert problem == f"account {invoice.account.public_id} {problem.split(maxsplit=2)[2]}"
    assert sentence in problem
    assert problem.endswith(": no answer")
    AccountPace.objects.update(state="closed", reason="")
    assert check(now).ok
    AccountPace.objects.update(state=state, reason="no answer")
    assert check(now - timedelta(seconds=1)).ok, "nothing is due"


def test_account_that_is_stopped_while_invoices_are_due_is_named() -> None:
    all_beat()
    now = database_now()
    make_invoice(next_attempt_at=now - timedelta(minutes=11))
    GatewayAccount.objects.update(stopped_at=now, stopped_by="siti", stopped_reason="prices")
    health = check(now)
    assert not health.due_but_unclaimed
    (problem,) = health.problems
    assert problem.endswith("was stopped by siti while invoices are due: prices")


def test_the_switch_of_everything_is_no_problem_of_the_workers() -> None:
    all_beat()
    now = database_now()
    make_invoice(next_attempt_at=now - timedelta(minutes=11))
    Installation.objects.update(stopped_at=now)
    health = check(now)
    assert (health.ok, health.stopped) == (True, True)


def test_the_page_answers_programs(client) -> None:  # type: ignore[no-untyped-def]
    assert client.get("/health/").status_code == 503
    all_beat()
    answer = client.get("/health/")
    assert (answer.status_code, answer.json()["ok"]) == (200, True)


def test_a_proposal_that_waits_for_more_than_a_day_is_a_problem() -> None:
    all_beat()
    now = database_now()
    invoice = make_invoice(next_attempt_at=None, hold="proposal")
    kind, person = ProposalKind.VOID, approvals.Person("siti", 1)
    proposal = approvals.propose(invoice, kind, reason="r", person=person, now=now - timedelta(days=1))
    publish(now=now)
    assert check(now - timedelta(seconds=1)).ok
    assert check(now).problems == (f"proposal {proposal.public_id} has waited for approval for more than a day: void",)
    Invoice.objects.update(state="void", closed_at=now, hold=None)
    assert check(now).ok, "nobody can decide it any more"


def test_a_feed_that_is_behind_for_minutes_is_a_problem() -> None:
    all_beat()
    now = database_now()
    account = make_account(name="Kedai Teh")
    event = NewEvent(
        account_id=account.pk, kind="account.updated", subject_type="account", subject_id=account.pk, payload={}
    )
    record_events([event], now=now - timedelta(minutes=5))
    assert check(now - timedelta(seconds=1)).ok
    assert check(now).problems == ("account Kedai Teh has a feed that is behind: no event for 5 minutes",)
    publish(now=now)
    assert check(now).ok
