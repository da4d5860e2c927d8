"""The addresses of the API, and its documentation."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from billing.api.views import account, cases, customers, invoices, payment_methods, plans, refunds, subscriptions
from billing.api.views.base import NoSuchAddress

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema"), name="api-docs"),
    path("v1/customers/", customers.CustomerListView.as_view()),
    path("v1/customers/<str:id>/", customers.CustomerView.as_view()),
    path("v1/payment-methods/", payment_methods.PaymentMethodListView.as_view()),
    path("v1/payment-methods/<str:id>/", payment_methods.PaymentMethodView.as_view()),
    path("v1/payment-methods/<str:id>/make-default/", payment_methods.MakeDefaultView.as_view()),
    path("v1/payment-methods/<str:id>/revoke/", payment_methods.RevokeView.as_view()),
    path("v1/payment-methods/<str:id>/refresh/", payment_methods.RefreshView.as_view()),
    path("v1/payment-methods/<str:id>/hold/", payment_methods.HoldView.as_view()),
    path("v1/payment-methods/<str:id>/clear-hold/", payment_methods.ClearHoldView.as_view()),
    path("v1/plans/", plans.PlanListView.as_view()),
    path("v1/plans/<str:id>/", plans.PlanView.as_view()),
    path("v1/subscriptions/", subscriptions.SubscriptionListView.as_view()),
    path("v1/subscriptions/<str:id>/", subscriptions.SubscriptionView.as_view()),
    path("v1/subscriptions/<str:id>/pause/", subscriptions.PauseView.as_view()),
    path("v1/subscriptions/<str:id>/resume/", subscriptions.ResumeView.as_view()),
    path("v1/subscriptions/<str:id>/cancel/", subscriptions.CancelView.as_view()),
    path("v1/subscriptions/<str:id>/next-dates/", subscriptions.NextDatesView.as_view()),
    path("v1/invoices/", invoices.InvoiceListView.as_view()),
    path("v1/invoices/<str:id>/", invoices.InvoiceView.as_view()),
    path("v1/invoices/<str:id>/explanation/", invoices.ExplanationView.as_view()),
    path("v1/invoices/<str:id>/refresh/", invoices.RefreshInvoiceView.as_view()),
    path("v1/invoices/<str:id>/paid-elsewhere/", invoices.PaidElsewhereView.as_view()),
    path("v1/invoices/<str:id>/found-payment/", invoices.FoundPaymentView.as_view()),
    path("v1/invoices/<str:id>/void/", invoices.VoidView.as_view()),
    path("v1/invoices/<str:id>/write-off/", invoices.WriteOffView.as_view()),
    path("v1/invoices/<str:id>/collect/", invoices.CollectView.as_view()),
    path("v1/attempts/", invoices.AttemptListView.as_view()),
    path("v1/attempts/resolve/", cases.ResolveManyView.as_view()),
    path("v1/attempts/release/", cases.ReleaseManyView.as_view()),
    path("v1/attempts/<str:id>/", invoices.AttemptView.as_view()),
    path("v1/refunds/", refunds.RefundListView.as_view()),
    path("v1/refunds/<str:id>/", refunds.RefundView.as_view()),
    path("v1/refunds/<str:id>/withdraw/", refunds.WithdrawView.as_view()),
    path("v1/refunds/<str:id>/resolve/", refunds.ResolveView.as_view()),
    path("v1/attempts/<str:id>/case/", cases.CaseView.as_view()),
    path("v1/attempts/<str:id>/resolve/", cases.ResolveView.as_view()),
    path("v1/attempts/<str:id>/release/", cases.ReleaseView.as_view()),
    path("v1/account/", account.OwnAccountView.as_view()),
    path("v1/account/stop/", account.StopView.as_view()),
    path("v1/account/start/", account.StartView.as_view()),
    re_path(r"^v1/", NoSuchAddress.as_view()),
]
