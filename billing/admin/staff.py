"""Who works here. People are switched off, never deleted: the history names them."""

from typing import TYPE_CHECKING, Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from billing.admin.toolkit.base import ThemedAdmin

if TYPE_CHECKING:
    ThemedUserAdmin = DjangoUserAdmin[User]
    ThemedGroupAdmin = DjangoGroupAdmin
else:

    class ThemedUserAdmin(DjangoUserAdmin, ThemedAdmin):
        pass

    class ThemedGroupAdmin(DjangoGroupAdmin, ThemedAdmin):
        pass


for model in (User, Group, AccessAttempt, AccessFailureLog, AccessLog):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(User)
class UserAdmin(ThemedUserAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser", "groups")
    actions = None

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Group)
class GroupAdmin(ThemedGroupAdmin):
    actions = None


@admin.register(AccessAttempt)
class LockedLoginAdmin(ThemedAdmin):
    """Failed log-ins that are counted; deleting one lets its user try again before the time is over."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    fields = ("attempt_time", "username", "ip_address", "failures_since_start", "user_agent")
    readonly_fields = fields
    search_fields = ("username", "ip_address")
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
