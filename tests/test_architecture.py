"""The layers hold, and the tree is tidy."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "clustersession"
TREES = ("clustersession", "tests", "examples", "benchmarks", "scripts", "tools")
LINE_LENGTH_MAX = 100
FUNCTION_LINES_MAX = 40

SLEEPERS = {
    "tests/test_architecture.py": "only names the call it looks for",
}
"""Tests that may call time.sleep, and why. Everything else waits for a condition."""


PUBLIC_NAMES = {"ClusterSession", "ClusterSessionInterface", "ClusterSessionMiddleware"}
"""What applications import: each framework has its own under the same name."""


ADAPTERS = {
    "aiohttp", "asgi", "beaker", "django", "fastapi", "flask", "litestar", "mcp", "pyramid",
    "quart", "sanic", "tornado", "wsgi",
}
"""Modules and packages whose tests are in tests/adapters."""

TESTED_ELSEWHERE = {
    "core/contact.py": ("tests/node/test_contact.py", "names of a note"),
    "core/counters.py": ("tests/agent/test_worker_counts.py", "numbers, which the agent sums"),
    "dashboard.py": ("tests/tools/dashboard/test_app.py", "a name for the dashboard"),
    "node/effects.py": ("tests/node/test_life.py", "data, without a method"),
    "node/journal_port.py": ("tests/node/test_recovery.py", "data and a protocol"),
    "node/moment.py": ("tests/node/test_life.py", "data, without a method"),
    "node/news.py": ("tests/agent/test_event_log.py", "data, without a method"),
    "node/store_calls.py": ("tests/net/store/test_calls.py", "data, without a method"),
    "replica/results.py": ("tests/replica/test_replica.py", "data that its methods return"),
    "session/cluster_port.py": ("tests/worker/test_agent_client.py", "a protocol, kept there"),
    "session/context.py": ("tests/session/test_manager.py", "fields that the manager fills"),
    "tools/bridge/command.py": ("tests/tools/bridge/test_bridge.py", "only starts the bridge"),
    "tools/bridge/room.py": ("tests/tools/bridge/test_bridge.py", "is asked by the bridge alone"),
    "tools/check/command.py": ("tests/tools/check/test_run.py", "only calls the checks"),
    "tools/check/peers.py": ("tests/tools/check/test_network.py", "needs hosts of a network"),
    "tools/dashboard/command.py": ("tests/tools/dashboard/test_serving.py", "only calls serving"),
    "tools/demo/app.py": ("tests/tools/demo/test_run.py", "runs on the demo's nodes"),
    "tools/demo/command.py": ("tests/tools/demo/test_run.py", "only calls the demo"),
    "tools/demo/embedded_balancer.py": ("tests/balancers/test_embedded.py", "is one of them"),
    "tools/demo/scenario.py": (
        "tests/balancers/test_reference_scenario.py", "needs a balancer of each kind",
    ),
    "tools/demo/story.py": ("tests/tools/demo/test_run.py", "prints what the demo does"),
    "tools/tomcat/command.py": ("tests/tools/tomcat/test_importing.py", "only calls the import"),
    "tools/top/command.py": ("tests/tools/top/test_live.py", "only calls the screen"),
}
"""Modules without a test file of their name: the file that tests each, and why it is that one."""


def python_files(*trees: str) -> list[Path]:
    return sorted(path for tree in trees for path in (ROOT / tree).rglob("*.py"))


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def mirrored(module: str) -> str:
    """Where the tests of a module are looked for first."""
    path = Path(module)
    adapter = path.parts[0].removesuffix(".py") in ADAPTERS
    parent = Path("tests", "adapters") if adapter else Path("tests")
    return (parent / path.parent / f"test_{path.name}").as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_go_down_only() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
         "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=50,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_modules_import_each_other_in_no_circle() -> None:
    """Imports for type checking count: whoever reads one module of a circle has to read all."""
    graph = grimp.build_graph(
        "clustersession", exclude_type_checking_imports=False, cache_dir=None
    )
    reached = {module: graph.find_upstream_modules(module) for module in graph.modules}
    circles = {
        frozenset(
            other.removeprefix("clustersession.") for other in modules | {module}
            if other == module or module in reached[other]
        )
        for module, modules in reached.items()
        if any(module in reached[other] for other in modules)
    }
    assert not circles


def test_no_two_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path in python_files("clustersession"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name not in PUBLIC_NAMES:
                places[node.name].append(short(path))
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert not shared


@pytest.mark.parametrize("path", python_files("clustersession"), ids=short)
def test_module_is_documented(path: Path) -> None:
    text = path.read_text()
    if not text.strip() and path.name == "__init__.py":
        return
    assert ast.get_docstring(ast.parse(text)), "a module says what it is for"


def test_first_lines_of_docstrings_are_sentences_about_what_they_document() -> None:
    """A module or a class does something, or is something; a function is told what to do."""
    fragment = re.compile(r"(An?|The|What|Whether|Where|Why|How|Like|Called|Now)\b|``")
    third_person = re.compile(r"(Is|Has|Does|[A-Z][a-z]+s)\b")
    wrong = []
    for path in python_files("clustersession"):
        for node in ast.walk(tree := ast.parse(path.read_text())):
            if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node) or ""
            if (text and node is tree and not third_person.match(text)) or (
                node is not tree and fragment.match(text)
            ):
                wrong.append(f"{short(path)}: {text.partition(chr(10))[0]}")
    assert not wrong


@pytest.mark.parametrize("path", python_files("clustersession"), ids=short)
def test_functions_are_short(path: Path) -> None:
    long = [
        f"{node.name}: {length} lines" for node in functions(path)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_tests_and_examples_are_documented() -> None:
    undocumented = [
        short(path) for path in python_files("tests", "examples")
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not undocumented


def test_no_line_is_too_long_and_nothing_is_left_to_do() -> None:
    left = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
    found = [
        f"{short(path)}:{number}"
        for path in python_files(*TREES)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE_LENGTH_MAX or left.search(line)
    ]
    assert not found


def test_tests_do_not_sleep_and_hope() -> None:
    sleeping = {
        short(path) for path in python_files("tests")
        if "time.sleep(" in path.read_text() and ROOT / "tests" / "support" not in path.parents
    }
    assert sleeping <= SLEEPERS.keys()


def test_each_module_has_a_test_file_of_its_name() -> None:
    """A newcomer guesses where a module's tests are, or finds it in TESTED_ELSEWHERE."""
    modules = {
        path.relative_to(PACKAGE).as_posix() for path in python_files("clustersession")
        if not path.name.startswith("__")
    }
    without = {module for module in modules if not (ROOT / mirrored(module)).exists()}
    absent = [f"{module}: {mirrored(module)}" for module in without - TESTED_ELSEWHERE.keys()]
    assert not absent, "tests are missing where they are looked for"
    assert not TESTED_ELSEWHERE.keys() - without, "these are gone, or have a file of their name"
    gone = [file for file, _ in TESTED_ELSEWHERE.values() if not (ROOT / file).exists()]
    assert not gone, "these files of tests are gone"


def test_tests_share_no_test_files() -> None:
    """What they share is a module beside them, so that a test file can be split or go."""
    shared = re.compile(r"^(?:from|import) tests\.[\w.]*\btest_\w+", re.MULTILINE)
    sharing = {
        short(path): found for path in python_files("tests")
        if (found := shared.findall(path.read_text()))
    }
    assert not sharing
