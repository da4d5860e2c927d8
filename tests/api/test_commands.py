"""`create_account`, `create_api_key`, `revoke_api_key`."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.accounts.api_keys import find_api_key
from billing.models import ApiKey, GatewayAccount
from billing.models.encryption import decrypt
from tests.api.calls import Api
from tests.factories import make_account, private_key_pem

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    out, errors = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=errors)
    return out.getvalue(), errors.getvalue()


class TestKeys:
    def test_a_key_is_printed_once_opens_the_api_and_is_stored_as_a_hash(self) -> None:
        account = make_account()
        name = ("create_api_key", "--account", account.public_id, "--name", "shop")
        out, _ = run(*name, "--scope", "write", "--scope", "read")
        key = out.strip()
        assert "\n" not in key
        row = ApiKey.objects.get()
        assert (row.scopes, row.name) == (["read", "write"], "shop")
        assert key.startswith(f"{row.prefix}_")
        assert key not in str(ApiKey.objects.values().get())
        assert Api(key).get("/account/").json()["id"] == account.public_id

    def test_a_key_is_revoked_by_its_id_or_its_beginning(self) -> None:
        account = make_account()
        for part in ("public_id", "prefix"):
            key = run("create_api_key", "--account", account.public_id, "--name", "shop", "--scope", "read")[0].strip()
            row = ApiKey.objects.get(revoked_at=None)
            assert "is revoked" in run("revoke_api_key", getattr(row, part))[0]
            assert find_api_key(key) is None
            assert "already" in run("revoke_api_key", getattr(row, part))[0]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["create_api_key", "--account", "acct_none", "--name", "x", "--scope", "read"], "no account 'acct_none'"),
            (["create_api_key", "--account", "acct_none", "--name", "x", "--scope", "all"], "invalid choice"),
            (["create_api_key", "--account", "acct_none", "--name", "x"], "--scope"),
            (["revoke_api_key", "kit_none"], "no such key"),
        ],
    )
    def test_what_is_wrong_is_said(self, arguments: list[str], words: str) -> None:
        with pytest.raises(CommandError, match=words):
            run(*arguments)


class TestAccounts:
    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, str]:
        (tmp_path / "secret").write_text("s3cret\n", encoding="utf-8")
        (tmp_path / "key.pem").write_text(private_key_pem(), encoding="utf-8")
        return {
            "--name": "Kedai Kopi",
            "--environment": "sandbox",
            "--client-id": "client-1",
            "--client-secret-file": str(tmp_path / "secret"),
            "--private-key-file": str(tmp_path / "key.pem"),
            "--store-id": "1602660043994159611",
        }

    def create(self, options: dict[str, str]) -> tuple[str, str]:
        return run("create_account", *(part for pair in options.items() for part in pair))

    def test_it_is_created_with_its_secrets_encrypted(self, options: dict[str, str]) -> None:
        out, _ = self.create(options)
        account = GatewayAccount.objects.get()
        assert out.strip() == account.public_id
        assert account.api_url == "https://sb-open.revenuemonster.my/v3"
        assert decrypt(account.client_secret_encrypted) == "s3cret"
        assert decrypt(account.private_key_encrypted) == private_key_pem().strip()
        assert "s3cret" not in str(GatewayAccount.objects.values().get())

    def test_a_secret_comes_from_standard_input(self, options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
        self.create(options | {"--client-secret-file": "-"})
        assert decrypt(GatewayAccount.objects.get().client_secret_encrypted) == "from a pipe"

    def test_a_live_account_says_that_it_is_not_charged_yet(self, options: dict[str, str]) -> None:
        assert "KITARAN_ALLOW_LIVE=1" in self.create(options | {"--environment": "live"})[1]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"--client-secret-file": "/nowhere"}, "--client-secret-file: '/nowhere' cannot be read"),
            ({"--client-secret-file": "/dev/null"}, "is empty"),
            ({"--private-key-file": "{secret}"}, "--private-key-file: is not a PEM private key"),
            ({"--gateway-public-key-file": "{secret}"}, "--gateway-public-key-file: is not a PEM public key"),
            ({"--client-secret-file": "-", "--private-key-file": "-"}, "only one"),
            ({"--environment": "production"}, "invalid choice"),
            ({"--oauth-url": "http://127.0.0.1:1"}, "oauth_url, api_url: are fixed"),
            ({"--environment": "simulator", "--oauth-url": "https://oauth.revenuemonster.my"}, "oauth_url"),
            ({"--time-zone": "Mars/Olympus"}, "--time-zone"),
            ({"--store-id": " "}, "--store-id: must not be empty"),
        ],
    )
    def test_what_is_wrong_is_said(self, change: dict[str, str], words: str, options: dict[str, str]) -> None:
        filled: dict[str, Any] = {k: v.format(secret=options["--client-secret-file"]) for k, v in change.items()}
        with pytest.raises(CommandError, match=words):
            self.create(options | filled)
        assert not GatewayAccount.objects.exists()

    def test_one_application_is_one_account(self, options: dict[str, str]) -> None:
        self.create(options)
        with pytest.raises(CommandError, match="is the account of this client id already"):
            self.create(options)
