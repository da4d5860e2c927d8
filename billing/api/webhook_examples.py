"""Examples of webhooks for the documentation."""

from billing.api.examples import _sent as sent

_ENDPOINT_ID = "whe_06cs6d0r2m7q4w9t1v5x8z3b6n"
_DELIVERY_ID = "whd_06cs6d1t8x2z5b7n0q3v6w9r4m"
_EVENT_ID = "evt_06cs6d1s4v7x0z2b5n8q1t3w6r"
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105

WEBHOOK_ENDPOINT = sent(
    "Two types of events",
    {
        "url": "https://shop.example/webhooks",
        "types": ["invoice.paid", "invoice.payment_failed"],
        "description": "shop backend",
        "email": "developers@shop.example",
    },
)
WEBHOOK_ENDPOINT_CHANGE = sent("All types", {"types": []})
WEBHOOK_REASON = sent("With a reason", {"reason": "the server moves"})
RESUME_WEBHOOK = sent("With what was missed", {"reason": "the server is back", "skip_missed": False})
ROTATE_SECRET = sent("Both sign for a day", {"end_old_at_once": False})
RESEND_SPAN = sent(
    "An hour of payments",
    {
        "created_from": "2026-01-15T03:00:00Z",
        "created_before": "2026-01-15T04:00:00Z",
        "types": ["invoice.paid"],
    },
)

A_WEBHOOK_ENDPOINT = {
    "id": _ENDPOINT_ID,
    "url": "https://shop.example/webhooks",
    "types": ["invoice.paid", "invoice.payment_failed"],
    "description": "shop backend",
    "email": "developers@shop.example",
    "state": "active",
    "disabled_reason": "",
    "failing_since": None,
    "old_secret_ends_at": None,
    "created_at": "2026-01-02T08:10:00.204410Z",
}
A_WEBHOOK_SECRET = {"endpoint": A_WEBHOOK_ENDPOINT, "secret": _SECRET}
A_WEBHOOK_TEST = {"event": _EVENT_ID}
A_RESENT_SPAN = {"count": 212}
A_WEBHOOK_DELIVERY = {
    "id": _DELIVERY_ID,
    "endpoint": _ENDPOINT_ID,
    "event": _EVENT_ID,
    "type": "invoice.paid",
    "state": "delivered",
    "try_count": 2,
    "next_try_at": None,
    "created_at": "2026-01-15T03:23:29.902240Z",
    "closed_at": "2026-01-15T03:23:36.117403Z",
}
A_WEBHOOK_TRY = {
    "number": 2,
    "at": "2026-01-15T03:23:35.902240Z",
    "duration_ms": 84,
    "status": 200,
    "error": "",
    "answer": "ok",
}
A_WEBHOOK_DELIVERY_WITH_TRIES = {
    **A_WEBHOOK_DELIVERY,
    "tries": [
        A_WEBHOOK_TRY,
        {
            "number": 1,
            "at": "2026-01-15T03:23:30.102240Z",
            "duration_ms": 1203,
            "status": 503,
            "error": "status",
            "answer": "starting up",
        },
    ],
}
