"""The guards that are taken away, as data. A place that is not in its function exactly once is an error."""

from tests.mutation.harness import Mutation
from tests.mutation.mutations import (
    arming,
    card_limits,
    checkouts,
    deciding,
    feed,
    first_payments,
    isolation,
    late_money,
    pacing,
    people,
    quarantine,
    reading,
    refunds,
    reports,
    settling,
    waking,
    webhooks,
)

MUTATIONS: list[Mutation] = [
    *arming.MUTATIONS,
    *pacing.MUTATIONS,
    *settling.MUTATIONS,
    *deciding.MUTATIONS,
    *reading.MUTATIONS,
    *reports.MUTATIONS,
    *late_money.MUTATIONS,
    *refunds.MUTATIONS,
    *people.MUTATIONS,
    *first_payments.MUTATIONS,
    *isolation.MUTATIONS,
    *quarantine.MUTATIONS,
    *feed.MUTATIONS,
    *webhooks.MUTATIONS,
    *waking.MUTATIONS,
    *card_limits.MUTATIONS,
    *checkouts.MUTATIONS,
]
