"""What a person may do: a page that says what will happen and asks why, then one call of a use case.

1. GET shows the confirmation. It changes nothing.
2. POST (with Django's CSRF token) checks the form, and then claims the one-time token that the page carried, so that
   a form that is sent twice acts once.
3. The use case acts in the name of the logged-in user. What it refuses is shown beside the form.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.crypto import salted_hmac

from billing.admin.toolkit.fields import ActionForm, ReasonForm
from billing.admin.toolkit.formats import page_of
from billing.domain.decisions import Decision
from billing.domain.errors import RefusedError
from billing.gateway.connection import GatewayUnavailableError
from billing.models import IdempotencyRecord
from billing.models.clock import database_now


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an action: a sentence, and where to go (the row's page when nothing else is said).

    `show` is seen this once: a key, or the address of a bind page; `share` is the address of a button below it. `page`
    is shown instead of going anywhere."""

    message: str
    url: str = ""
    show: tuple[str, str] | None = None
    share: tuple[str, str] | None = None
    page: Any = None


@dataclass(frozen=True, slots=True)
class Given:
    """What an action acts with: the form's values, who acts, and when."""

    data: Mapping[str, Any]
    actor: str
    now: datetime
    request: HttpRequest

    @property
    def user_id(self) -> int:
        return int(self.request.user.pk or 0)

    @property
    def reason(self) -> str:
        return str(self.data["reason"]).strip()

    @property
    def decision(self) -> Decision:
        return Decision(self.actor, self.reason, self.user_id)


def always(_: Any) -> bool:
    return True


def to_everybody(*_: Any) -> bool:
    return True


def nothing(*_: Any) -> list[Any]:
    return []


@dataclass(frozen=True, kw_only=True)
class PersonAction:
    """One thing that may be done to a row. `name` ends its address; `offered` says for which rows there is a
    button, `offered_to` to whom (the use case decides all the same); `before`, `below` and `beside` are the parts of a
    page shown around the form."""

    name: str
    label: str
    icon: str
    permission: str
    explain: Callable[[Any], str]
    carry_out: Callable[[Any, Given], Done]
    form: type[forms.Form] = ReasonForm
    offered: Callable[[Any], bool] = always
    offered_to: Callable[[Any, HttpRequest], bool] = to_everybody
    before: Callable[[Any], Sequence[Any]] = nothing
    below: Callable[[Any], Sequence[Any]] = nothing
    beside: Callable[[Any], Sequence[Any]] = nothing
    danger: bool = False
    # What the button of the page says that carries it out; empty: the label.
    button: str = ""

    def allowed(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.permission))


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A button that leads to another page."""

    label: str
    icon: str
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Button:
    url: str
    action: PersonAction | Shortcut


@dataclass(frozen=True, kw_only=True)
class Creation:
    """Making a new row; who may is the model's own *add* permission."""

    label: str
    explain: str
    form: type[forms.Form]
    carry_out: Callable[[Given], Done]
    button: str = "Create"


def action_urls(model_admin: Any) -> list[URLPattern]:
    """The addresses of a model's actions, below the row's own."""
    meta = model_admin.model._meta
    return [
        path(
            f"<int:object_id>/change/{action.name}/",
            model_admin.admin_site.admin_view(_view(model_admin, action)),
            name=f"{meta.app_label}_{meta.model_name}_{action.name.replace('-', '_')}",
        )
        for action in model_admin.person_actions
    ]


def _view(model_admin: Any, action: PersonAction) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, object_id: int) -> HttpResponse:
        if not (model_admin.has_view_permission(request) and action.allowed(request)):
            raise PermissionDenied
        row = model_admin.row(str(object_id))
        if row is None:
            raise Http404
        return act(model_admin, request, action, row, now=database_now())

    return view


def act(model_admin: Any, request: HttpRequest, action: PersonAction, row: Any, *, now: datetime) -> HttpResponse:
    """The confirmation of one action on one row, or what came of it."""
    return _confirm(
        model_admin,
        request,
        form=_form(action.form, request, row),
        carry_out=lambda given: action.carry_out(row, given),
        account_id=getattr(row, "account_id", None),
        back=page_of(row),
        now=now,
        context={
            "title": action.label,
            "explain": action.explain(row),
            "subject": model_admin.subject(row),
            "subject_url": page_of(row),
            "button": action.button or action.label,
            "danger": action.danger,
            "before": action.before(row),
            "below": action.below(row),
            "beside": action.beside(row),
        },
    )


def carry_out_on_page(
    model_admin: Any,
    request: HttpRequest,
    *,
    form: type[forms.Form],
    carry_out: Callable[[Given], Done],
    account_id: int | None,
    back: str,
    context: dict[str, Any],
) -> HttpResponse:
    """The same for what is not about one row."""
    return _confirm(
        model_admin,
        request,
        form=_form(form, request, None),
        carry_out=carry_out,
        account_id=account_id,
        back=back,
        now=database_now(),
        context=context,
    )


def create(model_admin: Any, request: HttpRequest, creation: Creation, *, now: datetime) -> HttpResponse:
    """The form that makes a new row, or what came of it."""
    return _confirm(
        model_admin,
        request,
        form=_form(creation.form, request, None),
        carry_out=creation.carry_out,
        account_id=None,
        back="../",
        now=now,
        context={"title": creation.label, "explain": creation.explain, "button": creation.button},
    )


def _form(kind: type[forms.Form], request: HttpRequest, row: Any) -> forms.Form:
    row_aware = {"row": row} if issubclass(kind, ActionForm) else {}
    if request.method == "POST":
        return kind(request.POST, **row_aware)
    return kind(initial={**request.GET.dict(), "token": new_token()}, **row_aware)


def new_token() -> str:
    """A one-time token for a form."""
    return secrets.token_urlsafe(18)


def _confirm(
    model_admin: Any,
    request: HttpRequest,
    *,
    form: forms.Form,
    carry_out: Callable[[Given], Done],
    account_id: int | None,
    back: str,
    now: datetime,
    context: dict[str, Any],
) -> HttpResponse:
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            if not _claim(request, form.cleaned_data, account_id, now):
                messages.info(request, "This form was already sent. The action ran once.")
                return HttpResponseRedirect(back)
            try:
                done = carry_out(Given(form.cleaned_data, request.user.get_username(), now, request))
            except (RefusedError, GatewayUnavailableError) as error:
                _say(form, error)
            else:
                return _finish(model_admin, request, done, back, context)
        again = request.POST.copy()
        again["token"] = new_token()
        form.data = again
    response = model_admin.render(request, "billing/admin/action.html", form=form, back=back, **context)
    response.status_code = status
    return response  # type: ignore[no-any-return]


def _claim(request: HttpRequest, data: Mapping[str, Any], account_id: int | None, now: datetime) -> bool:
    """Whether this is the first time that the form is sent. What belongs to no account is harmless to repeat."""
    account_id = account_id or getattr(data.get("account") or data.get("customer"), "account_id", None)
    account_id = account_id or getattr(data.get("account"), "pk", None)
    if account_id is None:
        return True
    digest = salted_hmac("billing.admin", f"{request.user.pk}:{data['token']}", algorithm="sha256").hexdigest()
    try:
        with transaction.atomic():
            IdempotencyRecord.objects.create(
                account_id=account_id, key=f"admin:{digest}", request_hash=request.path, created_at=now
            )
    except IntegrityError:
        return False
    return True


def _say(form: forms.Form, error: RefusedError | GatewayUnavailableError) -> None:
    """Shows a refusal at the field that it names, or above the form."""
    if isinstance(error, GatewayUnavailableError):
        form.add_error(None, "The gateway did not answer. Nothing was changed. Try again in a moment.")
        return
    field = error.field.removesuffix("_minor")
    form.add_error(field if field in form.fields else None, error.message[:1].upper() + error.message[1:])


def _finish(model_admin: Any, request: HttpRequest, done: Done, back: str, context: Mapping[str, Any]) -> HttpResponse:
    if done.show:
        # Shown in the answer itself: it is kept nowhere, the session included.
        shown: HttpResponse = model_admin.render(
            request, "billing/admin/shown_once.html", title=context["title"], done=done, back=done.url or back
        )
        shown["Cache-Control"] = "no-store"
        return shown
    if done.page:
        page: HttpResponse = model_admin.render(
            request, "billing/admin/record.html", page=done.page, row=None, title=done.page.title
        )
        return page
    messages.success(request, done.message)
    return HttpResponseRedirect(done.url or back)
