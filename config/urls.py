"""The addresses that the web process answers."""

from django.urls import path

from billing.api.health import HealthView
from billing.callbacks.bind_return import bind_return

urlpatterns = [
    path("health/", HealthView.as_view(), name="health"),
    path("bind/<str:token>/", bind_return, name="bind-return"),
]
