"""Form fields in the theme's clothes, and the forms that actions begin with."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from billing.admin.toolkit.formats import choice_words
from billing.domain.money import LEAST_CHARGE_MINOR, MOST_CHARGE_MINOR


class ActionForm(forms.Form):
    """Carries the token that makes a second sending harmless, and knows the row that it is about."""

    token = forms.CharField(widget=forms.HiddenInput, max_length=64)

    def __init__(self, *args: Any, row: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row
        self.prepare(row)

    def prepare(self, row: Any) -> None:
        """For forms whose choices or first values come from the row."""


def text(label: str, *, required: bool = True, help_text: str = "", most: int = 200) -> forms.CharField:
    return forms.CharField(
        label=label, required=required, help_text=help_text, max_length=most, widget=UnfoldAdminTextInputWidget
    )


def email(label: str) -> forms.EmailField:
    return forms.EmailField(label=label, widget=UnfoldAdminEmailInputWidget)


def long_text(
    label: str, *, required: bool = True, help_text: str = "", rows: int = 3, most: int = 1000
) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        help_text=help_text,
        max_length=most,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": rows}),
    )


def secret(label: str, *, required: bool = True, help_text: str = "") -> forms.CharField:
    """Typed in and never shown again, not even after an error elsewhere in the form."""
    widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False)
    return forms.CharField(label=label, required=required, help_text=help_text, max_length=500, widget=widget)


class UnseenTextarea(UnfoldAdminTextareaWidget):  # type: ignore[misc]
    """A text area that never gives back what was typed into it."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, "", attrs)
        return context


def secret_text(label: str, *, required: bool = True, help_text: str = "") -> forms.CharField:
    widget = UnseenTextarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(label=label, required=required, help_text=help_text, max_length=10_000, widget=widget)


def number(
    label: str, *, required: bool = True, least: int = 0, initial: int | None = None, help_text: str = ""
) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=required,
        min_value=least,
        max_value=1_000_000,
        initial=initial,
        help_text=help_text,
        widget=UnfoldAdminIntegerFieldWidget,
    )


def amount(
    label: str = "Amount in RM", *, required: bool = True, least_minor: int = LEAST_CHARGE_MINOR, help_text: str = ""
) -> forms.DecimalField:
    """Ringgit with two digits; `minor` makes sen of it."""
    return forms.DecimalField(
        label=label,
        required=required,
        decimal_places=2,
        min_value=Decimal(least_minor).scaleb(-2),
        max_value=Decimal(MOST_CHARGE_MINOR).scaleb(-2),
        help_text=help_text,
        widget=UnfoldAdminDecimalFieldWidget(attrs={"inputmode": "decimal", "step": "0.01"}),
    )


def minor(ringgit: Decimal) -> int:
    """Sen. The field let no more than two digits through."""
    return int(ringgit.scaleb(2))


def choice(
    label: str, choices: Any = (), *, required: bool = True, initial: Any = None, help_text: str = ""
) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=choices,
        required=required,
        initial=initial,
        help_text=help_text,
        widget=UnfoldAdminSelectWidget,
    )


def instant(label: str) -> forms.DateTimeField:
    """A date and a time, in UTC."""
    widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local"})
    return forms.DateTimeField(label=label, widget=widget)


MOST_DAYS = 31


class DaysField(forms.CharField):
    """Days as `3, 7, 14`, or with ranges as `25-31, 1-7`."""

    widget = UnfoldAdminTextInputWidget

    def clean(self, value: Any) -> list[int]:
        try:
            parts = [part.partition("-") for part in str(super().clean(value)).split(",") if part.strip()]
            ranges = [(int(first), int(last) if dash else int(first)) for first, dash, last in parts]
        except ValueError as error:
            raise forms.ValidationError("Must be whole numbers separated by commas, such as 3, 7, 14.") from error
        if any(last - first > MOST_DAYS for first, last in ranges):
            raise forms.ValidationError("Must be ranges of days, such as 25-31.")
        return [day for first, last in ranges for day in range(first, last + 1)]


def several(label: str, choices: Any, *, required: bool = True, help_text: str = "") -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label,
        choices=choices,
        required=required,
        help_text=help_text,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )


def tick(label: str, *, help_text: str = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, help_text=help_text, widget=UnfoldBooleanWidget)


def one_of(label: str, rows: QuerySet[Any], *, required: bool = True, help_text: str = "") -> Any:
    """A choice among few rows."""
    return NamedChoiceField(rows, label=label, required=required, help_text=help_text, widget=UnfoldAdminSelectWidget)


def found_by_name(label: str, relation: Any, rows: QuerySet[Any], *, help_text: str = "") -> Any:
    """A choice among many rows, which the browser looks up as one types. `relation` is a foreign key to them."""
    widget = AutocompleteSelect(relation, admin.site)
    return NamedChoiceField(rows, label=label, help_text=help_text, widget=widget)


class NamedChoiceField(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: Any) -> str:
        return choice_words(obj)


class ReasonForm(ActionForm):
    """Every action says why; the words are kept in the history beside the name of who wrote them."""

    reason = long_text("Reason", help_text="Recorded in the history with your name.", most=500)
