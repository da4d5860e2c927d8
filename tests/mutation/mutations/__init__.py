"""The guards that are taken away, as data. A text that is not found exactly once in its file is an error."""

from tests.mutation.harness import Mutation
from tests.mutation.mutations import (
    arming,
    deciding,
    feed,
    isolation,
    late_money,
    pacing,
    people,
    quarantine,
    reading,
    refunds,
    reports,
    settling,
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
    *isolation.MUTATIONS,
    *quarantine.MUTATIONS,
    *feed.MUTATIONS,
]
