"""What accounts said of declined invoices before there were policies is what their policies say."""

import pytest
from django.core.management import call_command
from django.db import connection

from billing.models import DunningPolicy, GatewayAccount, Invoice
from tests.factories import NOW, make_account, make_attempt, make_card, make_customer, make_invoice, move_attempt
from tests.promises.attacks import run

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def migrate(name: str) -> None:
    call_command("migrate", "billing", name, verbosity=0)


def test_retry_days_of_accounts_become_policies() -> None:
    patient, strict = make_account(name="Patient"), make_account(name="Strict")
    invoice = make_invoice(make_card(make_customer(patient)))
    move_attempt(make_attempt(invoice), "declined", state_reason="51")
    Invoice.objects.filter(pk=invoice.pk).update(tries=1, first_tried_at=NOW, next_attempt_at=NOW)
    connection.ensure_connection()
    try:
        migrate("0029_card_limits")
        for account, days, one_offs, action in (
            (patient, [5, 10], [3], "pause"),
            (strict, [], [], "cancel"),
        ):
            run(
                """UPDATE billing_gatewayaccount SET retry_days = %s, one_off_retry_days = %s, final_action = %s
                   WHERE id = %s""",
                [days, one_offs, action, account.pk],
            )
    finally:
        migrate("0030_dunning_policies")
    found = DunningPolicy.objects.order_by("account_id", "code")
    assert [(one.account_id, one.code, one.retry_days, one.final_action) for one in found] == [
        (patient.pk, "default", [5, 10], "pause"),
        (patient.pk, "one-offs", [3], "pause"),
        (strict.pk, "default", [], "cancel"),
        (strict.pk, "one-offs", [], "cancel"),
    ]
    scopes = GatewayAccount.objects.get(pk=patient.pk).dunning_assignments.values_list("policy__code", "scope")
    assert sorted(scopes) == [("default", "subscriptions"), ("one-offs", "one_offs")]
    invoice.refresh_from_db()
    assert invoice.decline_code == "51"
    assert invoice.dunning_policy is not None
    assert (invoice.dunning_policy.account_id, invoice.dunning_policy.code) == (patient.pk, "one-offs")
