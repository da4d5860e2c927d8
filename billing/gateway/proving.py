"""Whether credentials work, and whose they are: asked of the gateway before they are saved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from billing.domain.clocks import Reading
from billing.domain.errors import RefusedError
from billing.gateway.sending_clock import clock, reading_of
from rm_gateway.client import Client, Settings
from rm_gateway.errors import GatewayError, NotFound, Rejected, Throttled, TokenUnavailable
from rm_gateway.transport import Transport

SECONDS = 15  # for each call: a person waits
ASKING_SECONDS = 5


class DisprovedError(RefusedError):
    """The gateway, or the key itself, says that the credentials are wrong. The message names the field and the rule."""


class NotProvedError(Exception):
    """The gateway gave no usable answer: nothing is known of the credentials. The message is safe to show."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an account signs and asks for tokens with. Never written to a log."""

    oauth_url: str
    api_url: str
    client_id: str
    client_secret: str = field(repr=False)
    private_key_pem: str = field(repr=False)
    store_id: str


def prove(credentials: Credentials, *, known_cards: Sequence[str]) -> None:
    """The key signs, a token is issued, and a signed read is answered.

    `known_cards` are customers at the gateway whose cards the account charges: the gateway must show one of them under
    these credentials, else they are another merchant's. Without any, it is proved that the credentials work and not
    whose they are. Raises DisprovedError or NotProvedError."""
    transport = _transport(SECONDS)
    try:
        client = Client(_settings(credentials), clock=clock, transport=transport)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise DisprovedError(field, "disproved", message) from None
    try:
        client.ensure_token()
        client.list_transactions(limit=1)
        if known_cards and not any(_knows(client, card) for card in known_cards):
            raise DisprovedError(
                "client_id",
                "disproved",
                "must be of the merchant whose cards this account charges; with these credentials the "
                f"gateway shows none of {len(known_cards)} of its cards",
            )
    except GatewayError as error:
        raise _meaning(error) from None
    finally:
        transport.close()


def _knows(client: Client, card: str) -> bool:
    try:
        client.get_customer(card)
    except GatewayError as error:  # the codes of another merchant's customers are not published
        if isinstance(error, NotFound) or _is_a_refusal(error):
            return False
        raise
    return True


def _is_a_refusal(error: GatewayError) -> bool:
    """Whether the gateway answered with an error of its own that is not about being busy."""
    if isinstance(error, TokenUnavailable):
        return error.refused
    if isinstance(error, Throttled) or error.code is None or error.http_status is None:
        return False
    return error.http_status < 500


def _meaning(error: GatewayError) -> Exception:
    if not _is_a_refusal(error):
        return NotProvedError(f"the gateway gave no usable answer: {error}")
    if isinstance(error, TokenUnavailable):
        return DisprovedError(
            "client_id", "disproved", f"the gateway must issue a token for it and its secret; it refused: {error}"
        )
    if isinstance(error, Rejected) and error.kind == "signature":
        return DisprovedError(
            "private_key_pem",
            "disproved",
            "must be the key whose public half the gateway has for this client id; it rejected the signature",
        )
    return DisprovedError(
        "client_id", "disproved", f"the gateway must answer a signed read under these credentials; it answered: {error}"
    )


def ask_the_time(api_url: str) -> Reading | None:
    """The clock of the gateway at this address, by one request without credentials; None when it does not answer."""
    transport = _transport(ASKING_SECONDS)
    try:
        transport.exchange("GET", f"{api_url}/", {"Accept": "application/json", "Accept-Encoding": "identity"})
    except GatewayError:
        return None
    finally:
        transport.close()
    shown = transport.server_time
    return None if shown is None else reading_of(shown)


def _transport(seconds: int) -> Transport:
    return Transport(
        connect_timeout=min(5, seconds), read_timeout=seconds, total_timeout=seconds, max_response_bytes=1_000_000
    )


def _settings(credentials: Credentials) -> Settings:
    return Settings(
        oauth_url=credentials.oauth_url,
        api_url=credentials.api_url,
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
        private_key_pem=credentials.private_key_pem,
        store_id=credentials.store_id,
        connect_timeout_seconds=5,
        read_timeout_seconds=SECONDS,
        total_timeout_seconds=SECONDS,
    )
