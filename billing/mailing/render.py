"""Words and values become a mail: one template of plain text for each kind and language, from which the text and the
HTML are made, so that both always say the same.

A template begins with `Subject:` and `Preview:`. Blank lines part the blocks: `# ` is the heading, lines with `| ` are
names and values, `[page]` is the button that leads to the customer page, `[cancel]` ends with the address where the
customer cancels; any other block is a paragraph. A value that a template names and that is missing is an error."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from css_inline import CSSInliner
from django.template import Context, Engine

from billing.domain.messages import Language, MessageKind
from billing.models import MailSettings

FOLDER = Path(__file__).resolve().parent.parent / "templates"


class MissingValueError(Exception):
    """A template names a value that its message does not have."""


class _Strict(str):
    """Django formats this text with the name of what is missing."""

    __slots__ = ()

    def __contains__(self, _: object) -> bool:
        return True

    def __mod__(self, name: object) -> str:
        raise MissingValueError(str(name))


@dataclass(frozen=True, slots=True)
class Rendered:
    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class Block:
    """`kind` is heading, facts, button, cancel or paragraph."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, str], ...] = ()


def render(
    kind: MessageKind, language: Language, values: Mapping[str, Any], settings: MailSettings, *, page_url: str
) -> Rendered:
    """Raises MissingValueError."""
    template = _engine(autoescape=False).get_template(f"mail/{language.value}/{kind.value}.txt")
    plain = {name: _one_line(value) for name, value in values.items()}
    source = template.render(Context({**plain, "kind": kind.value}, autoescape=False))
    head, _, body = source.strip().partition("\n\n")
    subject, preview = (_one_line(line.partition(":")[2]) for line in head.splitlines())
    blocks = _joined([_block(part) for part in body.split("\n\n") if part.strip()])
    sentence = settings.sentence_ms if language is Language.MALAY else settings.sentence_en
    if sentence:
        blocks.append(Block("paragraph", sentence.strip()))
    frame = {
        "language": language.value,
        "subject": subject,
        "preview": preview,
        "merchant": settings.sender_name,
        "logo_url": settings.logo_url,
        "color": settings.color,
        "blocks": blocks,
        "page_url": page_url,
        "cancel_url": values.get("cancel_url", ""),
        "cancel_label": settings.cancel_url or _PAGES[language],
        "footer": _FOOTERS[language].format(settings.sender_name),
    }
    return Rendered(subject, _text(blocks, frame), _html(frame))


# What stands for the address of the customer page where the customer cancels.
_PAGES = {Language.ENGLISH: "your payment page", Language.MALAY: "halaman bayaran anda"}
_FOOTERS = {
    Language.ENGLISH: "You receive this e-mail because you are a customer of {}.",
    Language.MALAY: "Anda menerima e-mel ini kerana anda pelanggan {}.",
}


def _one_line(value: Any) -> Any:
    """No value begins a line, a block or a header of its own."""
    return " ".join(value.split()) if isinstance(value, str) else value


def _block(part: str) -> Block:
    lines = [line.strip() for line in part.strip().splitlines()]
    if lines[0].startswith("# "):
        return Block("heading", lines[0][2:])
    if lines[0].startswith("[page]"):
        return Block("button", lines[0].removeprefix("[page]").strip())
    if lines[0].startswith("[cancel]"):
        return Block("cancel", " ".join(lines).removeprefix("[cancel]").strip())
    if all(line.startswith("| ") for line in lines if line):
        pairs = [line[2:].partition("|") for line in lines if line]
        return Block("facts", rows=tuple((name.strip(), value.strip()) for name, _, value in pairs))
    return Block("paragraph", " ".join(lines))


def _joined(blocks: list[Block]) -> list[Block]:
    """A line that is left out leaves a gap in its table, and no second table."""
    joined: list[Block] = []
    for block in blocks:
        if joined and block.kind == joined[-1].kind == "facts":
            joined[-1] = Block("facts", rows=joined[-1].rows + block.rows)
        else:
            joined.append(block)
    return joined


def _text(blocks: list[Block], frame: Mapping[str, Any]) -> str:
    parts = []
    for block in blocks:
        match block.kind:
            case "facts":
                parts.append("\n".join(f"{name}: {value}" for name, value in block.rows))
            case "button":
                parts.append(f"{block.text}:\n{frame['page_url']}")
            case "cancel":
                parts.append(f"{block.text} {frame['cancel_url']}")
            case _:
                parts.append(block.text)
    return "\n\n".join([*parts, f"-- \n{frame['footer']}"]) + "\n"


def _html(frame: Mapping[str, Any]) -> str:
    return _inliner().inline(_engine(autoescape=True).get_template("mail/base.html").render(Context(dict(frame))))


@lru_cache(maxsize=2)
def _engine(*, autoescape: bool) -> Engine:
    return Engine(dirs=[str(FOLDER)], autoescape=autoescape, string_if_invalid=_Strict("%s"))


@lru_cache(maxsize=1)
def _inliner() -> CSSInliner:
    """Reads nothing from outside: no address in a mail is fetched."""
    return CSSInliner(keep_style_tags=True, keep_at_rules=True, load_remote_stylesheets=False)
