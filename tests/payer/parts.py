"""What tests of the customer page share: its address, its forms, and a press of a button."""

import re
from typing import Any

from django.test import Client

from billing.models import Customer
from billing.models.clock import database_now
from billing.subscriptions.payment_links import payment_link

HOST = "http://127.0.0.1:8000"


def path_of(customer: Customer) -> str:
    """Where a link that is made now leads."""
    return payment_link(customer, now=database_now()).url.removeprefix(HOST)


def page(client: Client, customer: Customer, query: str = "") -> str:
    response = client.get(path_of(customer) + query)
    assert response.status_code == 200
    return response.content.decode()


def forms(text: str) -> dict[str, str]:
    """The token of each form, by its button."""
    found = re.findall(r'<form .*?name="form" value="([^"]+)".*?<button[^>]*>(.*?)</button>', text, re.DOTALL)
    return {button: token for token, button in found}


def press(client: Client, customer: Customer, token: str) -> Any:
    """Sends a form, and returns the answer."""
    return client.post(path_of(customer), {"form": token})


def note_of(response: Any) -> str:
    """The word with which the browser is sent back to the page."""
    assert response.status_code == 303, response.status_code
    return str(response["Location"]).partition("note=")[2]
