"""The table of docs/events.md, from the kinds in the code. `python -m tests.house.events_page` writes it."""

from itertools import groupby

from billing.domain.events import KINDS
from tests.house.source import ROOT

PAGE = ROOT / "docs" / "events.md"
BEGIN, END = "<!-- the table: python -m tests.house.events_page -->\n", "<!-- the end of the table -->\n"


def table() -> str:
    """A section for each type of object, in the order of the code."""
    sections = []
    for object_type, kinds in groupby(KINDS, key=lambda kind: kind.object_type):
        rows = "".join(f"| `{kind.name}` | {kind.when} |\n" for kind in kinds)
        sections.append(f"### `{object_type}`\n\n| type | recorded when |\n|---|---|\n{rows}")
    return "\n".join(sections)


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
