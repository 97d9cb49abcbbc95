"""What the documentation says is true: its commands, settings, tables and links exist."""

import ast
import json
import os
import re
import shlex
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.settings import sources as configuration
from clustersession.settings.rules import BOUNDS
from clustersession.settings.settings import CHOICES, Settings, setting_names
from clustersession.wire import messages
from tests.documents import DOCUMENTS, FENCE, ROOT, Block, blocks, short, table_rows
from tests.support.alerting import alert_names

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

VARIABLE = re.compile(r"\bCLUSTERSESSION_[A-Z][A-Z_]*")

LOG_FRAGMENT_LENGTH_MIN = 5

VARIABLES_OF_OTHERS = {
    "CLUSTERSESSION_SERVICE_HOST": "set by Kubernetes, mentioned as ignored",
    "CLUSTERSESSION_SERVICE_PORT": "set by Kubernetes, mentioned as ignored",
}


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def commands(program: str) -> list[str]:
    """Every command line of a program in a console block or a code span, without the program."""
    lines = [line for block in blocks("console", "sh") for line in block.text.splitlines()]
    lines = [line.removeprefix("$ ") for line in lines]
    for document in DOCUMENTS:
        lines += code_spans(prose(document))
    return sorted({
        line.removeprefix(program).strip() for line in lines if line.startswith(f"{program} ")
    })


def test_there_are_commands_to_check() -> None:
    assert {"status", "members", "sessions", "agent"} <= set(commands("clustersession"))
    assert "demo" in commands("make")


@pytest.mark.parametrize("line", commands("clustersession"))
def test_command_line_exists(line: str) -> None:
    group: click.Group = main
    words = shlex.split(line.replace("show ID", "show 00000000"))
    with main.make_context("clustersession", list(words), resilient_parsing=True) as context:
        name, command, arguments = group.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        assert name is not None
        assert command is not None
        command.make_context(name, arguments, parent=context)
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_every_command_is_documented() -> None:
    documented = {word for line in commands("clustersession") for word in line.split()}
    assert set(main.commands) - {"demo"} <= documented


@pytest.mark.parametrize("line", commands("make"))
def test_make_target_exists(line: str) -> None:
    target = line.split()[0]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_modules_that_python_is_to_run_exist(document: Path) -> None:
    ours = r"python3? -m ((?:tests|benchmarks|clustersession)[\w.]*)"
    for name in re.findall(ours, document.read_text()):
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


@pytest.mark.parametrize("line", commands("pip"))
def test_extra_exists(line: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    word, *targets = shlex.split(line)
    assert word == "install"
    ours = [re.fullmatch(r"(?:\.|clustersession)(?:\[(\w+)\])?", target) for target in targets]
    assert any(ours)
    assert {extra for found in ours if found for extra in found.groups() if extra} <= set(
        extras["optional-dependencies"]
    )


README_LINES_MAX = 200


def test_the_readme_is_short() -> None:
    """What a reader needs later has a page of its own."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= README_LINES_MAX


APPLICATION = ROOT / "docs" / "application.md"


def test_the_table_of_frameworks_has_all_of_them() -> None:
    rows = list(table_rows(APPLICATION, "framework", "extra", "import"))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    linked = {link for framework, *_ in rows for link in LINK.findall(framework)}
    assert linked == {
        f"frameworks/{page.name}"
        for page in (ROOT / "docs" / "frameworks").glob("*.md") if page.name != "README.md"
    }
    for _, extra, imported, *_ in rows:
        assert set(code_spans(extra)) <= set(extras["optional-dependencies"])
        for line in code_spans(imported):
            module, names = re.fullmatch(r"(?:from )?(\S+)(?: import (.+))?", line).groups()
            for name in filter(None, (names or "").split(", ")):
                assert hasattr(import_module(module), name), line


def test_the_reference_has_what_each_framework_imports() -> None:
    listed = set(re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    assert not [name for name in listed if not _exists(name)]
    found = {name.rpartition(".")[2] for name in listed}
    for row in table_rows(APPLICATION, "framework", "extra", "import"):
        for names in re.findall(r"import ([\w, ]+)", row[2]):
            assert set(names.split(", ")) <= found, row


CONFIGURATION = ROOT / "docs" / "configuration.md"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    documented: dict[str, object] = {}
    for name, default, *_ in table_rows(CONFIGURATION, "setting", "default"):
        value = tomllib.loads(f"value = {default.strip('`')}")["value"]
        documented[name.strip("`")] = tuple(value) if isinstance(value, list) else value
    assert documented == {name: getattr(Settings(), name) for name in setting_names()}


def test_the_allowed_values_are_those_of_the_code() -> None:
    for name, _, allowed, *_ in table_rows(CONFIGURATION, "setting", "default", "allowed"):
        setting = name.strip("`")
        if setting in BOUNDS:
            low, high = allowed.split(" to ")
            assert (float(low), float(high)) == BOUNDS[setting], setting
        elif setting in CHOICES:
            assert tuple(map(json.loads, code_spans(allowed))) == CHOICES[setting], setting


def test_tomcats_names_are_those_of_the_code() -> None:
    documented = {
        alias: name.strip("`")
        for name, _, _, meaning in table_rows(CONFIGURATION, "setting", "default", "allowed")
        for alias in re.findall(r"Tomcat: `(\w+)`", meaning)
    }
    assert documented == {
        alias: target.setting for alias, target in configuration._ALIASES.items()
    }


def test_the_defaults_of_the_short_table_are_those_of_the_code() -> None:
    rows = list(table_rows(APPLICATION, "setting", "default"))
    assert rows
    for name, default, _ in rows:
        setting = name.strip("`")
        assert setting in setting_names()
        if default.startswith("`"):
            value = tomllib.loads(f"value = {default.strip('`')}")["value"]
            assert value == getattr(Settings(), setting), setting
        else:
            assert not getattr(Settings(), setting), setting


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_environment_variables_exist(document: Path) -> None:
    known = {*configuration._VARIABLES, *configuration._NO_SETTINGS, *VARIABLES_OF_OTHERS}
    assert set(VARIABLE.findall(document.read_text())) <= known


@pytest.mark.parametrize("block", blocks("sh", "console"), ids=str)
def test_exported_settings_are_valid(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CLUSTERSESSION_")]:
        monkeypatch.delenv(name)
    for name, value in re.findall(r"export (CLUSTERSESSION_\w+)=(\S*)", block.text):
        monkeypatch.setenv(name, value)
    configuration.load_settings()


TESTING = ROOT / "docs" / "testing.md"
PROTOCOL = ROOT / "docs" / "protocol.md"


def test_the_table_of_messages_is_that_of_the_code() -> None:
    documented = {
        int(number): (name, tuple(fields.split(", ")))
        for number, name, fields, *_ in table_rows(PROTOCOL, "number", "message", "fields")
    }
    assert documented == {
        number: (kind.__name__, tuple(name for name, _ in messages._KINDS[kind]))
        for kind, number in messages._NUMBERS.items()
    }


def test_the_table_of_limits_is_that_of_the_code() -> None:
    rows = list(table_rows(PROTOCOL, "constant", "module", "value"))
    assert rows
    for name, module, value in rows:
        assert getattr(import_module(module.strip("`")), name.strip("`")) == int(value), name


def texts_of_the_code() -> str:
    """Every text in the package, the parts of each f-string in order."""
    texts: list[str] = []
    for path in sorted((ROOT / "clustersession").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_every_log_line_in_the_table_is_in_the_code() -> None:
    rows = list(table_rows(ROOT / "docs" / "operations" / "watch.md", "level", "line"))
    assert len(rows) > 20
    texts = re.sub(r"%[.\d]*[sdgr]", "…", texts_of_the_code())
    for _, line, *_ in rows:
        fragments = re.split("…", line.strip("`"))
        if fragments[0].startswith("dropped what came from"):
            # The reason is put together from a kind and a detail.
            details = [text.strip(": ").split(": ") for text in fragments[1:]]
            fragments[1:] = [part for parts in details for part in parts]
        for fragment in fragments:
            if len(fragment.strip(" :();,")) >= LOG_FRAGMENT_LENGTH_MIN:
                assert fragment.strip() in texts, (line, fragment)


def test_every_outage_of_a_store_is_shown_by_tests() -> None:
    said = [row[0] for row in table_rows(ROOT / "docs" / "store.md", "what happens")]
    shown = {row[0]: row[1] for row in table_rows(TESTING, "what happens", "shown by")}
    assert said == [*shown]
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for what, tests in shown.items():
        names = re.findall(r"`(test_\w+)`", tests)
        faults = re.findall(r"`([a-z]+(?:-\w+)+)`", tests)
        assert names or faults, what
        assert not [name for name in names if f"def {name}(" not in code]
        assert not [name for name in faults if f'"{name}"' not in code]


def test_every_alert_leads_to_its_repair() -> None:
    repairs = ROOT / "docs" / "operations" / "repair.md"
    seen = [row[0] for row in table_rows(repairs, "what you see")]
    assert {name for cell in seen for name in re.findall(r"`(Cluster\w+)`", cell)} == set(
        alert_names()
    )


ARCHITECTURE = ROOT / "docs" / "architecture.md"

PACKAGE = ROOT / "clustersession"


def modules() -> dict[str, str]:
    """Every module that holds more than a docstring, and the first line of that."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        documented = ast.get_docstring(tree) or ""
        if len(tree.body) > bool(documented):
            found[path.relative_to(PACKAGE).as_posix()] = documented.partition("\n")[0]
    return found


def test_the_map_has_one_line_for_each_module() -> None:
    lines = [name.strip("`") for name, *_ in table_rows(ARCHITECTURE, "module", "what it does")]
    there = modules()
    absent = [f"| `{name}` | {there[name]} |" for name in there if name not in lines]
    assert not absent, "missing, to be said in your words:\n" + "\n".join(absent)
    assert not [name for name in lines if name not in there], "these modules are gone"
    assert len(lines) == len(set(lines)), "a module stands in the map twice"


def test_the_table_of_layers_is_that_of_the_linter() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in linter["contracts"] if c["type"] == "layers"]
    documented = [code_spans(row[0]) for row in table_rows(ARCHITECTURE, "layer", "content")]
    assert documented == [
        [room.removeprefix("clustersession.") for room in layer.split(" | ")] for layer in layers
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_files_in_code_spans_exist(document: Path) -> None:
    """Paths of tests anywhere, and those of modules where the map stands."""
    for span in code_spans(prose(document)):
        if re.fullmatch(r"(tests|examples|benchmarks|docs)(/[\w.-]+)+/?", span):
            assert (ROOT / span).exists(), span
        elif document == ARCHITECTURE and re.fullmatch(r"[\w/]+(\.py|/)", span):
            assert (PACKAGE / span).exists(), span


def anchor(heading: str) -> str:
    """What a heading is linked by, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_links_resolve(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if re.match(r"https?://", target):
            continue
        name, _, fragment = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert path.is_relative_to(ROOT), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
            assert fragment in map(anchor, headings), target


TRACED = {"fetch", "commit", "confirm", "route", "outcome", "size_bytes"}
"""What traces name: spans and their attributes."""


@pytest.mark.parametrize("document", DOCUMENTS, ids=short)
def test_python_names_in_code_spans_exist(document: Path) -> None:
    for span in code_spans(prose(document)):
        if re.fullmatch(r"clustersession(\.\w+)+", span) is None:
            continue
        if span == "clustersession.session":  # the key in a WSGI environ
            continue
        if span.removeprefix("clustersession.") in TRACED:
            continue
        assert _exists(span), span


def _exists(dotted: str) -> bool:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            # What a framework imports may be deprecated.
            with warnings.catch_warnings(action="ignore"):
                found: Any = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        return all(hasattr(found, name) for name in parts[length:])
    return False
