"""Bodies and objects of dunning policies, as the documentation shows them."""

from drf_spectacular.utils import OpenApiExample

_ID = "dpol_06cs5z1n2tbrvg3p9k4qj7m8xe"
NEW_POLICY = [
    OpenApiExample(
        "Around pay days",
        {
            "code": "pay-days",
            "name": "Around pay days",
            "retry_days": [3, 10, 20],
            "retry_hour": 9,
            "prefer_days": [*range(1, 8), *range(25, 32)],
            "grace_days": 5,
            "final_action": "pause",
        },
        request_only=True,
    )
]
CHANGE = [OpenApiExample("More patience", {"grace_days": 7}, request_only=True)]
ASSIGN = [
    OpenApiExample(
        "For one plan", {"scope": "plan", "plan_code": "coffee-club", "reason": "wages come late"}, request_only=True
    )
]
UNASSIGN = [OpenApiExample("No longer", {"plan_code": "coffee-club"}, request_only=True)]
A_POLICY = {
    "id": _ID,
    "code": "pay-days",
    "name": "Around pay days",
    "retry_days": [3, 10, 20],
    "retry_hour": 9,
    "prefer_days": [1, 2, 3, 4, 5, 6, 7, 25, 26, 27, 28, 29, 30, 31],
    "avoid_days": [],
    "avoid_weekdays": [],
    "quiet_tries": [],
    "grace_days": 5,
    "final_action": "pause",
    "used_for": [{"scope": "plan", "plan_code": "coffee-club", "percent": 100}],
    "created_at": "2026-01-02T08:00:00.118455Z",
}
A_PREVIEW = {
    "tries": [
        {"number": 1, "at": "2026-03-02T01:00:00Z", "message": "payment_failed"},
        {"number": 2, "at": "2026-03-05T01:00:00Z", "message": "payment_failed"},
        {"number": 3, "at": "2026-03-12T01:00:00Z", "message": "last_warning"},
        {"number": 4, "at": "2026-03-25T01:00:00Z", "message": "payment_failed"},
    ],
    "ends_at": "2026-03-30T01:00:00Z",
    "final_action": "pause",
}
