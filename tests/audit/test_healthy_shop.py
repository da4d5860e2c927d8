"""A well-used shop: nothing in it breaks any invariant, in the database, in the ledger, or at the gateway."""

import pytest

from billing.audit.invariants import gateway_violations, ledger_violations, violations
from billing.models import Invoice
from billing.models.clock import database_now
from tests.conftest import Shop
from tests.factories import make_invoice

pytestmark = pytest.mark.django_db


def test_paid(shop: Shop) -> None:
    make_invoice(shop.card(), next_attempt_at=database_now(), due_at=database_now())
    shop.collect()
    now = database_now()
    assert Invoice.objects.get().state == "paid"
    assert violations(now=now, limits=shop.limits) == []
    assert violations(now=now, account_id=shop.account.pk) == []
    assert gateway_violations(now=now) == []
    posts = shop.simulator.requests()["by_marker"]
    assert ledger_violations(account_id=shop.account.pk, charges=shop.simulator.charges(), posts=posts) == []
