"""What was written under the old name of a state has the new one after the upgrade, append-only tables included."""

from importlib import import_module

import pytest

from billing.models import Event, PaymentAttempt, Transition
from billing.models.bulk.history import record_event, record_transition
from billing.models.clock import database_now
from tests.factories import make_attempt, move_attempt
from tests.promises.attacks import run

migration = import_module("billing.migrations.0019_needs_review")
TABLES = (("paymentattempt", ["state"]), ("transition", ["from_state", "to_state"]), ("event", ["kind"]))


@pytest.mark.django_db
def test_rows_of_before_are_renamed() -> None:
    attempt = move_attempt(make_attempt(), "needs_review")
    about = {"account_id": attempt.account_id, "subject_type": "attempt", "subject_id": attempt.pk}
    now = database_now()
    record_transition(**about, from_state="unknown", to_state="needs_review", reason="absent", actor="engine", now=now)
    record_event(**about, kind="attempt.still_needs_review", payload={}, now=now)
    run("SET CONSTRAINTS ALL IMMEDIATE")
    run("ALTER TABLE billing_paymentattempt DROP CONSTRAINT attempt_state_known")
    for table, columns in TABLES:
        back = migration.renamed(table, *columns).replace(
            "'needs_human', 'needs_review'", "'needs_review', 'needs_human'"
        )
        run(back.replace("%needs_human%", "%needs_review%"))
    assert PaymentAttempt.objects.get().state == "needs_human"
    for table, columns in TABLES:
        run(migration.renamed(table, *columns))
    assert PaymentAttempt.objects.get().state == "needs_review"
    assert set(Transition.objects.values_list("to_state", flat=True)) >= {"needs_review"}
    assert not Transition.objects.filter(to_state__contains="human").exists()
    assert set(Event.objects.values_list("kind", flat=True)) == {"attempt.needs_review", "attempt.still_needs_review"}
    with pytest.raises(Exception, match="append"):
        run("UPDATE billing_event SET kind = 'other'")
