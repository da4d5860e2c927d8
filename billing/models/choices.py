"""Enums of the domain as Django choices and as check constraints."""

from enum import StrEnum

from django.db import models
from django.db.models import Q


def choices(enum: type[StrEnum]) -> list[tuple[str, str]]:
    return [(member.value, member.value.replace("_", " ")) for member in enum]


def any_of(field: str, enum: type[StrEnum], *, name: str) -> models.CheckConstraint:
    """The column holds a member of `enum` and nothing else."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": [m.value for m in enum]}), name=name)


def only_if(field: str, condition: Q, *, name: str) -> models.CheckConstraint:
    """The column is set only on rows that meet `condition`."""
    return models.CheckConstraint(condition=Q(**{f"{field}__isnull": True}) | condition, name=name)
