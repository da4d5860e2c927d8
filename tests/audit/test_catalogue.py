"""A database that lost a promise is found out, whatever its rows say."""

import pytest
from django.db import connection

from billing.audit.catalogue import catalogue_violations, listed_triggers
from billing.audit.violation import Violation
from tests.promises import catalogue

pytestmark = pytest.mark.django_db


def change(statement: str) -> list[Violation]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
    return list(catalogue_violations())


def test_a_database_as_the_migrations_leave_it_has_everything() -> None:
    assert list(catalogue_violations()) == []


def test_every_database_trigger_is_listed_in_the_code() -> None:
    assert {name for _, name in listed_triggers()} == catalogue.triggers()
    assert all(body.startswith("BEGIN") for _, body in listed_triggers().values())


@pytest.mark.parametrize(
    ("statement", "name", "text"),
    [
        (
            "DROP TRIGGER armed_requests_never_change ON billing_paymentattempt",
            "armed_requests_never_change",
            "is missing: a trigger on billing_paymentattempt.",
        ),
        (
            "ALTER TABLE billing_evidence DISABLE TRIGGER evidence_is_append_only",
            "evidence_is_append_only",
            "is switched off: a trigger on billing_evidence.",
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION periods_only_count_up() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RETURN NEW; END $$"
            ),
            "periods_only_count_up",
            "does something else than the code says: a trigger on billing_subscription.",
        ),
        (
            "DROP INDEX one_attempt_holds_the_place",
            "one_attempt_holds_the_place",
            "is missing: a constraint of billing_paymentattempt.",
        ),
        (
            "ALTER TABLE billing_invoice DROP CONSTRAINT one_invoice_per_period",
            "one_invoice_per_period",
            "is missing: a constraint of billing_invoice.",
        ),
        (
            "ALTER TABLE billing_invoice DROP CONSTRAINT invoice_amount_positive",
            "invoice_amount_positive",
            "is missing: a constraint of billing_invoice.",
        ),
        (
            "ALTER TABLE billing_paymentattempt DROP CONSTRAINT billing_paymentattempt_marker_key",
            "billing_paymentattempt.marker",
            "is missing: that no value is there twice.",
        ),
    ],
)
def test_what_is_missing_is_named(statement: str, name: str, text: str) -> None:
    assert change(statement) == [Violation("catalogue", name, text)]
