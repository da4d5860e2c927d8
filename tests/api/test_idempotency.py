"""`Idempotency-Key`: the same answer again, and nothing twice."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing.api.idempotency import LEASE, KeyUse
from billing.api.problems import Problem
from billing.models import Customer, IdempotencyRecord, Invoice, PaymentMethod
from billing.models.clock import database_now
from tests.api.calls import api_for, problem, snapshot
from tests.api.conftest import Merchant, make_merchant
from tests.conftest import Shop
from tests.factories import make_account

BODY = {"reference": "c-1", "name": "Aminah", "email": "aminah@example.com", "phone_number": "123456789"}


def charge(merchant: Merchant) -> dict[str, Any]:
    return {
        "customer": merchant.customer.public_id,
        "amount_minor": 1990,
        "currency": "MYR",
        "description": "A grinder",
    }


@pytest.mark.django_db
class TestOneAfterTheOther:
    def test_a_repeat_gets_the_first_answer_and_does_nothing(self, merchant: Merchant) -> None:
        first = merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="order-7")
        after = snapshot()
        again = merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="order-7")
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert "Idempotent-Replayed" not in first
        assert again["Idempotent-Replayed"] == "true"
        assert snapshot() == after

    def test_first_answer_is_replayed_after_the_object_changed(self, merchant: Merchant) -> None:
        first = merchant.api.post("/customers/", BODY, Idempotency_Key="k").json()
        merchant.api.patch(f"/customers/{first['id']}/", {"name": "Siti"})
        assert merchant.api.post("/customers/", BODY, Idempotency_Key="k").json() == first

    def test_the_order_of_members_and_white_space_do_not_matter(self, merchant: Merchant) -> None:
        merchant.api.post("/customers/", BODY, Idempotency_Key="k")
        turned = dict(reversed(list(BODY.items())))
        assert merchant.api.post("/customers/", turned, Idempotency_Key="k")["Idempotent-Replayed"] == "true"

    def test_another_body_or_address_with_the_key_is_refused(self, merchant: Merchant) -> None:
        merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="k")
        after = snapshot()
        other = merchant.api.post("/invoices/", charge(merchant) | {"amount_minor": 1991}, Idempotency_Key="k")
        assert problem(other) == (422, "idempotency_key_reused", [])
        elsewhere = merchant.api.post("/customers/", BODY, Idempotency_Key="k")
        assert problem(elsewhere) == (422, "idempotency_key_reused", [])
        assert snapshot() == after

    def test_without_a_key_each_request_acts(self, merchant: Merchant) -> None:
        ids = {merchant.api.post("/invoices/", charge(merchant)).json()["id"] for _ in range(2)}
        assert len(ids) == 2

    def test_keys_are_shared_within_an_account_and_not_across(self, merchant: Merchant, stranger: Merchant) -> None:
        first = merchant.api.post("/customers/", BODY, Idempotency_Key="k").json()
        assert stranger.api.post("/customers/", BODY, Idempotency_Key="k").json()["id"] != first["id"]
        colleague = api_for(merchant.account)
        assert colleague.post("/customers/", BODY, Idempotency_Key="k").json() == first

    def test_refused_request_frees_its_key_for_the_corrected_one(self, merchant: Merchant) -> None:
        wrong = merchant.api.post("/customers/", BODY | {"email": "nobody"}, Idempotency_Key="k")
        assert problem(wrong)[0] == 400
        taken = merchant.api.post("/customers/", BODY | {"reference": merchant.customer.reference}, Idempotency_Key="k")
        assert problem(taken)[0] == 409
        assert IdempotencyRecord.objects.count() == 0
        assert merchant.api.post("/customers/", BODY, Idempotency_Key="k").status_code == 201

    def test_a_replay_asks_for_the_scope_again(self, merchant: Merchant) -> None:
        merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="k")
        reader = api_for(merchant.account, "read", "write")
        assert problem(reader.post("/invoices/", charge(merchant), Idempotency_Key="k"))[1] == "scope_missing"

    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e9"])
    def test_a_key_that_is_none_is_refused(self, key: str, merchant: Merchant) -> None:
        before = snapshot()
        answer = merchant.api.post("/customers/", BODY, Idempotency_Key=key)
        assert problem(answer) == (400, "invalid_idempotency_key", [])
        assert snapshot() == before

    def test_a_failure_keeps_neither_the_object_nor_the_record(
        self, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(self: KeyUse, response: object) -> dict[str, Any]:
            raise RuntimeError("power cut for aminah@example.com")

        before = snapshot()
        with monkeypatch.context() as patched:
            patched.setattr(KeyUse, "_finished", fail)
            answer = merchant.api.post("/customers/", BODY, Idempotency_Key="k")
        assert problem(answer) == (500, "internal_error", [])
        assert "power" not in answer.content.decode()
        assert snapshot() == before
        assert merchant.api.post("/customers/", BODY, Idempotency_Key="k").status_code == 201

    def test_actions_replay_too(self, merchant: Merchant) -> None:
        path = f"/subscriptions/{merchant.subscription.public_id}/pause/"
        first = merchant.api.post(path, {}, Idempotency_Key="k")
        again = merchant.api.post(path, {}, Idempotency_Key="k")
        assert (first.status_code, again.status_code, again.json()["state"]) == (200, 200, "paused")
        assert problem(merchant.api.post(path, {}))[0] == 409


@pytest.mark.django_db
class TestAroundTheGateway:
    def test_a_binding_is_started_once(self, shop: Shop) -> None:
        api, customer = api_for(shop.account), shop.customer()
        known = len(shop.simulator.customers())
        first = api.post("/payment-methods/", {"customer": customer.public_id}, Idempotency_Key="k")
        again = api.post("/payment-methods/", {"customer": customer.public_id}, Idempotency_Key="k")
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert again["Idempotent-Replayed"] == "true"
        assert len(shop.simulator.customers()) == known + 1

    def test_claim_excludes_others_until_its_lease_ends(self, shop: Shop) -> None:
        api, body = api_for(shop.account), {"customer": shop.customer().public_id}
        first = api.post("/payment-methods/", body, Idempotency_Key="k").json()
        # As its process left it that died before it could store the answer.
        now = database_now()
        claim = IdempotencyRecord.objects.filter(key="k")
        claim.update(finished_at=None, response_status=None, response_body=None, created_at=now)
        running = api.post("/payment-methods/", body, Idempotency_Key="k")
        assert problem(running) == (409, "request_in_progress", [])
        assert running["Retry-After"] == "1"
        other = api.post("/payment-methods/", body | {"return_url": "https://shop.example"}, Idempotency_Key="k")
        assert problem(other) == (422, "idempotency_key_reused", [])

        claim.update(created_at=now - LEASE - timedelta(seconds=1))
        taken_over = api.post("/payment-methods/", body, Idempotency_Key="k")
        assert taken_over.status_code == 201
        assert taken_over.json()["id"] != first["id"]
        assert api.post("/payment-methods/", body, Idempotency_Key="k").json() == taken_over.json()

    def test_a_gateway_that_is_away_leaves_the_key_free(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        api, body = api_for(shop.account), {"customer": shop.customer().public_id}
        with monkeypatch.context() as patched:
            patched.setattr("billing.gateway.connection.Gateway.create_tokenized_card", unavailable)
            assert problem(api.post("/payment-methods/", body, Idempotency_Key="k"))[0] == 502
        assert api.post("/payment-methods/", body, Idempotency_Key="k").status_code == 201


def unavailable(*_: Any, **__: Any) -> None:
    from billing.gateway.connection import GatewayUnavailableError

    raise GatewayUnavailableError("timeout")


@pytest.mark.django_db(transaction=True)
class TestAtTheSameTime:
    def test_one_request_acts_when_many_are_sent_at_once(self) -> None:
        merchant = make_merchant()
        barrier, answers = threading.Barrier(6), []

        def send() -> None:
            try:
                barrier.wait(10)
                answers.append(merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="k"))
            finally:
                connection.close()

        with running(*[send] * 6):
            pass
        by_status = sorted(answer.status_code for answer in answers)
        assert set(by_status) <= {201, 409}
        assert 201 in by_status
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        assert Invoice.objects.exclude(pk=merchant.invoice.pk).count() == 1
        final = merchant.api.post("/invoices/", charge(merchant), Idempotency_Key="k")
        assert final["Idempotent-Replayed"] == "true"

    def test_while_the_first_runs_the_second_gets_409_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        merchant = make_merchant()
        inside, go_on, answers = threading.Event(), threading.Event(), []
        from billing.api.views import customers

        def slow(**values: Any) -> Customer:
            inside.set()
            assert go_on.wait(20)
            return real(**values)

        real = customers.create_customer
        monkeypatch.setattr(customers, "create_customer", slow)

        def send() -> None:
            try:
                answers.append(merchant.api.post("/customers/", BODY, Idempotency_Key="k"))
            finally:
                connection.close()

        with running(send):
            assert inside.wait(20)
            second = merchant.api.post("/customers/", BODY, Idempotency_Key="k")
            go_on.set()
        assert problem(second) == (409, "request_in_progress", [])
        assert answers[0].status_code == 201
        monkeypatch.undo()
        third = merchant.api.post("/customers/", BODY, Idempotency_Key="k")
        assert third.json() == answers[0].json()
        assert Customer.objects.filter(reference="c-1").count() == 1

    def test_while_the_gateway_is_asked_the_second_gets_409(self, monkeypatch: pytest.MonkeyPatch) -> None:
        merchant = make_merchant()
        inside, go_on, answers = threading.Event(), threading.Event(), []

        def slow(*_: Any, **__: Any) -> None:
            inside.set()
            assert go_on.wait(20)
            unavailable()

        monkeypatch.setattr("billing.gateway.connection.Gateway.create_tokenized_card", slow)
        body = {"customer": merchant.customer.public_id}

        def send() -> None:
            try:
                answers.append(merchant.api.post("/payment-methods/", body, Idempotency_Key="k"))
            finally:
                connection.close()

        with running(send):
            assert inside.wait(20)
            second = merchant.api.post("/payment-methods/", body, Idempotency_Key="k")
            go_on.set()
        assert problem(second) == (409, "request_in_progress", [])
        assert answers[0].status_code == 502
        assert not IdempotencyRecord.objects.exists()
        assert PaymentMethod.objects.count() == 1

    def test_two_connections_do_not_wait_for_each_other_on_one_key(self) -> None:
        account = make_account()
        outcome: list[object] = []

        def second() -> None:
            try:
                KeyUse(account, "k", "hash", database_now()).in_one_transaction(lambda: pytest.fail("acted twice"))
            except Problem as refused:
                outcome.append(refused.code)
            finally:
                connection.close()

        def first() -> Any:
            with running(second):
                pass
            raise RuntimeError("the first fails after all")

        with pytest.raises(RuntimeError, match="after all"):
            KeyUse(account, "k", "hash", database_now()).in_one_transaction(first)
        assert outcome == ["request_in_progress"]
        assert not IdempotencyRecord.objects.exists()


@contextmanager
def running(*bodies: Any) -> Iterator[None]:
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
