"""Every reason that the code writes is a member of an enum and has its words in one table."""

import ast
from collections.abc import Iterator

from billing.domain.arming import Refusal
from billing.domain.decisions import Decision
from billing.domain.doubts import Doubt
from billing.domain.reason_words import WORDS, reason_words
from billing.domain.reasons import STILL, Reason
from billing.domain.refunds import RefundEnd, RefundWait
from billing.domain.subscriptions import Hold
from rm_gateway.models import TransactionStatus
from tests.factories import NOW
from tests.house.source import ROOT

ENUMS = (Reason, Refusal, Hold, RefundWait, RefundEnd, Doubt)
VALUES = {member.value for enum in ENUMS for member in enum}
TABLE = "billing/domain/reason_words.py"
# Calls with a reason among their arguments.
DECISIONS = {"Move", "Alarm", "Ambiguous", "hold_cards"}
LOGS = {"NewTransition", "_log", "_set_invoice", "_set_subscription"}


def test_every_reason_has_words() -> None:
    for reason in (member for enum in ENUMS for member in enum):
        words = reason_words(reason)
        assert words == WORDS[reason]
        assert words == words.strip().rstrip("."), reason
        assert "_" not in words, reason


def test_every_key_of_the_table_is_a_reason_listed_once() -> None:
    (table,) = [node for node in ast.walk(_tree(TABLE)) if isinstance(node, ast.Dict)]
    assert len(table.keys) == len(WORDS)  # equal values of two enums share one line
    assert {key.value for key in WORDS} == VALUES


def test_no_reason_is_written_as_a_literal() -> None:
    files = [path for path in (ROOT / "billing").rglob("*.py") if "migrations" not in path.parts]
    assert len(files) > 200
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value!r}"
        for path in files
        for node in _reasons_in(_tree(str(path.relative_to(ROOT))))
    ]
    assert found == []


def test_the_search_for_literals_finds_them() -> None:
    text = """
Finding(verdict, source, reason="absent")
update(held_reason="unexplained_order")
Move(state, "paid")
verdict, reason = Verdict.ABSENT, "absent" if late else "card_inactive"
if row.state_reason == "voided": pass
hold_cards([(1, "unexplained_order")])
pause(reason="on holiday")
"""
    found = [str(node.value) for node in _reasons_in(ast.parse(text))]
    assert sorted(found) == [
        "absent",
        "absent",
        "card_inactive",
        "paid",
        "unexplained_order",
        "unexplained_order",
        "voided",
    ]


def test_every_failure_of_the_gateways_client_is_a_reason() -> None:
    kinds = set()
    for path in (ROOT / "rm_gateway").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "kind" and isinstance(node.value, ast.Constant):
                kinds.add(node.value.value)
            if isinstance(node, ast.FunctionDef) and node.name == "_why_not_sent":
                returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
                kinds |= {ast.literal_eval(one)[0] for one in returned if one is not None}
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target).startswith("KIND_OF_") and node.value:
                kinds |= set(ast.literal_eval(node.value).values())
    assert {"dns", "timeout", "signature", "throttled"} <= kinds
    kinds -= {"tokens", "full", "partial", "reverse"}
    assert kinds <= {reason.value for reason in Reason}, kinds


def test_every_status_of_a_transaction_is_a_reason() -> None:
    ours = {TransactionStatus.FAILED: Reason.DECLINED, TransactionStatus.UNRECOGNISED: Reason.STATUS_NOT_RECOGNISED}
    for status in TransactionStatus:
        assert status in ours or Reason(status.value.lower())


def test_what_is_not_a_reason_of_ours_stands_as_it_is() -> None:
    assert reason_words("9010") == "code 9010"
    assert reason_words("SYSTEM_ERROR") == "code SYSTEM_ERROR"
    assert reason_words("") == "no reason was given"
    assert reason_words("decided by siti: order_17 is not his") == "decided by siti: order_17 is not his"
    assert reason_words("not_that_much") == "not that much"


def test_what_is_still_so_at_the_last_check_says_so() -> None:
    assert {str(still) for still in STILL.values()} == {f"still_{reason}" for reason in STILL}


def test_a_decision_is_read_as_it_was_written() -> None:
    written = Decision("siti", "by: the portal").detail(NOW)
    assert written == {"actor": "siti", "reason": "by: the portal", "decided_at": NOW.isoformat()}
    assert Decision.of({"detail": written, "reason": "decided_by_person"}) == Decision("siti", "by: the portal")
    assert Decision.of({"detail": {**written, "proposed_by": "mei"}}) == Decision(
        "siti", "by: the portal", proposed_by="mei"
    )


def test_an_older_decision_is_read_as_the_same() -> None:
    detail = {"actor": "siti", "decided_at": NOW.isoformat()}
    assert Decision.of({"reason": "decided by siti: nothing: there", "detail": detail}) == Decision(
        "siti", "nothing: there"
    )
    both = "proposed by mei, confirmed by siti: nothing there"
    found = Decision.of({"detail": {**detail, "proposed_by": "mei", "reason": both}, "reason": both})
    assert found == Decision("siti", "nothing there", proposed_by="mei")
    assert Decision.of({"reason": "withdrawn: too late", "detail": {"actor": "siti"}}) == Decision("siti", "too late")
    assert Decision.of({"detail": None}) == Decision("somebody", "")


def _tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _reasons_in(tree: ast.Module) -> Iterator[ast.Constant]:
    """Literals with the value of a reason where a reason is written or compared."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg=str(name), value=value) if name.endswith("reason"):
                yield from _literals(value)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args) if name in DECISIONS | LOGS:
                for one in args if name in DECISIONS else args[2:]:  # the subject comes first
                    yield from _literals(one)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for name, value in zip(names, values, strict=True):
                    yield from _literals(value) if _is_a_reason(name) else ()
            case ast.Assign(targets=[name], value=value) if _is_a_reason(name):
                yield from _literals(value)
            case ast.Compare(left=left, comparators=others) if any(_is_a_reason(side) for side in (left, *others)):
                yield from _literals(node)


def _is_a_reason(node: ast.AST) -> bool:
    return ast.unparse(node).endswith("reason")


def _literals(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in VALUES:
            yield node
