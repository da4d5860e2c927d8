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
_TALLY = {
    "declined": 40,
    "recovered": 31,
    "lost": 6,
    "declined_minor": 79600,
    "recovered_minor": 61690,
    "lost_minor": 11940,
    "tries_avoided": 9,
    "median_days": 3.0,
}
FIGURES = {
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-04-01T00:00:00Z",
    "total": _TALLY,
    "by_reason": [{**_TALLY, "code": "51", "kind": "soft"}],
    "by_policy": [{**_TALLY, "policy": _ID}],
    "by_try": [{"number": 2, "tried": 40, "paid": 22, "paid_minor": 43780}],
    "by_day": [{"day": 25, "tried": 12, "paid": 9, "paid_minor": 17910}],
    "comparisons": [
        {
            "scope": "plan",
            "plan_code": "coffee-club",
            "policy": _ID,
            "second_policy": "dpol_06cs5z1n2tbrvg3p9k4qj7m8xf",
            "customers": 70,
            "recovered": 56,
            "second_customers": 80,
            "second_recovered": 48,
            "difference_low": 0.0524,
            "difference_high": 0.3339,
            "is_clear": True,
            "verdict": "Around pay days recovers more",
            "declined_before": "2026-03-01T00:00:00Z",
        }
    ],
}
