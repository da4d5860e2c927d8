"""Every constraint and trigger taken away in turn: the attack on it must get through, or else be refused by a second
guard that is known here."""

import json

from tests.house.source import ROOT
from tests.mutation.harness import ATTACKS_SAY, Tree

GETS_THROUGH = "gets through"
# All but those that make no attack alone: two sessions at once, and the comparison with the catalogue.
ATTACKS = sorted(
    f"tests/promises/{file.name}"
    for file in (ROOT / "tests/promises").glob("test_*.py")
    if file.stem not in ("test_races", "test_completeness")
)
# Promises whose attack a second guard refuses too, and which one it is. TRUNCATE ... CASCADE empties the tables that
# point at the attacked one as well, and these have promises of their own.
SECOND_GUARDS = {
    "checkout_is_never_truncated": "paymentattempt_is_never_truncated",
    "invoice_is_never_truncated": "paymentattempt_is_never_truncated",
    "paymentattempt_is_never_truncated": "gatewayorder_is_never_truncated",
    "paymentmethod_is_never_truncated": "invoice_is_never_truncated",
    "subscription_is_never_truncated": "invoice_is_never_truncated",
}


def attack_without(tree: Tree) -> dict[str, str]:
    """What each attack comes to without the promise it attacks, all in one database and one run of pytest."""
    done = tree.run_pytest(["-p", "tests.mutation.dropping", "--maxfail", "1000", *ATTACKS])
    told = tree.path / ATTACKS_SAY
    assert done.code == 0, done.words[-4000:]
    return {name: ", ".join(said) for name, said in json.loads(told.read_text(encoding="utf-8")).items()}


def missed(outcomes: dict[str, str]) -> dict[str, str]:
    """Promises without which their attack is refused all the same, by something that is not known here."""
    return {
        name: said
        for name, said in outcomes.items()
        if GETS_THROUGH not in said.split(", ") and said != f"refused by {SECOND_GUARDS.get(name)}"
    }
