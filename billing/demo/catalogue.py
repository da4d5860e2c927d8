"""Who buys what in the demonstration: every rule of schedules, and cards that behave and that do not."""

from dataclasses import dataclass
from enum import StrEnum

MERCHANT = "Kedai Kitaran"


class Card(StrEnum):
    """Test cards of the simulator."""

    GOOD = "4111111111111111"
    GOOD_TOO = "5555555555554444"
    DECLINES = "4000000000000002"
    DECLINES_ONCE = "4000000000000366"
    LOSES_ANSWERS = "4000000000000119"  # takes the money every time, and the answer is lost
    LOSES_ONE_ANSWER = "4000000000000127"
    IN_PROCESS = "4000000000000341"  # the gateway takes its time, then it is paid
    DROPS = "4000000000000259"  # the connection is cut before anything happens


class Begins(StrEnum):
    """How a subscription begins, seen from the moment of seeding."""

    BEFORE_LAST = "before_last"  # just before the schedule's last occurrence, so that one period is due
    AT_ONCE = "at_once"  # now, and charged at its start
    NOW = "now"  # nothing is due yet


@dataclass(frozen=True, slots=True)
class Seed:
    """One customer with one card and one subscription. `amount_minor` is in sen, and none of the simulator's own."""

    customer: str
    product: str
    amount_minor: int
    interval: str
    target: int | None
    every: int
    card: Card
    begins: Begins
    trial_days: int = 0

    @property
    def slug(self) -> str:
        return self.customer.lower().replace(" ", "-")

    @property
    def plan_code(self) -> str:
        return self.product.lower().replace(" ", "-")


DUE, AT_ONCE, LATER = Begins.BEFORE_LAST, Begins.AT_ONCE, Begins.NOW

SEEDS = (
    Seed("Aminah Ali", "Coffee club", 1990, "DAILY", None, 1, Card.GOOD, DUE),
    Seed("Tan Wei Ming", "Newspaper", 350, "DAILY", None, 1, Card.GOOD_TOO, DUE),
    Seed("Kavitha Nair", "Fruit box", 4500, "WEEKLY", 0, 1, Card.GOOD, DUE),
    Seed("Lim Mei Ling", "Tuition", 12000, "WEEKLY", 1, 1, Card.LOSES_ANSWERS, DUE),
    Seed("Ravi Kumar", "Gym class", 2500, "WEEKLY", 2, 1, Card.GOOD, DUE),
    Seed("Nurul Huda", "Lunch box", 6800, "WEEKLY", 3, 1, Card.DECLINES, DUE),
    Seed("Wong Jia Hui", "Piano class", 9500, "WEEKLY", 4, 1, Card.LOSES_ONE_ANSWER, DUE),
    Seed("Hafiz Rahman", "Car wash", 1500, "WEEKLY", 5, 1, Card.GOOD_TOO, DUE),
    Seed("Chong Li Na", "Badminton", 1800, "WEEKLY", 6, 1, Card.IN_PROCESS, DUE),
    Seed("Siti Mariam", "Gym", 14900, "MONTHLY", -1, 1, Card.LOSES_ANSWERS, DUE),
    Seed("Jason Lee", "Web hosting", 2990, "MONTHLY", 0, 1, Card.GOOD, DUE),
    Seed("Priya Devi", "Playschool", 45000, "MONTHLY", 15, 1, Card.GOOD_TOO, DUE),
    Seed("Azman Yusof", "Parking", 18000, "MONTHLY", 28, 1, Card.DECLINES, DUE),
    Seed("Goh Kok Wai", "Aircond care", 13500, "MONTHLY", 15, 3, Card.GOOD, DUE),
    Seed("Ong Siew Mei", "Alumni club", 20000, "MONTHLY", 28, 12, Card.DROPS, DUE),
    Seed("Farah Zain", "Book club", 3900, "MONTHLY", 1, 1, Card.GOOD, AT_ONCE),
    Seed("Muthu Samy", "Water filter", 8800, "WEEKLY", 5, 2, Card.DECLINES_ONCE, AT_ONCE),
    Seed("Zainab Omar", "Yoga", 7900, "DAILY", None, 2, Card.GOOD, LATER),
    Seed("Daniel Raj", "Cat food", 5600, "WEEKLY", 1, 2, Card.GOOD_TOO, LATER),
    Seed("Arvind Rao", "Swim class", 5000, "WEEKLY", 0, 1, Card.GOOD, LATER, trial_days=7),
    Seed("Rosnah Din", "Laundry", 3200, "WEEKLY", 6, 1, Card.GOOD_TOO, LATER),
    Seed("Idris Hamid", "Locker", 1200, "MONTHLY", -1, 1, Card.GOOD, LATER),
    Seed("Yap Mun Yee", "Magazine", 2400, "MONTHLY", 5, 6, Card.GOOD, LATER),
    Seed("Chin Pei Yee", "Domain name", 6900, "MONTHLY", 10, 12, Card.GOOD_TOO, LATER),
)
