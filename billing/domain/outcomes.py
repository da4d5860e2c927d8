"""What the outcome of a charge says about its account's way to the gateway."""

from dataclasses import dataclass, field
from enum import StrEnum

from billing.domain.attempts import Finding, Source, Verdict


class Fault(StrEnum):
    """What an outcome says about the account's way to the gateway."""

    NONE = "none"  # the gateway answered as it answers charges, a decline included
    OWN = "own"  # this process did not send; nothing is learned about the gateway
    INVOICE = "invoice"  # refused because of this one invoice
    GATEWAY = "gateway"  # unknown outcomes, no connection, no token, too many requests
    SETUP = "setup"  # signature, permission, path, host: the account is set up wrongly


INVOICE_KINDS = frozenset({"validation", "request"})
SETUP_KINDS = frozenset({"signature", "permission", "path", "environment"})
OWN_SOURCES = frozenset({Source.COMMIT_UNACKNOWLEDGED})
OWN_KINDS = frozenset({"no_sender", "expired"})  # no thread was there, or it came too late
REFUSALS_BEFORE_HOLD = 3  # of one invoice, for its own sake: then a person looks at it


@dataclass(slots=True)
class Outcomes:
    """What came of charges of one account since the last report."""

    paid: int = 0
    paid_minor: dict[str, int] = field(default_factory=dict)  # by currency
    declined: int = 0
    about_invoice: int = 0
    gateway: int = 0
    setup: int = 0
    kind: str = ""  # of the last fault
    reason: str = ""
    retry_after_seconds: int = 0
    no_token: bool = False
    probe_succeeded: bool | None = None

    @property
    def bad(self) -> int:
        return self.gateway + self.setup

    @property
    def good(self) -> int:
        return self.paid + self.declined + self.about_invoice

    @property
    def any(self) -> bool:
        return bool(self.bad or self.good or self.no_token or self.probe_succeeded is not None)

    def add(self, finding: Finding) -> None:
        match fault_of(finding):
            case Fault.OWN:
                return
            case Fault.INVOICE:
                self.about_invoice += 1
                return
            case Fault.NONE:
                self._add_answer(finding)
                return
            case Fault.GATEWAY:
                self.gateway += 1
            case Fault.SETUP:
                self.setup += 1
        self.kind = finding.kind or finding.verdict.value
        self.reason = finding.reason
        self.retry_after_seconds = max(self.retry_after_seconds, finding.retry_after_seconds or 0)

    def _add_answer(self, finding: Finding) -> None:
        if finding.verdict is Verdict.DECLINED:
            self.declined += 1
            return
        self.paid += 1
        if finding.verdict is Verdict.PAID and finding.currency and finding.amount_minor:
            known = self.paid_minor.get(finding.currency, 0)
            self.paid_minor[finding.currency] = known + finding.amount_minor


def fault_of(finding: Finding) -> Fault:
    """What the outcome of a charge says about the account; each verdict is classified."""
    if finding.source in OWN_SOURCES or finding.kind in OWN_KINDS:
        return Fault.OWN
    match finding.verdict:
        case Verdict.PAID | Verdict.DECLINED | Verdict.IN_PROCESS:
            return Fault.NONE
        case Verdict.NOT_SENT:
            if finding.kind in INVOICE_KINDS:
                return Fault.INVOICE
            return Fault.SETUP if finding.kind in SETUP_KINDS else Fault.GATEWAY
        case (
            Verdict.REVERSED
            | Verdict.UNCLEAR
            | Verdict.ABSENT
            | Verdict.ABSENT_AT_LAST
            | Verdict.ABSENT_FOR_LONG
            | Verdict.CONTRADICTION
            | Verdict.PERSON_NOT_CHARGED
        ):
            return Fault.GATEWAY
