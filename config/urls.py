"""The addresses that the web process answers."""

from django.apps import apps
from django.contrib import admin
from django.urls import include, path

from billing.api.health import HealthView
from billing.callbacks.bind_return import bind_return
from billing.callbacks.checkout_return import checkout_return
from billing.callbacks.notify import notify
from billing.payer.pages import cancel_page, customer_page, old_link, receipt

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", HealthView.as_view(), name="health"),
    path("api/", include("billing.api.urls")),
    path("bind/<str:token>/", bind_return, name="bind-return"),
    path("pay/<str:token>/", customer_page, name="customer-page"),
    path("pay/<str:token>/receipts/<str:invoice>/", receipt, name="receipt"),
    path("pay/<str:token>/cancel/<str:subscription>/", cancel_page, name="cancel-page"),
    path("card/<str:token>/", old_link),
    path("checkout/<str:public_id>/", checkout_return, name="checkout-return"),
    path("callbacks/rm/notify/", notify, name="notify"),
]
if apps.is_installed("anymail"):  # a provider reports there what came back: /mail/<provider>/tracking/
    urlpatterns.append(path("mail/", include("anymail.urls")))
