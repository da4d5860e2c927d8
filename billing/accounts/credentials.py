"""Proving credentials before they are saved, and later where they were saved without proof.

Nothing here runs inside a transaction: the gateway is asked."""

from django.db.models import QuerySet

from billing.accounts.gateway_accounts import AccountError
from billing.domain.subscriptions import CardState
from billing.gateway.proving import Credentials, DisprovedError, NotProvedError, prove
from billing.models import GatewayAccount, PaymentMethod
from billing.models.encryption import SecretUnreadableError, decrypt

CARDS_ASKED_ABOUT = 3
UNPROVED_RULE = (
    "must be checked with the gateway, together with the secret and the key, before they are saved, but {why}. Try "
    "again later, or save them unchecked: the account is then stopped until they are checked"
)


def prove_credentials(credentials: Credentials, *, account: GatewayAccount | None, may_be_unproved: bool) -> bool:
    """Whether the gateway proved them; False only where they may be saved without proof and it did not answer.

    Raises AccountError, which names the field and the rule."""
    try:
        prove(credentials, known_cards=[] if account is None else _known_cards(account))
    except DisprovedError as error:
        raise AccountError(error.field, error.rule, error.message) from None
    except NotProvedError as error:
        if may_be_unproved:
            return False
        raise AccountError("client_id", "unproved", UNPROVED_RULE.format(why=str(error))) from None
    return True


def saved_credentials(account: GatewayAccount, **changes: str) -> Credentials:
    """What the account signs with; `changes` are new values, and a secret that is given is not looked up.

    Raises AccountError where a saved secret cannot be decrypted."""
    return Credentials(
        oauth_url=account.oauth_url,
        api_url=account.api_url,
        client_id=changes.get("client_id") or account.client_id,
        client_secret=changes.get("client_secret") or _saved(account.client_secret_encrypted, "client_secret"),
        private_key_pem=changes.get("private_key_pem") or _saved(account.private_key_encrypted, "private_key_pem"),
        store_id=account.store_id,
    )


def _saved(encrypted: str, name: str) -> str:
    try:
        return decrypt(encrypted)
    except SecretUnreadableError:
        raise AccountError(
            name, "unreadable", "the saved one cannot be decrypted with the current keys; enter it again"
        ) from None


def _known_cards(account: GatewayAccount) -> list[str]:
    """The newest active cards: one may have been forgotten at the gateway, but not all of them."""
    cards: QuerySet[PaymentMethod] = PaymentMethod.objects.filter(account=account, state=CardState.ACTIVE.value)
    newest = cards.order_by("-pk").values_list("gateway_customer_id", flat=True)[:CARDS_ASKED_ABOUT]
    return [card for card in newest if card]
