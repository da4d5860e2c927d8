"""What the database promises about dunning policies, attacked."""

import pytest

from tests.factories import make_account, make_assignment, make_policy
from tests.promises.attacks import attacks, insert_copy, refused, update

pytestmark = pytest.mark.django_db


@attacks("billing_dunningpolicy_public_id_key", "one_dunning_policy_per_code")
def test_a_policy_is_known_once() -> None:
    policy = make_policy()
    with refused("billing_dunningpolicy_public_id_key"):
        insert_copy(policy, code="another")
    with refused("one_dunning_policy_per_code"):
        insert_copy(policy, public_id="dpol_2")
    insert_copy(policy, public_id="dpol_2", code="another")


@attacks("one_policy_per_scope")
def test_a_plan_has_one_policy() -> None:
    assignment = make_assignment()
    with refused("one_policy_per_scope"):
        insert_copy(assignment)
    insert_copy(assignment, plan_code="another")


@attacks("a_dunning_assignment_stays_in_its_account")
def test_a_policy_of_another_account_is_not_assigned() -> None:
    assignment, foreign = make_assignment(), make_policy(make_account())
    with refused("a_dunning_assignment_stays_in_its_account"):
        update(assignment, policy_id=foreign.pk)
    with refused("a_dunning_assignment_stays_in_its_account"):
        update(assignment, second_policy_id=foreign.pk, second_percent=50)
    with refused("a_dunning_assignment_stays_in_its_account"):
        update(assignment, account_id=foreign.account_id)


def test_a_share_needs_another_policy() -> None:
    assignment = make_assignment()
    for second, percent in ((assignment.policy_id, 50), (make_policy(assignment.account).pk, 100)):
        with refused("a_share_has_two_policies"):
            update(assignment, second_policy_id=second, second_percent=percent)
