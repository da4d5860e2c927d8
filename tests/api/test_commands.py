"""`create_account`, `create_api_key`, `revoke_api_key`."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.accounts.api_keys import find_api_key
from billing.gateway.proving import Credentials, NotProvedError
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
    def test_key_is_printed_once_works_and_is_stored_as_a_hash(self) -> None:
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
            (
                ["create_api_key", "--account", "acct_none", "--name", "x", "--scope", "read"],
                ("no such account: 'acct_none'"),
            ),
            (["create_api_key", "--account", "acct_none", "--name", "x", "--scope", "all"], "invalid choice"),
            (["create_api_key", "--account", "acct_none", "--name", "x"], "--scope"),
            (["revoke_api_key", "kit_none"], "no such key"),
        ],
    )
    def test_invalid_option_is_named(self, arguments: list[str], words: str) -> None:
        with pytest.raises(CommandError, match=words):
            run(*arguments)


class TestAccounts:
    @pytest.fixture(autouse=True)
    def proved(self, monkeypatch: pytest.MonkeyPatch) -> list[Credentials]:
        """The gateway is not asked, and agrees; what it would be asked about."""
        asked: list[Credentials] = []
        monkeypatch.setattr("billing.accounts.credentials.prove", lambda credentials, **_: asked.append(credentials))
        return asked

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

    def test_its_credentials_are_proved_before_they_are_saved(
        self, options: dict[str, str], proved: list[Credentials]
    ) -> None:
        self.create(options)
        assert [(one.client_id, one.client_secret, one.oauth_url) for one in proved] == [
            ("client-1", "s3cret", "https://sb-oauth.revenuemonster.my/v1")
        ]

    def test_unproved_account_is_saved_only_on_request_and_stopped(
        self, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_answer(credentials: Credentials, known_cards: list[str]) -> None:
            raise NotProvedError("the gateway gave no usable answer: no connection")

        monkeypatch.setattr("billing.accounts.credentials.prove", no_answer)
        with pytest.raises(CommandError, match="client_id: must be checked with the gateway"):
            self.create(options)
        assert not GatewayAccount.objects.exists()
        _, errors = run("create_account", "--unproved", *(part for pair in options.items() for part in pair))
        account = GatewayAccount.objects.get()
        assert "stopped until its credentials are checked" in errors
        assert account.stopped_at is not None
        assert account.credentials_unproved_at is not None
        with pytest.raises(CommandError, match="must be checked"):
            run("switch", "start", "--account", account.public_id, "--reason", "it is time")

    def test_a_secret_comes_from_standard_input(self, options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe\n"))
        self.create(options | {"--client-secret-file": "-"})
        assert decrypt(GatewayAccount.objects.get().client_secret_encrypted) == "from a pipe"

    def test_live_account_warns_that_it_is_not_charged_yet(self, options: dict[str, str]) -> None:
        assert "KITARAN_ALLOW_LIVE=1" in self.create(options | {"--environment": "live"})[1]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"--client-secret-file": "/nowhere"}, "--client-secret-file: '/nowhere' cannot be read"),
            ({"--client-secret-file": "/dev/null"}, "is empty"),
            ({"--private-key-file": "{secret}"}, "--private-key-file: must be a PEM private key"),
            ({"--gateway-public-key-file": "{secret}"}, "--gateway-public-key-file: must be a PEM public key"),
            ({"--client-secret-file": "-", "--private-key-file": "-"}, "only one"),
            ({"--environment": "production"}, "invalid choice"),
            ({"--oauth-url": "http://127.0.0.1:1"}, "oauth_url, api_url: must be left out"),
            ({"--environment": "simulator", "--oauth-url": "https://oauth.revenuemonster.my"}, "oauth_url"),
            ({"--time-zone": "Mars/Olympus"}, "--time-zone"),
            ({"--store-id": " "}, "--store-id: must not be empty"),
        ],
    )
    def test_invalid_option_is_named(self, change: dict[str, str], words: str, options: dict[str, str]) -> None:
        filled: dict[str, Any] = {k: v.format(secret=options["--client-secret-file"]) for k, v in change.items()}
        with pytest.raises(CommandError, match=words):
            self.create(options | filled)
        assert not GatewayAccount.objects.exists()

    def test_one_application_is_one_account(self, options: dict[str, str]) -> None:
        self.create(options)
        with pytest.raises(CommandError, match="--client-id: must be new"):
            self.create(options)
