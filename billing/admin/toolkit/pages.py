"""The parts that pages are put together from; each has a template of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from billing.admin.toolkit.formats import Label, change_words, moment, why_words
from billing.models import Transition


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, below each other."""

    title: str
    rows: Sequence[tuple[str, Any]]
    template: str = "facts"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a table; a label is shown in its colour."""

    value: Any
    label: Label | None = None
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; `empty` is said when there are none, and `more` leads to the whole list."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str
    more: str = ""
    template: str = "table"


@dataclass(frozen=True, slots=True)
class Step:
    """One change in a timeline."""

    at: Any
    what: str
    why: str
    who: str


@dataclass(frozen=True, slots=True)
class Timeline:
    title: str
    steps: Sequence[Step]
    empty: str = "No history yet."
    template: str = "timeline"


@dataclass(frozen=True, slots=True)
class Story:
    """An answer in a sentence, and how it came about: steps in order of time, folded until they are wanted."""

    title: str
    summary: str
    steps: Sequence[Step]
    template: str = "story"


@dataclass(frozen=True, slots=True)
class Words:
    """A notice: the first thing to read on the page."""

    text: str
    colour: str = "info"
    template: str = "words"


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Data as it is kept, for those who look closely; folded unless the page is about it."""

    title: str
    text: str
    folded: bool = True
    template: str = "verbatim"


@dataclass(frozen=True, slots=True)
class Post:
    """A button that acts at once; its form carries the one-time token. Shown to those who have `permission`."""

    label: str
    icon: str
    url: str
    explain: str
    token: str
    permission: str
    template: str = "post"


@dataclass(slots=True)
class Page:
    """A row's page. `main` is read first; `side` stands beside it where there is room."""

    title: str
    subtitle: Any = ""
    label: Label | None = None
    main: list[Any] = field(default_factory=list)
    side: list[Any] = field(default_factory=list)
    actions: list[Any] = field(default_factory=list)


MOST_STEPS = 20


def timeline(subjects: Iterable[tuple[str, Iterable[int]]], zone: str, title: str = "History") -> Timeline:
    """The newest changes of the subjects, newest first, in one query by the index of subjects."""
    among = Q(pk__in=[])
    for subject_type, keys in subjects:
        among |= Q(subject_type=subject_type, subject_id__in=list(keys))
    found = Transition.objects.filter(among).order_by("-id")[:MOST_STEPS]
    return Timeline(title, [step(row, zone) for row in found])


def step(row: Transition, zone: str) -> Step:
    """The change in words: `invoice: open → paid`."""
    what = f"{row.subject_type.capitalize()}: {change_words(row)}"
    return Step(moment(row.at, zone), what, why_words(row.reason), row.actor)
