"""Which of the gateway's orders may be the payment of an invoice."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.domain.closing import Likeness, Owed, likeness
from billing.domain.matching import EARLIEST

NOW = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
OWED = Owed("inv_1", 1990, "MYR", NOW)


@pytest.mark.parametrize(
    ("amount", "made_at", "words", "why"),
    [
        (1990, NOW, "MARKER000001 inv_1 Coffee", Likeness.NAMES_THE_INVOICE),
        (1990, NOW, "MARKER000001 inv_2 Coffee", None),
        (1990, NOW, "At the till", Likeness.AMOUNT_AND_TIME),
        (1990, None, "At the till", Likeness.AMOUNT_AND_TIME),
        (1990, NOW - EARLIEST, "At the till", Likeness.AMOUNT_AND_TIME),
        (1990, NOW - EARLIEST - timedelta(seconds=1), "At the till", None),
        (2990, NOW, "MARKER000001 inv_1 Coffee", None),
    ],
)
def test_order_may_be_the_payment_by_words_or_by_amount_and_time(
    amount: int, made_at: datetime | None, words: str, why: Likeness | None
) -> None:
    assert likeness(OWED, amount_minor=amount, currency="MYR", made_at=made_at, words=words) == why
