"""Made-up values of each kind of message, for its preview where the account has nothing to show yet."""

from datetime import datetime, timedelta
from typing import Any

from billing.domain.declines import decline_of
from billing.domain.messages import Language, MessageKind, day_in_words, how_often
from billing.models import MailSettings

ZONE = "Asia/Kuala_Lumpur"


def sample(kind: MessageKind, language: Language, settings: MailSettings, *, now: datetime) -> dict[str, Any]:
    day = day_in_words(now + timedelta(days=7), ZONE, language)
    return {
        "name": "Aminah binti Ali",
        "merchant": settings.sender_name,
        "cancel_url": settings.cancel_url,
        "what": "Coffee club",
        "amount": "RM 49.90",
        "how_often": how_often("MONTHLY", 1, language),
        "next_charge": day,
        "due": day,
        "try_again": day,
        "paid_on": day_in_words(now, ZONE, language),
        "trial": kind is MessageKind.NOTICE,
        "times": "",
        "old_amount": "",
        "unpaid": False,
        "over": False,
        "first": False,
        "at_start": False,
        "card": "1111",
        "until": "",
        "why": decline_of("51").payer[language],
        "invoice": "inv_01k9example",
    }
