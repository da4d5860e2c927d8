"""How sure a share is, and a difference of two shares: intervals that hold for small numbers too.

A share of n has Wilson's score interval. Two independent shares are compared with Newcombe's hybrid score interval:
R. G. Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven methods",
Statistics in Medicine 17 (1998), 873-890, method 10 (without continuity correction)."""

from dataclasses import dataclass
from math import sqrt

Z = 1.959964  # 95 %
# Below it no difference is called one, whatever its interval says.
LEAST = 30


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, both included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole`."""

    part: int
    whole: int

    def __post_init__(self) -> None:
        if not 0 <= self.part <= self.whole:
            raise ValueError(f"part: must be from 0 to {self.whole}; got {self.part}")

    @property
    def value(self) -> float:
        """From 0 to 1; 0 of nothing is 0."""
        return self.part / self.whole if self.whole else 0.0


def wilson(share: Share) -> Interval:
    """The 95 % score interval of a share: ((2np + z^2) -/+ z sqrt(z^2 + 4np(1 - p))) / (2(n + z^2))."""
    n, p = share.whole, share.value
    if not n:
        return Interval(0.0, 1.0)
    middle = 2 * n * p + Z**2
    width = Z * sqrt(Z**2 + 4 * n * p * (1 - p))
    below = 2 * (n + Z**2)
    return Interval(max(0.0, (middle - width) / below), min(1.0, (middle + width) / below))


def difference(first: Share, second: Share) -> Interval:
    """The 95 % interval of d = p1 - p2, `first` minus `second`: from d - sqrt((p1 - l1)^2 + (u2 - p2)^2) to
    d + sqrt((u1 - p1)^2 + (p2 - l2)^2), where l and u are the limits of Wilson's intervals."""
    p1, p2 = first.value, second.value
    one, two = wilson(first), wilson(second)
    below = sqrt((p1 - one.low) ** 2 + (two.high - p2) ** 2)
    above = sqrt((one.high - p1) ** 2 + (p2 - two.low) ** 2)
    return Interval(p1 - p2 - below, p1 - p2 + above)


def is_clear(first: Share, second: Share) -> bool:
    """Whether the difference may be called one: enough of both, and an interval without zero."""
    between = difference(first, second)
    enough = first.whole >= LEAST and second.whole >= LEAST
    return enough and (between.low > 0 or between.high < 0)
