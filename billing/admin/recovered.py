"""The page of recovery figures: by reason, try, day of the month and policy, and policies compared."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.toolkit.formats import NOTHING, moment_text
from billing.admin.toolkit.pages import Cell, Facts, Page, Table, Words
from billing.domain.money import display
from billing.explaining.dunning import kind_of, reason_of
from billing.explaining.intervals import Share
from billing.explaining.recovered import Comparison, Figures, figures_of, scope_words
from billing.models import GatewayAccount
from billing.models.bulk.recovered import InvoiceTally, RetryTally
from billing.models.clock import database_now

SPANS = (30, 90, 365)
HEADERS = ["Declined", "Recovered", "Lost", "Open", "Tries avoided", "Days to recover"]
WHAT_COUNTS = (
    "Invoices that were declined for the first time in this period, as they are now. Recovered: paid since, by card or "
    "elsewhere. Lost: uncollectible or void. Days to recover: half of the recovered ones were paid sooner. "
    "Tries avoided: due, and not made because the bank would have declined them."
)


def recovery_urls(model_admin: Any) -> list[URLPattern]:
    def view(request: HttpRequest) -> HttpResponse:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        page = _page(request)
        answer: HttpResponse = model_admin.render(
            request, "billing/admin/record.html", page=page, row=None, title=page.title
        )
        return answer

    return [path("recovery/", model_admin.admin_site.admin_view(view), name="billing_dunningpolicy_recovery")]


def _page(request: HttpRequest) -> Page:
    accounts = list(GatewayAccount.objects.order_by("pk"))
    wanted, days = request.GET.get("account", ""), request.GET.get("days", "90")
    account = next((one for one in accounts if str(one.pk) == wanted), None) if wanted else next(iter(accounts), None)
    if (wanted and account is None) or days not in map(str, SPANS):
        raise Http404
    if account is None:
        return Page("Recovery", "", main=[Words("No accounts yet.")])
    now = database_now()
    found = figures_of(account, since=now - timedelta(days=int(days)), until=now, now=now)
    return Page(
        "Recovery",
        f"{account.name}, the last {days} days",
        main=[
            _choices(account, accounts, days),
            Words(WHAT_COUNTS),
            _invoices("All", "", [("All invoices", found.total)]),
            _invoices("By reason", "First decline", [(_reason(one), one) for one in found.by_reason]),
            _invoices("By policy", "Policy", [(_policy(found, one), one) for one in found.by_policy]),
            _retries("By try", "Try", found.by_try),
            _retries("By day of the month", "Day", found.by_day),
            _compared(found.comparisons, account.time_zone),
        ],
    )


def _choices(account: GatewayAccount, accounts: Sequence[GatewayAccount], days: str) -> Facts:
    spans = [(f"?account={account.pk}&days={span}", f"{span} days", str(span) == days) for span in SPANS]
    rows: list[tuple[str, Any]] = [("Period", _links(spans))]
    if len(accounts) > 1:
        others = [(f"?account={one.pk}&days={days}", one.name, one.pk == account.pk) for one in accounts]
        rows.append(("Account", _links(others)))
    return Facts("Show", rows)


def _links(links: Sequence[tuple[str, str, bool]]) -> SafeString:
    return format_html_join(
        " · ",
        "{}",
        (
            (format_html("<strong>{}</strong>" if chosen else '<a class="k-link" href="{1}">{0}</a>', text, url),)
            for url, text, chosen in links
        ),
    )


def _invoices(title: str, header: str, found: Sequence[tuple[str, InvoiceTally]]) -> Table:
    rows = [
        [
            Cell(name),
            Cell(_with_money(str(one.declined), one.declined_minor), number=True),
            Cell(_with_money(_of(one.recovered, one.declined), one.recovered_minor), number=True),
            Cell(_with_money(_of(one.lost, one.declined), one.lost_minor), number=True),
            Cell(_open(one), number=True),
            Cell(one.tries_avoided, number=True),
            Cell(NOTHING if one.days is None else f"{one.days / timedelta(days=1):.1f}", number=True),
        ]
        for name, one in found
    ]
    return Table(title, [header, *HEADERS], rows, "Nothing was declined.")


def _open(one: InvoiceTally) -> SafeString:
    count = one.declined - one.recovered - one.lost
    return _with_money(str(count), one.declined_minor - one.recovered_minor - one.lost_minor)


def _with_money(count: str, minor: int) -> SafeString:
    return format_html('{}<span class="k-sub">{}</span>', count, display(minor, "MYR"))


def _of(part: int, whole: int) -> str:
    return f"{part} ({100 * part / whole:.0f}%)" if whole else "0"


def _reason(one: InvoiceTally) -> str:
    code = one.code or ""
    return f"{reason_of(code)}, {kind_of(code)}"


def _policy(found: Figures, one: InvoiceTally) -> str:
    if one.policy_id is None:
        return "no policy: first payments"
    return found.policies[one.policy_id].name


def _retries(title: str, header: str, found: Sequence[RetryTally]) -> Table:
    rows = [
        [
            Cell(one.number if one.number is not None else one.day),
            Cell(one.tried, number=True),
            Cell(_of(one.paid, one.tried), number=True),
            Cell(display(one.paid_minor, "MYR"), number=True),
        ]
        for one in found
    ]
    return Table(title, [header, "Tried again", "Paid", "Money"], rows, "Nothing was tried again.")


def _won(name: str, share: Share) -> SafeString:
    count = f"{share.part} of {share.whole}" + (f" ({100 * share.value:.0f}%)" if share.whole else "")
    return format_html('{}<span class="k-sub">{}</span>', count, name)


def _compared(found: Sequence[Comparison], zone: str) -> Table:
    rows = []
    for one in found:
        between, second = one.difference, one.assignment.second_policy
        points = f"{100 * between.low:+.1f} to {100 * between.high:+.1f} points"
        rows.append(
            [
                Cell(scope_words(one.assignment)),
                Cell(_won(one.assignment.policy.name, one.first)),
                Cell(_won(second.name if second else NOTHING, one.second)),
                Cell(points if one.first.whole and one.second.whole else NOTHING),
                Cell(one.verdict),
                Cell(moment_text(one.mature_before, zone)),
            ]
        )
    headers = ["Of", "First policy", "Second policy", "Difference, 95%", "Result", "Declined before"]
    empty = "No two policies are compared. Assign a policy with another one for a share, by lot."
    return Table("Two policies by lot: customers won back", headers, rows, empty)
