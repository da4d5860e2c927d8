"""For try-image.sh: what a shop's developer does, over the API of a running installation. Standard library only.

try_charge.py WEB card                      a customer and a bound card, on the simulator's page; prints the customer
try_charge.py WEB charge CUSTOMER           charges RM 19.90 now; prints the invoice
try_charge.py WEB wait INVOICE STATE...     until its newest attempt is in one of the states; prints the state
try_charge.py WEB latency SIMULATOR SECONDS how long a charge takes at the simulator

WEB is host:port as the proxy in front would reach it. The API key comes by standard input.
"""

import http.client
import json
import secrets
import sys
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

PROXY = {"Host": "billing.example.com", "X-Forwarded-Proto": "https"}
PATIENCE_SECONDS = 60


def main() -> str:
    web, action, *words = sys.argv[1:]
    key = sys.stdin.read().strip()
    match action, words:
        case "card", []:
            return card(web, key)
        case "charge", [customer]:
            body = {"customer": customer, "amount_minor": 1990, "currency": "MYR", "description": "Try"}
            return str(api(web, key, "POST", "/api/v1/invoices/", body)["id"])
        case "wait", [invoice, *states]:
            return wait(web, key, invoice, states)
        case "latency", [simulator, seconds]:
            sent = json.dumps({"latency": float(seconds)})
            call(urlsplit(simulator).netloc, "POST", "/_simulator/switches", sent, {"Content-Type": "application/json"})
            return seconds
    raise SystemExit(__doc__)


def card(web: str, key: str) -> str:
    """1. A customer. 2. A card, not bound yet. 3. The customer's browser fills the page, and comes back to us."""
    who = {"reference": secrets.token_hex(4), "name": "Aminah", "email": "aminah@example.com"}
    who |= {"country_code": "60", "phone_number": "123456789"}
    customer = str(api(web, key, "POST", "/api/v1/customers/", who)["id"])
    method = api(web, key, "POST", "/api/v1/payment-methods/", {"customer": customer})
    page = urlsplit(method["payment_url"])
    form = {"number": "4111111111111111", "name": "Aminah", "expiry": "12/39", "cvv": "123", "action": "bind"}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    _, headers, _ = call(page.netloc, "POST", f"{page.path}?{page.query}", urlencode(form), kind)
    back = urlsplit(headers["Location"])
    call(web, "GET", f"{back.path}?{back.query}", "", PROXY)
    method = api(web, key, "GET", f"/api/v1/payment-methods/{method['id']}/")
    if method["state"] != "active":
        raise SystemExit(f"the card is {method['state']}")
    return customer


def wait(web: str, key: str, invoice: str, states: list[str]) -> str:
    until = time.monotonic() + PATIENCE_SECONDS
    state = "none"
    while time.monotonic() < until:
        attempts = api(web, key, "GET", f"/api/v1/attempts/?invoice={invoice}")["data"]
        state = attempts[0]["state"] if attempts else "none"
        if state in states:
            return state
        time.sleep(0.2)
    raise SystemExit(f"after {PATIENCE_SECONDS} s the attempt is {state}")


def api(web: str, key: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {**PROXY, "Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if method == "POST":
        headers["Idempotency-Key"] = secrets.token_hex(16)
    said: dict[str, Any] = json.loads(call(web, method, path, json.dumps(body) if body else "", headers)[2])
    return said


def call(
    address: str, method: str, path: str, body: str, headers: dict[str, str]
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {text[:300]!r}")
        return answer.status, answer.headers, text
    finally:
        connection.close()


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
