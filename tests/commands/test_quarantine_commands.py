"""`manage.py quarantine` and `manage.py doctor`: what they say to an operator."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.models import GatewayAccount, Installation
from billing.models.clock import database_now
from billing.operating import recognise, witness
from tests.factories import make_account

pytestmark = pytest.mark.django_db(transaction=True)


def output_of(*words: str, **options: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out, **options)
    return out.getvalue()


def begin(account: GatewayAccount) -> None:
    recognise.watch(now=database_now())
    (witness.folder() / f"{'0' * 16}.json").write_text('{"epoch": "another", "marker": "", "nonce": ""}')
    recognise.watch(now=database_now())
    account.refresh_from_db()
    assert account.quarantined_at is not None


def test_no_quarantine_is_reported_as_such() -> None:
    make_account()
    assert output_of("quarantine") == "No account is in quarantine.\n"
    with pytest.raises(CommandError, match="--account"):
        output_of("quarantine", "--account", "acct_nobody")


def test_quarantine_shows_its_state_and_is_lifted_once_read() -> None:
    account = make_account(list_lag_seconds=3600)
    begin(account)
    shown = output_of("quarantine", "--account", account.public_id)
    assert "reason: this machine last charged with another database" in shown
    assert "cards: 0, read once: 0, not completely read: 0" in shown
    assert "cannot be lifted yet: the gateway's lists may be late" in shown
    assert "daily reports: not read yet" in shown
    with pytest.raises(CommandError, match="may be late"):
        output_of("quarantine", "lift", "--account", account.public_id, "--reason", "too early")
    GatewayAccount.objects.update(quarantined_at=database_now() - timedelta(hours=2))
    assert "can be lifted" in output_of("quarantine", "--account", account.public_id)
    lifted = output_of("quarantine", "lift", "--account", account.public_id, "--reason", "all was read")
    assert "is out of quarantine" in lifted
    account.refresh_from_db()
    assert account.quarantined_at is None


def test_doctor_prints_a_line_for_each_check() -> None:
    account = make_account()
    recognise.watch(now=database_now())
    out = StringIO()
    with pytest.raises(SystemExit):  # the tests' PostgreSQL gives up what survives a power cut
        call_command("doctor", stdout=out)
    lines = out.getvalue().splitlines()
    assert "ok     identity: this role may read which database this is" in lines
    assert "ok     standbys: none is connected" in lines
    assert any(line.startswith("wrong  fsync is off") for line in lines)
    assert any(line.startswith("ok     witness: ") for line in lines)
    assert any(line.startswith("ok     clock: ") for line in lines)
    assert any(line.startswith("warn   redis: does not answer") for line in lines)
    assert f"ok     account {account.public_id}: its secrets can be read" in lines


def test_doctor_names_an_unwritable_witness_and_missing_keys() -> None:
    account = make_account(client_secret_encrypted="gAAAA")
    witness.folder().rmdir()
    witness.folder().write_text("no folder")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("doctor", stdout=out)
    assert "nothing is charged on this host" in out.getvalue()
    assert f"account {account.public_id}: its secrets cannot be read (SecretUnreadableError)" in out.getvalue()


def test_the_identity_that_was_adopted_is_postgresqls_own() -> None:
    make_account()
    recognise.watch(now=database_now())
    row = Installation.objects.get()
    assert len(row.timeline) == 8
    assert int(row.timeline, 16) >= 1
    assert row.system_identifier.isdigit()
    assert row.database_oid.isdigit()
    assert row.epoch
