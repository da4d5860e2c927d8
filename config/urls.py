"""The addresses that the web process answers."""

from django.contrib import admin
from django.urls import path

from billing.api.health import HealthView
from billing.callbacks.bind_return import bind_return

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", HealthView.as_view(), name="health"),
    path("bind/<str:token>/", bind_return, name="bind-return"),
]
