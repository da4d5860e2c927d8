"""Each message in each language: nothing missing, text and HTML that say the same, and nothing of a value's own."""

import re
from typing import Any

import pytest
from django.template import Context

from billing.domain.messages import TO_CUSTOMERS, Language, MessageKind
from billing.mailing.render import MissingValueError, _engine, render
from billing.mailing.samples import sample
from billing.models import MailSettings
from tests.factories import NOW, make_mail

pytestmark = pytest.mark.django_db
PAGE_URL = "https://billing.example.com/pay/signed/"


def rendered(kind: MessageKind, language: Language, settings: MailSettings, **values: Any) -> Any:
    return render(kind, language, sample(kind, language, settings, now=NOW) | values, settings, page_url=PAGE_URL)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_every_kind_has_words_in_every_language(kind: MessageKind, language: Language) -> None:
    mail = rendered(
        kind, language, make_mail(cancel_url="https://kedai.example/cancel", sentence_en="Hi.", sentence_ms="Hai.")
    )
    for text in (mail.subject, mail.text, mail.html):
        assert text.strip()
        assert not re.search(r"\{\{|\{%|%\}|\[page\]|\[cancel\]|None|^\| ", text, re.MULTILINE)
    assert "Kedai Kopi" in mail.text
    assert ("Hai." if language is Language.MALAY else "Hi.") in mail.text
    assert len(mail.subject) < 100
    assert "<style" in mail.html
    assert 'style="' in mail.html


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_the_html_says_what_the_text_says(kind: MessageKind, language: Language) -> None:
    mail = rendered(kind, language, make_mail())
    words = re.sub(r"<[^>]+>", " ", re.sub(r"<style.*?</style>", "", mail.html, flags=re.DOTALL))
    assert set(re.findall(r"[\w.]+", mail.text.replace(PAGE_URL, ""))) <= set(re.findall(r"[\w.]+", words))


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(MissingValueError, match="amount"):
        render(MessageKind.RECEIPT, Language.ENGLISH, {}, make_mail(), page_url=PAGE_URL)
    with pytest.raises(MissingValueError, match=r"nothing\.at_all"):
        _engine(autoescape=False).from_string("{{ nothing.at_all }}").render(Context({}))


@pytest.mark.parametrize("kind", TO_CUSTOMERS)
def test_a_value_begins_no_line_of_its_own(kind: MessageKind) -> None:
    evil = "Eve\r\nBcc: all@example.com\n\n# Heading\n\n[page] Click"
    mail = rendered(kind, Language.ENGLISH, make_mail(), name=evil, what=evil)
    assert "\n" not in mail.subject
    assert "\r" not in mail.text
    assert not re.search(r"^(Bcc|Click|Heading|# )", mail.text, re.MULTILINE)


def test_html_of_a_value_is_escaped() -> None:
    mail = rendered(MessageKind.RECEIPT, Language.ENGLISH, make_mail(), name="<script>alert(1)</script>")
    assert "<script" not in mail.html
    assert "&lt;script&gt;" in mail.html


def test_a_name_that_looks_like_an_address_is_no_link() -> None:
    mail = rendered(MessageKind.RECEIPT, Language.ENGLISH, make_mail(), name="https://evil.example")
    assert "href" not in mail.html


def test_days_and_amounts_are_written_in_the_language() -> None:
    account = make_mail()
    english = rendered(MessageKind.NOTICE, Language.ENGLISH, account, amount="RM 1,234.50")
    malay = rendered(MessageKind.NOTICE, Language.MALAY, account, amount="RM 1,234.50")
    assert "9 March 2026" in english.text
    assert "9 Mac 2026" in malay.text
    assert "RM 1,234.50" in malay.subject
