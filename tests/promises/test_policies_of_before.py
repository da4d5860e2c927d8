"""What accounts said of declined invoices before there were policies is what their policies say."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model

from billing.models import DunningPolicy, GatewayAccount, Invoice
from tests.factories import NOW, make_account, make_attempt, make_card, make_customer, make_invoice

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
BEFORE = "0029_card_limits"


@pytest.fixture
def database_of_before() -> Iterator[None]:
    """Django's connection leads to a new database as it was before there were policies."""
    usual = connection.settings_dict["NAME"]
    name = f"{usual}_before"
    connection.close()
    with connection.creation._nodb_cursor() as cursor:  # type: ignore[attr-defined]  # of PostgreSQL only
        cursor.execute(f'CREATE DATABASE "{name}"')
        settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
        try:
            call_command("migrate", "billing", BEFORE, verbosity=0)
            yield
        finally:
            connection.close()
            settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = usual
            cursor.execute(f'DROP DATABASE "{name}"')


def rows_of_before() -> list[Model]:
    """Rows that all later databases have too, in the order in which they are written."""
    patient, strict = make_account(name="Patient"), make_account(name="Strict")
    card = make_card(make_customer(patient))
    attempt = make_attempt(make_invoice(card))
    return [patient, strict, card.customer, card, attempt.invoice, attempt]


@pytest.fixture
def rows(db: None) -> list[Model]:
    return rows_of_before()


def test_retry_days_of_accounts_become_policies(rows: list[Any], database_of_before: None) -> None:
    patient, strict, *_, invoice, _ = rows
    models = MigrationExecutor(connection).loader.project_state([("billing", BEFORE)]).apps
    said = {
        patient.pk: {"retry_days": [5, 10], "one_off_retry_days": [3], "final_action": "pause"},
        strict.pk: {"retry_days": [], "one_off_retry_days": [], "final_action": "cancel"},
    }
    for row in rows:
        model: Any = models.get_model("billing", type(row).__name__)
        known = {
            field.attname: getattr(row, field.attname)
            for field in model._meta.concrete_fields
            if hasattr(row, field.attname)
        }
        model.objects.create(**known, **(said[row.pk] if isinstance(row, GatewayAccount) else {}))
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # a decline without its evidence
        cursor.execute("UPDATE billing_paymentattempt SET state = 'declined', state_reason = '51'")
        cursor.execute("SET session_replication_role = origin")
    models.get_model("billing", "Invoice").objects.filter(pk=invoice.pk).update(  # type: ignore[attr-defined]
        tries=1, first_tried_at=NOW, next_attempt_at=NOW
    )

    call_command("migrate", "billing", verbosity=0)
    found = DunningPolicy.objects.order_by("account_id", "code")
    assert [(one.account_id, one.code, one.retry_days, one.final_action) for one in found] == [
        (patient.pk, "default", [5, 10], "pause"),
        (patient.pk, "one-offs", [3], "pause"),
        (strict.pk, "default", [], "cancel"),
        (strict.pk, "one-offs", [], "cancel"),
    ]
    scopes = GatewayAccount.objects.get(pk=patient.pk).dunning_assignments.values_list("policy__code", "scope")
    assert sorted(scopes) == [("default", "subscriptions"), ("one-offs", "one_offs")]
    kept = Invoice.objects.get(pk=invoice.pk)
    assert kept.decline_code == "51"
    assert kept.dunning_policy is not None
    assert (kept.dunning_policy.account_id, kept.dunning_policy.code) == (patient.pk, "one-offs")
