"""The table of docs/declines.md, from the codes in the code. `python -m tests.house.declines_page` writes it."""

from billing.domain.declines import known_codes
from billing.domain.messages import Language
from tests.house.source import ROOT

PAGE = ROOT / "docs" / "declines.md"
BEGIN, END = "<!-- the table: python -m tests.house.declines_page -->\n", "<!-- the end of the table -->\n"


def table() -> str:
    rows = "".join(
        f"| `{code}` | {one.kind} | {one.staff} | {one.payer[Language.ENGLISH]} |\n"
        for code, one in known_codes().items()
    )
    return f"| code | kind | for your staff | for the customer |\n|---|---|---|---|\n{rows}"


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
