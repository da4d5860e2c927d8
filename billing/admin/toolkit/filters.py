"""Filters of lists."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from billing.admin.toolkit.search import id_floor
from billing.models import GatewayAccount

if TYPE_CHECKING:
    from django.contrib.admin import ChoicesFieldListFilter as StateFilter
    from django.contrib.admin import RelatedFieldListFilter as AccountFilter
    from django.contrib.admin import RelatedFieldListFilter as CustomerFilter
else:
    from unfold.contrib.filters.admin import AutocompleteSelectFilter as CustomerFilter
    from unfold.contrib.filters.admin import ChoicesDropdownFilter as StateFilter
    from unfold.contrib.filters.admin import RelatedDropdownFilter as AccountFilter

__all__ = ["AccountFilter", "CustomerFilter", "DaysFilter", "StateFilter", "days"]


class DaysFilter(admin.ListFilter):
    """Rows from one day to another, both included, by the clocks of the first account.

    `prefix` is that of the model's public ids, which carry their time and are indexed; without one, `column` is
    compared."""

    title = "day"
    template = "billing/admin/days_filter.html"
    prefix = ""
    column = ""

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in ("from_day", "to_day"):
            value = params.pop(name, "")
            self.used_parameters[name] = value[-1] if isinstance(value, list) else value

    def expected_parameters(self) -> list[str | None]:
        return ["from_day", "to_day"]

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {"from_day": self._day("from_day"), "to_day": self._day("to_day")}

    def _day(self, name: str) -> date | None:
        try:
            return date.fromisoformat(str(self.used_parameters.get(name) or ""))
        except ValueError:
            return None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = self._day("from_day"), self._day("to_day")
        if first is None and last is None:
            return queryset
        zone = GatewayAccount.objects.order_by("pk").values_list("time_zone", flat=True).first() or "UTC"
        if first is not None:
            queryset = queryset.filter(**self._bound("gte", _midnight(first, zone)))
        if last is not None and last < date.max:
            queryset = queryset.filter(**self._bound("lt", _midnight(last + timedelta(days=1), zone)))
        return queryset

    def _bound(self, comparison: str, at: datetime) -> dict[str, Any]:
        if self.prefix:
            return {f"public_id__{comparison}": id_floor(self.prefix, at)}
        return {f"{self.column}__{comparison}": at}


def _midnight(day: date, zone: str) -> datetime:
    earliest = date(1971, 1, 1)  # ids do not count from before 1970
    return datetime.combine(max(day, earliest), time.min, ZoneInfo(zone)).astimezone(UTC)


def days(title: str, *, prefix: str = "", column: str = "") -> type[DaysFilter]:
    """The filter for a model, such as `days("created", prefix="inv")`."""
    return type("DaysFilter", (DaysFilter,), {"title": title, "prefix": prefix, "column": column})
