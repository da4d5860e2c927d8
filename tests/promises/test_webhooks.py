"""An event is delivered to an endpoint as one delivery, in its account; what was tried stays on record."""

import pytest

from tests.factories import NOW, make_account
from tests.notifying.rows import make_delivery, make_endpoint, make_try, publish
from tests.promises.attacks import attacks, delete, insert_copy, refused, rewrite, update

pytestmark = pytest.mark.django_db


@attacks("billing_webhookendpoint_public_id_key")
def test_endpoint_id_is_refused_when_taken() -> None:
    with refused("billing_webhookendpoint_public_id_key"):
        insert_copy(make_endpoint())


@attacks("webhook_endpoint_state_known")
def test_endpoint_state_is_refused_when_unknown() -> None:
    with refused("webhook_endpoint_state_known"):
        update(make_endpoint(), state="asleep")


@attacks("a_disabled_endpoint_says_why")
def test_disabled_endpoint_is_refused_without_a_reason() -> None:
    endpoint = make_endpoint()
    with refused("a_disabled_endpoint_says_why"):
        update(endpoint, state="disabled")
    with refused("a_disabled_endpoint_says_why"):
        update(endpoint, state="disabled", disabled_reason="perhaps")
    with refused("a_disabled_endpoint_says_why"):
        update(endpoint, disabled_reason="gone")
    update(endpoint, state="disabled", disabled_reason="gone")


@attacks("an_old_webhook_secret_has_an_end")
def test_old_secret_is_refused_without_an_end() -> None:
    endpoint = make_endpoint()
    with refused("an_old_webhook_secret_has_an_end"):
        update(endpoint, old_secret_encrypted="secret")
    with refused("an_old_webhook_secret_has_an_end"):
        update(endpoint, old_secret_ends_at=NOW)
    update(endpoint, old_secret_encrypted="secret", old_secret_ends_at=NOW)


@attacks("a_webhook_cursor_only_moves_on")
def test_cursor_is_refused_when_it_goes_back() -> None:
    endpoint = make_endpoint(sequence=7)
    with refused("a_webhook_cursor_only_moves_on"):
        update(endpoint, sequence=6)
    update(endpoint, sequence=8)


@attacks("a_deleted_webhook_endpoint_stays_deleted")
def test_deleted_endpoint_is_refused_when_it_comes_back() -> None:
    endpoint = make_endpoint(state="deleted")
    with refused("a_deleted_webhook_endpoint_stays_deleted"):
        update(endpoint, state="active")


@attacks("billing_webhookdelivery_public_id_key", "one_delivery_per_endpoint_and_event")
def test_second_delivery_of_an_event_is_refused() -> None:
    delivery = make_delivery()
    with refused("one_delivery_per_endpoint_and_event"):
        insert_copy(delivery, public_id="whd_2")
    (other,) = publish(delivery.account, 99)
    with refused("billing_webhookdelivery_public_id_key"):
        insert_copy(delivery, event_id=other.pk)
    insert_copy(delivery, event_id=other.pk, public_id="whd_2")


@attacks("webhook_delivery_state_known")
def test_delivery_state_is_refused_when_unknown() -> None:
    delivery = make_delivery()
    with refused("webhook_delivery_state_known"):
        update(delivery, state="lost", next_try_at=None, closed_at=NOW)


@attacks("only_a_pending_delivery_is_tried")
def test_delivery_is_refused_when_its_end_and_next_try_differ() -> None:
    delivery = make_delivery()
    with refused("only_a_pending_delivery_is_tried"):
        update(delivery, next_try_at=None)
    with refused("only_a_pending_delivery_is_tried"):
        update(delivery, closed_at=NOW)
    with refused("only_a_pending_delivery_is_tried"):
        update(delivery, state="delivered", closed_at=NOW)
    with refused("only_a_pending_delivery_is_tried"):
        update(delivery, state="delivered", next_try_at=None)
    update(delivery, state="delivered", next_try_at=None, closed_at=NOW)


@attacks("a_webhook_stays_in_its_account")
def test_delivery_is_refused_when_it_crosses_accounts() -> None:
    delivery, stranger = make_delivery(), make_account()
    (foreign,) = publish(stranger, 1)
    with refused("a_webhook_stays_in_its_account"):
        insert_copy(delivery, public_id="whd_2", event_id=foreign.pk)
    with refused("a_webhook_stays_in_its_account"):
        update(delivery, event_id=foreign.pk)
    with refused("a_webhook_stays_in_its_account"):
        update(delivery, account_id=stranger.pk)
    with refused("a_webhook_stays_in_its_account"):
        update(delivery, endpoint_id=make_endpoint(stranger).pk)


@attacks("one_row_per_webhook_try")
def test_second_row_of_a_try_is_refused() -> None:
    one = make_try()
    with refused("one_row_per_webhook_try"):
        insert_copy(one)
    insert_copy(one, number=2)


@attacks("webhook_tries_never_change")
def test_try_is_refused_when_it_is_rewritten() -> None:
    one = make_try()
    with refused("webhook_tries_never_change"):
        rewrite(one, "answer")


@attacks("a_pending_webhook_delivery_is_kept")
def test_delivery_is_deleted_only_after_it_ended() -> None:
    delivery = make_delivery()
    with refused("a_pending_webhook_delivery_is_kept"):
        delete(delivery)
    update(delivery, state="failed", next_try_at=None, closed_at=NOW)
    delete(delivery)
