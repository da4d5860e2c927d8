"""Opening an account with credentials that a person entered: they are proved at the gateway first."""

from datetime import datetime
from typing import Any

from django.db import transaction

from billing.accounts.credentials import prove_credentials
from billing.accounts.gateway_accounts import addresses, open_account, stop_account
from billing.domain.arming import Environment
from billing.gateway.proving import Credentials
from billing.models import GatewayAccount

UNPROVED = "its credentials were saved unchecked: the gateway did not answer"


def add_account(
    *, environment: Environment, actor: str, now: datetime, may_be_unproved: bool = False, **values: Any
) -> GatewayAccount:
    """Proves the credentials and records the account; `values` are those of `open_account`.

    An account that is saved without proof, because the gateway did not answer, is stopped until it is proved. Raises
    AccountError, which names the field and the rule. Not to be called inside a transaction."""
    oauth_url, api_url = addresses(environment, values.pop("oauth_url", ""), values.pop("api_url", ""))
    credentials = Credentials(
        oauth_url=oauth_url,
        api_url=api_url,
        client_id=values["client_id"],
        client_secret=values["client_secret"],
        private_key_pem=values["private_key_pem"],
        store_id=values["store_id"],
    )
    proved = prove_credentials(credentials, account=None, may_be_unproved=may_be_unproved)
    urls = {"oauth_url": oauth_url, "api_url": api_url} if environment is Environment.SIMULATOR else {}
    with transaction.atomic():
        account = open_account(environment=environment, now=now, **values, **urls)
        if not proved:
            stop_account(account=account, reason=UNPROVED, actor=actor, now=now)
            GatewayAccount.objects.filter(pk=account.pk).update(credentials_unproved_at=now)
    account.refresh_from_db()
    return account
