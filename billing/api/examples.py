"""Examples for the documentation, one per body."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer

_CUSTOMER_ID = "cus_06cs5z1n2tbrvg3p9k4qj7m8xe"
_PLAN_ID = "plan_06cs5z2f6q0w9h4m3nkt8v5rdc"
_CARD_ID = "pm_06cs5z37a1e8y5gjq2bxw4ns9t"


_SUBSCRIPTION_ID = "sub_06cs5z4h9d3f7kzr0vym1bq6tn"
_INVOICE_ID = "inv_06cs5z5s2g8x4jwc6e0nphk3vd"
_ATTEMPT_ID = "att_06cs5z6c7m1r5p9t2hxq8wn4ye"


def output_example(example: dict[str, Any]) -> Callable[[Any], Any]:
    """Shows the object as `example` wherever it is answered."""
    shown = OpenApiExample("As received", example, response_only=True)
    return extend_schema_serializer(examples=[shown])


def _sent(name: str, body: dict[str, Any]) -> list[OpenApiExample]:
    return [OpenApiExample(name, body, request_only=True)]


CUSTOMER = _sent(
    "A customer",
    {
        "reference": "member-1001",
        "name": "Aminah binti Ali",
        "email": "aminah@example.com",
        "country_code": "60",
        "phone_number": "123456789",
        "language": "ms",
        "metadata": {"branch": "Bangsar"},
    },
)
CUSTOMER_CHANGE = _sent("A new address", {"email": "aminah.ali@example.com"})
PAYMENT_METHOD = _sent("A card", {"customer": _CUSTOMER_ID, "return_url": "https://shop.example/cards/done?order=7"})
PLAN = _sent(
    "Monthly, on the last day",
    {
        "code": "coffee-club",
        "name": "Coffee club",
        "amount_minor": 1990,
        "currency": "MYR",
        "interval": "MONTHLY",
        "target": "-1",
        "charge_time": "09:00",
        "time_zone": "Asia/Kuala_Lumpur",
    },
)
SUBSCRIPTION = _sent(
    "Charged at once, then by the plan",
    {"reference": "membership-1001", "customer": _CUSTOMER_ID, "plan": _PLAN_ID, "charge_at_start": True},
)
CANCEL = _sent("And nothing is owed any more", {"reason": "moved away", "open_invoices": "void"})
SUBSCRIPTION_CHANGE = _sent("Another card", {"payment_method": _CARD_ID})
INVOICE = _sent(
    "RM 35.00 once",
    {"customer": _CUSTOMER_ID, "amount_minor": 3500, "currency": "MYR", "description": "Coffee grinder"},
)
REFUND = _sent(
    "RM 5.00 of a payment",
    {"attempt": _ATTEMPT_ID, "amount_minor": 500, "reason": "one coffee was cold"},
)
RESOLVE_REFUND = _sent(
    "After a check in the gateway's portal",
    {"resolution": "refunded", "reason": "the portal shows it as refunded on 16 January"},
)
PAID_ELSEWHERE = _sent(
    "By bank transfer",
    {"method": "bank_transfer", "reference": "FT-2291", "paid_date": "2026-01-15", "reason": "seen on the statement"},
)
FOUND_PAYMENT = _sent(
    "After a backup was restored",
    {"transaction_id": "260115032329300020839212", "reason": "the portal shows it for this period"},
)
VOID = _sent("A mistake", {"reason": "the customer had cancelled before"})
WRITE_OFF = _sent("Not collected any more", {"reason": "the customer moved away"})
COLLECT = _sent("Collect again", {"reason": "the customer asked to be charged"})
CLEAR_HOLD = _sent(
    "With an order set aside",
    {"reason": "sold at the till", "charge_although": ["1768447409310077001"]},
)
SWITCH = _sent("With a reason", {"reason": "prices are being checked"})
RESOLVE = _sent(
    "The money was taken",
    {"resolution": "charged", "transaction_id": "260115032329300020839212", "reason": "seen in the merchant portal"},
)
RELEASE = _sent("For later invoices", {"reason": "the customer waits for the next delivery"})
_TWO_ATTEMPTS = ["att_06cs5z6c7m1r5p9t2hxq8wn4ye", "att_06cs5z6d9d3f7kzr0vym1bq6tn"]
RESOLVE_MANY = _sent(
    "After an outage",
    {"attempts": _TWO_ATTEMPTS, "resolution": "not_charged", "reason": "the gateway confirmed that it took nothing"},
)
RELEASE_MANY = _sent("After an outage", {"attempts": _TWO_ATTEMPTS, "reason": "the gateway is investigating"})
TWO_DATES = {"dates": ["2026-01-31T01:00:00Z", "2026-02-28T01:00:00Z"]}

_SCHEDULE = {
    "amount_minor": 1990,
    "currency": "MYR",
    "interval": "MONTHLY",
    "target": -1,
    "every": 1,
    "charge_time": "09:00",
    "time_zone": "Asia/Kuala_Lumpur",
    "schedule": "every month on the last day at 09:00, Asia/Kuala_Lumpur",
    "repetitions": None,
}
A_CUSTOMER = {
    "id": _CUSTOMER_ID,
    "reference": "member-1001",
    "name": "Aminah binti Ali",
    "email": "aminah@example.com",
    "country_code": "60",
    "phone_number": "123456789",
    "language": "ms",
    "silenced": False,
    "metadata": {"branch": "Bangsar"},
    "created_at": "2026-01-15T03:20:11.482913Z",
}
A_CARD = {
    "id": _CARD_ID,
    "customer": _CUSTOMER_ID,
    "kind": "tokenized",
    "state": "active",
    "is_default": True,
    "is_held": False,
    "declined_for_good": None,
    "rests_until": None,
    "label": "411111******1111",
    "payment_url": None,
    "return_url": "https://shop.example/cards/done?order=7",
    "bind_outcome": None,
    "bind_reason": "",
    "created_at": "2026-01-15T03:20:14.020332Z",
    "activated_at": "2026-01-15T03:22:40.551872Z",
}
A_PLAN = {
    **_SCHEDULE,
    "id": _PLAN_ID,
    "code": "coffee-club",
    "version": 1,
    "name": "Coffee club",
    "trial_days": 0,
    "activates_on": "payment",
    "created_at": "2026-01-02T08:00:00.118455Z",
}
A_SUBSCRIPTION = {
    **_SCHEDULE,
    "id": _SUBSCRIPTION_ID,
    "reference": "membership-1001",
    "customer": _CUSTOMER_ID,
    "plan": _PLAN_ID,
    "payment_method": None,
    "state": "active",
    "collector": "engine",
    "catch_up": "all",
    "charge_at_start": True,
    "activates_on": "payment",
    "first_payment_ends_at": "2026-01-16T02:23:02.771203Z",
    "periods_opened": 1,
    "periods_charged": 1,
    "next_due_at": "2026-01-31T01:00:00Z",
    "trial_ends_at": None,
    "activated_at": "2026-01-15T03:23:02.771203Z",
    "ended_at": None,
    "metadata": {},
    "created_at": "2026-01-15T03:23:02.771203Z",
}
AN_INVOICE = {
    "id": _INVOICE_ID,
    "customer": _CUSTOMER_ID,
    "subscription": _SUBSCRIPTION_ID,
    "period_index": 0,
    "payment_method": None,
    "state": "paid",
    "state_reason": "",
    "description": "Coffee club",
    "lines": [{"description": "Coffee club", "quantity": 1, "amount_minor": 1990}],
    "amount_minor": 1990,
    "currency": "MYR",
    "amount_refunded_minor": 500,
    "due_at": "2026-01-15T03:23:02.771203Z",
    "next_attempt_at": None,
    "attempt_count": 1,
    "tries": 0,
    "tries_avoided": 0,
    "dunning_policy": None,
    "grace_ends_at": None,
    "hold": None,
    "refusal": None,
    "created_at": "2026-01-15T03:23:03.000914Z",
    "closed_at": "2026-01-15T03:23:29.310077Z",
    "paid_elsewhere": None,
    "proposal": None,
}
AN_ATTEMPT = {
    "id": _ATTEMPT_ID,
    "invoice": _INVOICE_ID,
    "payment_method": _CARD_ID,
    "checkout": None,
    "number": 1,
    "state": "succeeded",
    "state_reason": "",
    "decline": None,
    "amount_minor": 1990,
    "currency": "MYR",
    "amount_refunded_minor": 500,
    "marker": "7QH2MZ0K4XWB",
    "gateway_transaction_id": "260115032329300020839212",
    "gateway_order_id": "1768447409310077001",
    "armed_at": "2026-01-15T03:23:03.120448Z",
    "settled_at": "2026-01-15T03:23:29.310077Z",
    "proposal": None,
}
A_CHECKOUT = {
    "id": "chk_06cs5z9w2m6q0t4x8b1d5f9hjk",
    "invoice": _INVOICE_ID,
    "state": "open",
    "state_reason": "page_handed_out",
    "amount_minor": 1990,
    "currency": "MYR",
    "order_id": "KT7QH2MZ0K4XWB",
    "url": "https://pg.revenuemonster.my/v4/checkout?checkoutId=1768447409310077001",
    "expires_at": "2026-01-15T03:33:03.120448Z",
    "created_at": "2026-01-15T03:23:03.120448Z",
    "closed_at": None,
    "attempts": [],
}
AN_EXPLANATION = {
    "invoice": _INVOICE_ID,
    "answer": "charged",
    "summary": "The card was charged RM 19.90 once for period 1 of Coffee club, on Thursday, 15 January 2026 at 11:23.",
    "time_zone": "Asia/Kuala_Lumpur",
    "lines": [
        {
            "at": "2026-01-15T03:23:02.771203Z",
            "kind": "due",
            "text": "Period 1 was due on Thursday, 15 January 2026 at 11:23: the subscription began then.",
            "evidence": [_INVOICE_ID],
        },
        {
            "at": "2026-01-15T03:23:29.310077Z",
            "kind": "paid",
            "text": "Attempt 1: the gateway answered that the money was taken. This paid the invoice.",
            "evidence": ["att_06cs5z6c7m1r5p9t2hxq8wn4ye", "transaction 260115032329300020839212"],
        },
    ],
}
A_REFUND = {
    "id": "ref_06cs5zf2k8w3n7c1v5t9hjm4pd",
    "attempt": _ATTEMPT_ID,
    "invoice": _INVOICE_ID,
    "kind": "partial",
    "origin": "engine",
    "amount_minor": 500,
    "currency": "MYR",
    "state": "succeeded",
    "state_reason": "refunded",
    "requested_by": "api:key_06cs5z0c4w8m2p6t0v3x7b1d5f",
    "reason": "one coffee was cold",
    "created_at": "2026-01-16T02:10:44.019377Z",
    "armed_at": "2026-01-16T02:10:45.402118Z",
    "settled_at": "2026-01-16T02:10:46.911052Z",
}
AN_EVENT = {
    "id": "evt_06cs5zg4n1t8k5r2w7x0c3h6vd",
    "type": "invoice.paid",
    "timestamp": "2026-01-15T03:23:29.310077Z",
    "sequence": 17,
    "data": {
        "object_type": "invoice",
        "object_id": _INVOICE_ID,
        "object_sequence": 2,
        "object": AN_INVOICE,
        "changes": {"state": {"from": "open", "to": "paid"}},
        "details": {"reason": "paid", "invoice": _INVOICE_ID},
    },
}
AN_ACCOUNT = {
    "id": "acct_06cs5z0b3v7k1n5r9w2d4f6h8j",
    "name": "Kedai Kopi",
    "environment": "sandbox",
    "time_zone": "Asia/Kuala_Lumpur",
    "store_id": "1602660043994159611",
    "charge_limit_minor": 1000000000,
    "second_person_above_minor": 50000,
    "first_payment_hours": 23,
    "is_stopped": False,
    "stopped_at": None,
    "stopped_reason": "",
    "is_paused": False,
    "paused_reason": "",
    "created_at": "2026-01-02T07:45:00.330914Z",
}
A_PROPOSAL = {
    "id": "prop_06cs6a0t4w8x2n6r1v5z9c3f7h",
    "decision": "not_charged",
    "transaction_id": "",
    "reason": "nothing in the merchant portal",
    "proposed_by": "siti",
    "proposed_at": "2026-01-16T02:11:09.402117Z",
    "outcome": "open",
    "decided_by": "",
    "decided_at": None,
    "decided_reason": "",
}
_CASE_ATTEMPT = AN_ATTEMPT | {
    "state": "needs_review",
    "state_reason": "order_without_marker",
    "gateway_transaction_id": None,
    "gateway_order_id": None,
    "settled_at": None,
    "proposal": A_PROPOSAL,
}
A_CASE = {
    "attempt": _CASE_ATTEMPT,
    "invoice": AN_INVOICE | {"state": "open", "closed_at": None},
    "payment_method": A_CARD | {"is_held": True},
    "evidence": [
        {
            "source": "answer",
            "verdict": "unclear",
            "reason": "timeout",
            "content": {"reason": "timeout", "detail": {"error": "Unknown", "kind": "timeout"}},
            "recorded_at": "2026-01-15T03:24:43.120448Z",
        }
    ],
    "orders": [
        {
            "attempt": None,
            "state": None,
            "marker": None,
            "order": {
                "gateway_order_id": "1768447409310077001",
                "gateway_transaction_id": "260115032329300020839212",
                "status": "SUCCESS",
                "amount_minor": 1990,
                "currency": "MYR",
                "ordered_at": "2026-01-15T03:23:29Z",
            },
            "explained": "unexplained",
        }
    ],
    "holds_up": [
        {
            "invoice": "inv_06cs6b1v5x9z3n7r2w6a0c4f8j",
            "description": "Coffee club",
            "amount_minor": 1990,
            "currency": "MYR",
            "due_at": "2026-01-16T01:00:00Z",
        }
    ],
    "choices": [
        {
            "decision": "not_charged",
            "invoice": "No try is counted. The invoice stays open and is charged again now.",
            "next_charge_at": "2026-01-16T02:11:09.402117Z",
            "subscription": "The subscription is unchanged.",
            "card": "The card is charged for its other invoices again.",
        }
    ],
    "proposals": [A_PROPOSAL],
    "second_person": True,
}
A_HOLD = {
    "payment_method": _CARD_ID,
    "is_held": True,
    "reason": "unexplained_order",
    "charges": [
        {
            "invoice": _INVOICE_ID,
            "description": "Coffee club",
            "amount_minor": 1990,
            "currency": "MYR",
            "due_at": "2026-01-15T03:23:02.771203Z",
        }
    ],
    "total_minor": 1990,
    "orders": [
        {
            "gateway_order_id": "1768447409310077001",
            "gateway_transaction_id": "260115032329300020839212",
            "status": "SUCCESS",
            "amount_minor": 1990,
            "currency": "MYR",
            "ordered_at": "2026-01-15T03:23:29Z",
        }
    ],
    "may_be_paid": [
        {
            "order": "1768447409310077001",
            "transaction_id": "260115032329300020839212",
            "invoice": _INVOICE_ID,
            "why": "names_the_invoice",
        }
    ],
    "proposal": None,
}
OUTCOMES = {
    "results": [
        {"attempt": _TWO_ATTEMPTS[0], "outcome": "done", "state": "not_charged", "proposal": None, "error": None},
        {
            "attempt": _TWO_ATTEMPTS[1],
            "outcome": "refused",
            "state": "declined",
            "proposal": None,
            "error": {"field": "attempt", "rule": "state", "message": "must need review; it is declined"},
        },
    ]
}
A_MESSAGE = {
    "id": "msg_06cs5zg4t9x2m6p1v7c3k8hjn5",
    "customer": _CUSTOMER_ID,
    "kind": "receipt",
    "language": "en",
    "state": "sent",
    "state_reason": "",
    "subject": "Receipt for RM 19.90: Coffee club",
    "text": "Thank you for your payment\n\nHello Aminah binti Ali, we have received your payment.\n",
    "created_at": "2026-01-16T01:00:04.117352Z",
    "sent_at": "2026-01-16T01:00:09.530471Z",
    "sent_again_at": None,
}

A_PAYMENT_LINK = {
    "url": "https://billing.example.com/pay/cus_06cs5z1n2tbrvg3p9k4qj7m8xe.0.1798761600.7mG0vXw3/",
    "expires_at": "2027-01-01T00:00:00Z",
}
