"""Opening a gateway account, and the stop switches."""

from datetime import datetime
from urllib.parse import urlsplit

from django.db import transaction

from billing.accounts.dunning_policies import give_default_policies
from billing.domain.arming import Environment
from billing.domain.errors import RefusedError
from billing.ids import new_id
from billing.models import GatewayAccount, Installation
from billing.models.bulk.history import record_transition
from billing.models.encryption import encrypt

# Where Revenue Monster lives. A simulator may be anywhere on this machine.
HOSTS = {
    Environment.SANDBOX: ("https://sb-oauth.revenuemonster.my/v1", "https://sb-open.revenuemonster.my/v3"),
    Environment.LIVE: ("https://oauth.revenuemonster.my/v1", "https://open.revenuemonster.my/v3"),
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class AccountError(RefusedError):
    """An account that cannot be opened; the message names the field and the rule."""


@transaction.atomic
def open_account(
    *,
    name: str,
    environment: Environment,
    client_id: str,
    client_secret: str,
    private_key_pem: str,
    store_id: str,
    now: datetime,
    oauth_url: str = "",
    api_url: str = "",
    gateway_public_key: str = "",
    time_zone: str = "Asia/Kuala_Lumpur",
    charge_path: str = "customer_order",
) -> GatewayAccount:
    """Records a merchant's application; secrets are stored encrypted. What a person enters goes by `add_account`.

    Only a simulator account names its own URLs, and they are on this machine; raises AccountError."""
    oauth_url, api_url = addresses(environment, oauth_url, api_url)
    account = GatewayAccount.objects.create(
        public_id=new_id("acct", now),
        name=name,
        environment=environment.value,
        oauth_url=oauth_url,
        api_url=api_url,
        client_id=client_id,
        client_secret_encrypted=encrypt(client_secret),
        private_key_encrypted=encrypt(private_key_pem),
        gateway_public_key=gateway_public_key,
        store_id=store_id,
        charge_path=charge_path,
        time_zone=time_zone,
        created_at=now,
    )
    give_default_policies(account, now)
    return account


def addresses(environment: Environment, oauth_url: str, api_url: str) -> tuple[str, str]:
    """Where an account of this environment speaks to. Raises AccountError for addresses that it may not name."""
    if environment is Environment.SIMULATOR:
        for field, url in (("oauth_url", oauth_url), ("api_url", api_url)):
            if urlsplit(url).hostname not in _LOOPBACK:
                raise AccountError(field, "invalid", f"must be on this machine for a simulator account; got {url!r}")
    elif oauth_url or api_url:
        raise AccountError(
            "oauth_url, api_url", "fixed", f"must be left out: they are fixed for the {environment.value} environment"
        )
    else:
        oauth_url, api_url = HOSTS[environment]
    return oauth_url, api_url


def url_fits_environment(environment: Environment, api_url: str) -> bool:
    """Whether the URL is one that accounts of this environment may speak to."""
    if environment is Environment.SIMULATOR:
        return urlsplit(api_url).hostname in _LOOPBACK
    return api_url == HOSTS[environment][1]


def move_simulator(*, account: GatewayAccount, oauth_url: str, api_url: str) -> None:
    """Follows a simulator that came back on another port; refused for any other environment."""
    if account.environment != Environment.SIMULATOR:
        raise AccountError("environment", "invalid", "must not change: only a simulator account's addresses can")
    for field, url in (("oauth_url", oauth_url), ("api_url", api_url)):
        if urlsplit(url).hostname not in _LOOPBACK:
            raise AccountError(field, "invalid", f"must be on this machine for a simulator account; got {url!r}")
    GatewayAccount.objects.filter(pk=account.pk).update(oauth_url=oauth_url, api_url=api_url)


@transaction.atomic
def stop_account(*, account: GatewayAccount, reason: str, actor: str, now: datetime) -> bool:
    """Throws the account's stop switch; nothing is armed from the commit on. False: it was thrown already."""
    stopped = GatewayAccount.objects.filter(pk=account.pk, stopped_at=None).update(
        stopped_at=now, stopped_reason=reason, stopped_by=actor
    )
    if stopped:
        _record(account_id=account.pk, subject="account", to="stopped", reason=reason, actor=actor, now=now)
    return bool(stopped)


@transaction.atomic
def start_account(*, account: GatewayAccount, reason: str, actor: str, now: datetime) -> bool:
    """Lets the account charge again. False: it was not stopped.

    Raises AccountError while its credentials are not proved: see `prove_account`."""
    if GatewayAccount.objects.filter(pk=account.pk, credentials_unproved_at__isnull=False).exists():
        raise AccountError(
            "credentials",
            "invalid",
            "were saved unchecked, and must be checked with the gateway before the account charges again",
        )
    started = (
        GatewayAccount.objects.filter(pk=account.pk)
        .exclude(stopped_at=None)
        .update(stopped_at=None, stopped_reason="", stopped_by="")
    )
    if started:
        _record(account_id=account.pk, subject="account", to="running", reason=reason, actor=actor, now=now)
    return bool(started)


@transaction.atomic
def stop_installation(*, reason: str, actor: str, now: datetime) -> bool:
    """Throws the switch of everything. False: it was thrown already."""
    stopped = Installation.objects.filter(pk=1, stopped_at=None).update(
        stopped_at=now, stopped_reason=reason, stopped_by=actor
    )
    if stopped:
        _record(account_id=0, subject="installation", to="stopped", reason=reason, actor=actor, now=now)
    return bool(stopped)


@transaction.atomic
def start_installation(*, reason: str, actor: str, now: datetime) -> bool:
    started = (
        Installation.objects.filter(pk=1)
        .exclude(stopped_at=None)
        .update(stopped_at=None, stopped_reason="", stopped_by="")
    )
    if started:
        _record(account_id=0, subject="installation", to="running", reason=reason, actor=actor, now=now)
    return bool(started)


def _record(*, account_id: int, subject: str, to: str, reason: str, actor: str, now: datetime) -> None:
    record_transition(
        account_id=account_id,
        subject_type=subject,
        subject_id=account_id or 1,
        from_state="running" if to == "stopped" else "stopped",
        to_state=to,
        reason=reason,
        actor=actor,
        now=now,
    )
