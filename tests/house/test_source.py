"""Rules of the house that a machine can check: purity, money, clocks, the environment, size, and words."""

import ast
import re
import sys

from tests.house.source import ROOT, Source, calls, imported_names, sources, uses

# --- the pure core ----------------------------------------------------------------------------------------

IMPURE = {"os", "socket", "subprocess", "time", "random", "secrets", "threading", "asyncio", "pathlib", "tempfile"}


def test_domain_imports_only_the_standard_library_and_itself() -> None:
    for source in sources("billing/domain"):
        for name in imported_names(source.tree).values():
            package = name.partition(".")[0]
            if package == "billing":
                assert name.startswith("billing.domain"), f"{source.path} imports {name}"
            else:
                assert package in sys.stdlib_module_names, f"{source.path} imports {name}"
                assert package not in IMPURE, f"{source.path} imports {name}"


def test_the_domain_reads_no_file_and_prints_nothing() -> None:
    found = [
        source.where(node)
        for source in sources("billing/domain")
        for name, node in calls(source)
        if name in {"open", "print", "input", "exec", "eval"}
    ]
    assert found == []


# --- money ------------------------------------------------------------------------------------------------

# Seconds that a loop waits; never an amount.
FLOAT_CONSTANTS = {
    "billing/charging/collecting/collect.py": {"GATHER_SECONDS", "POLL_SECONDS", "DATABASE_PAUSE_SECONDS"},
}


def test_nothing_near_money_is_a_float() -> None:
    near = sources("billing/domain", "billing/models", "billing/charging", "billing/subscriptions")
    assert [where for source in near for where in floats(source)] == []


def floats(source: Source) -> list[str]:
    waits = FLOAT_CONSTANTS.get(source.path, set())
    excused = {
        id(part)
        for node in source.tree.body
        if isinstance(node, ast.Assign) and {t.id for t in node.targets if isinstance(t, ast.Name)} & waits
        for part in ast.walk(node)
    }
    found = [
        source.where(node)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex) and id(node) not in excused
    ]
    found += [source.where(node) for name, node in uses(source) if name in {"float", "models.FloatField"}]
    found += [
        source.where(node)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
    ]
    return found


def test_the_waits_that_are_excused_are_still_there() -> None:
    for path, names in FLOAT_CONSTANTS.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert {name for name in names if re.search(rf"^{name} = ", text, re.MULTILINE)} == names


# --- clocks -----------------------------------------------------------------------------------------------

WALL_CLOCKS = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "django.utils.timezone.now",
    "django.utils.timezone.localtime",
    "django.utils.timezone.localdate",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
    "time.strftime",
    "django.db.models.functions.Now",
}
BELOW_THE_DOORS = [
    f"billing/{room}" for room in ("domain", "models", "gateway", "accounts", "subscriptions", "charging", "operating")
]
# The clock that signs requests: the database's, carried on by this process's monotonic one; it starts somewhere.
MAY_READ_THE_CLOCK = {"billing/gateway/sending_clock.py:AlignedClock.__call__"}


def test_nobody_below_the_doors_reads_the_wall_clock() -> None:
    found = {
        source.inside(node)
        for source in sources(*BELOW_THE_DOORS)
        for name, node in uses(source)
        if name in WALL_CLOCKS
    }
    assert found == MAY_READ_THE_CLOCK


def test_our_sql_reads_the_time_in_one_place_only() -> None:
    reading = re.compile(
        r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp)\s*\(\s*\)|\bCURRENT_(TIMESTAMP|DATE|TIME)\b",
        re.IGNORECASE,
    )
    found = {
        source.inside(node)
        for source in sources("billing/models", "billing/charging", "billing/subscriptions", "billing/operating")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and reading.search(node.value)
    }
    assert found == {"billing/models/clock.py:database_now"}


def test_time_never_has_a_default() -> None:
    found = [
        f"{source.path}:{name}"
        for source in sources(*BELOW_THE_DOORS)
        for name, function in source.functions()
        for argument in defaulted(function)
        if argument in {"now", "clock"}
    ]
    assert found == []


def defaulted(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    names = [argument.arg for argument in positional[len(positional) - len(arguments.defaults) :]]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return names + [argument.arg for argument, default in pairs if default is not None]


# --- the environment --------------------------------------------------------------------------------------

ENVIRONMENT = re.compile(r"os\.(environb?|getenvb?|putenv|unsetenv)(\.|$)")
# Programs that start other programs hand their own surroundings on to them; none reads a setting of ours.
MAY_PASS_THE_ENVIRONMENT_ON = ("billing/demo/", "rm_gateway/simulator/process.py")


def test_only_the_settings_read_the_environment() -> None:
    found = {
        source.where(node)
        for source in sources("billing", "rm_gateway")
        for name, node in uses(source)
        if ENVIRONMENT.match(name) and not source.path.startswith(MAY_PASS_THE_ENVIRONMENT_ON)
    }
    assert found == set()


# --- size and words ---------------------------------------------------------------------------------------

MOST_LINES = 450
MOST_LINES_OF_A_FUNCTION = 70


def test_a_file_and_a_function_can_be_read_in_one_go() -> None:
    for source in sources("billing", "rm_gateway", "config"):
        assert len(source.text.splitlines()) <= MOST_LINES, source.path
        for name, function in source.functions():
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{source.path}: {name} has {lines} lines"


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
    found = [
        f"{source.path}:{number}"
        for source in sources("billing", "rm_gateway", "config", "tests", "manage.py")
        for number, line in enumerate(source.text.splitlines(), 1)
        if later.search(line)
    ]
    assert found == []


ROOMS = [f"billing/{room}" for room in ("domain", "gateway", "accounts", "subscriptions", "charging", "operating")]
SHORT = 9  # lines; what is shorter may speak for itself


def test_modules_and_long_public_definitions_have_docstrings() -> None:
    for source in sources(*ROOMS):
        if source.text:
            assert ast.get_docstring(source.tree), f"{source.path} has no docstring"
        for node in source.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                said = ast.get_docstring(node) or lines <= SHORT or says_only_fields(node)
                assert said, f"{source.path}: {node.name} has no docstring"


def says_only_fields(node: ast.AST) -> bool:
    """A plain record or enum: its fields are its description."""
    return isinstance(node, ast.ClassDef) and all(isinstance(part, ast.AnnAssign | ast.Assign) for part in node.body)
