"""Whether this is the database that charged last."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.doubts import (
    WATCH_FOR,
    Admission,
    Doubt,
    Identity,
    Seen,
    Step,
    admission,
    complete_from,
    in_utc,
    judge,
    why_not_lifted,
)

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
HERE = Identity("7412", "00000001", "16384", "kitaran")


def seen(**changes: object) -> Seen:
    known: dict[str, object] = {
        "epoch": "e2",
        "past_epochs": frozenset({"e1"}),
        "stored": HERE,
        "actual": HERE,
        "witness_epochs": frozenset({"e1", "e2"}),
        "forgotten": (),
        "host_admitted": True,
    }
    return Seen(**{**known, **changes})  # type: ignore[arg-type]


def test_a_database_that_is_what_it_was_is_gone_on_with() -> None:
    assert judge(seen()).step is Step.GO_ON
    assert judge(seen(actual=Identity("7412", "00000001", "16384", "renamed"))).step is Step.GO_ON


@pytest.mark.parametrize(
    ("actual", "says"),
    [
        (Identity("9", "00000001", "16384", "kitaran"), "system identifier 7412 -> 9"),
        (Identity("7412", "00000002", "16384", "kitaran"), "timeline 00000001 -> 00000002"),
        (Identity("7412", "00000001", "5", "kitaran"), "database 16384 -> 5"),
    ],
)
def test_another_cluster_timeline_or_database_is_doubted(actual: Identity, says: str) -> None:
    found = judge(seen(actual=actual))
    assert (found.step, found.doubt, found.detail) == (Step.QUARANTINE, Doubt.DATABASE_DIFFERS, says)


def test_what_a_role_may_not_ask_is_not_compared() -> None:
    assert judge(seen(actual=Identity("", "", "16384", "kitaran"))).step is Step.GO_ON
    assert judge(seen(stored=Identity("", "", "16384", "kitaran"))).step is Step.GO_ON
    assert judge(seen(actual=Identity("", "", "5", "kitaran"))).doubt is Doubt.DATABASE_DIFFERS


def test_witnessed_attempt_missing_here_is_the_strongest_doubt() -> None:
    other = Identity("9", "00000002", "5", "x")
    found = judge(seen(forgotten=("M1", "M2", "M3", "M4"), actual=other, witness_epochs=frozenset({"e9"})))
    assert (found.step, found.doubt) == (Step.QUARANTINE, Doubt.ATTEMPTS_FORGOTTEN)
    assert found.detail == "4 not in the database, such as M1, M2, M3"


@pytest.mark.parametrize("epoch", ["e2", ""])
def test_witness_of_an_epoch_the_database_never_had_is_doubted(epoch: str) -> None:
    found = judge(seen(epoch=epoch, witness_epochs=frozenset({"e3"})))
    assert (found.step, found.doubt) == (Step.QUARANTINE, Doubt.WITNESS_DIFFERS)


def test_a_database_without_an_epoch_is_adopted() -> None:
    assert judge(seen(epoch="", past_epochs=frozenset(), witness_epochs=frozenset())).step is Step.ADOPT


@pytest.mark.parametrize(("admitted", "step"), [(None, Step.INTRODUCE), (False, Step.WAIT), (True, Step.GO_ON)])
def test_a_host_arms_only_once_it_is_admitted(admitted: bool | None, step: Step) -> None:
    assert judge(seen(host_admitted=admitted)).step is step


def test_the_first_host_of_a_database_is_admitted_at_once() -> None:
    assert admission(first_seen_at=NOW, others_last_seen_at=None, others_armed=False, now=NOW) is Admission.ADMIT


@pytest.mark.parametrize(
    ("seen_at", "after", "outcome"),
    [
        (NOW + timedelta(seconds=1), timedelta(seconds=2), Admission.ADMIT),
        (NOW, timedelta(seconds=2), Admission.WATCH),
        (NOW - timedelta(days=1), WATCH_FOR - timedelta(seconds=1), Admission.WATCH),
        (NOW - timedelta(days=1), WATCH_FOR, Admission.DOUBT),
        (None, WATCH_FOR, Admission.DOUBT),
    ],
)
def test_later_host_is_admitted_by_a_known_hosts_sign_of_life(
    seen_at: datetime | None, after: timedelta, outcome: Admission
) -> None:
    found = admission(first_seen_at=NOW, others_last_seen_at=seen_at, others_armed=True, now=NOW + after)
    assert found is outcome


def test_quarantine_outlasts_the_lag_of_the_lists_and_every_card() -> None:
    lag = timedelta(hours=1)
    assert complete_from(NOW, lag) == NOW + lag

    def why(after: timedelta, unread: int) -> str:
        found = why_not_lifted(quarantined_at=NOW, lag=lag, unread=unread, now=NOW + after)
        return found.sentence(in_utc) if found else ""

    assert (
        why(lag - timedelta(seconds=1), 0) == "the gateway's lists may be late; lift it after 2026-03-02 02:00:00 UTC"
    )
    assert why(lag, 3) == "3 cards were not read completely since 2026-03-02 02:00:00 UTC"
    assert why(lag, 1).startswith("1 card was not read completely since ")
    assert why(lag, 0) == ""
