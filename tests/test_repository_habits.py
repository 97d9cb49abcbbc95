"""Workflows, templates and hooks: valid, and they run what anybody runs by hand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents import table_rows
from tests.frameworks.interpreters import VERSIONS
from tests.support.processes import require

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")
OUR_WORKFLOWS = "./.github/workflows/"


def read(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def jobs() -> dict[str, dict[str, Any]]:
    return {
        f"{path.stem}: {name}": job
        for path in WORKFLOWS for name, job in read(path)["jobs"].items()
    }


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = job.get("steps", [])
    return found


def validate(schema: str, *paths: Path) -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    require("" if program.exists() else "check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema", f"vendor.{schema}", *paths],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_are_as_the_schema_wants() -> None:
    assert {path.name for path in WORKFLOWS} >= {"ci.yml", "release.yml"}
    validate("github-workflows", *WORKFLOWS)


def test_dependabot_s_file_is_as_its_schema_wants() -> None:
    validate("dependabot", GITHUB / "dependabot.yml")


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_issue_forms_ask_for_something(name: str) -> None:
    form = read(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert form["name"]
    assert form["description"]
    assert len({field["id"] for field in form["body"]}) == len(form["body"])
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_what_others_publish_is_pinned_to_a_commit() -> None:
    """A tag can be moved to other code, and workflows that publish have an identity."""
    used = [step["uses"] for job in jobs().values() for step in steps(job) if "uses" in step]
    used += [job["uses"] for job in jobs().values() if "uses" in job]
    assert used
    wrong = [u for u in used if not u.startswith(OUR_WORKFLOWS) and not PINNED.fullmatch(u)]
    assert not wrong


def test_workflows_may_only_read_unless_a_job_says_why() -> None:
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {"contents": "read"}, path
    writing = {
        name for name, job in jobs().items() if "write" in job.get("permissions", {}).values()
    }
    assert writing == {"release: publish", "release: github", "release: image"}


def test_nothing_of_a_stranger_is_put_into_a_command() -> None:
    """GitHub puts an expression into the text of a script, before the shell reads it."""
    ours = re.compile(r"\$\{\{ *matrix\.\w+ *\}\}")
    for name, job in jobs().items():
        for step in steps(job):
            assert "${{" not in ours.sub("", step.get("run", "")), name


def test_ci_runs_what_anybody_runs() -> None:
    commands = [step.get("run", "") for step in steps(jobs()["ci: ci"])]
    assert commands[-1] == ".ci/run"


def test_ci_has_every_python_that_we_name() -> None:
    matrix = jobs()["ci: versions"]["strategy"]["matrix"]["python"]
    assert matrix[: len(VERSIONS)] == list(VERSIONS)


def test_the_table_of_support_names_the_tested_pythons() -> None:
    rows = table_rows(ROOT / "docs" / "support.md", "", "supported", "tested by")
    (promised,) = [row[1] for row in rows if row[0] == "CPython"]
    assert tuple(re.findall(r"3\.\d+", promised)) == VERSIONS


def test_a_release_is_built_after_ci_and_published_by_trust() -> None:
    assert read(GITHUB / "workflows" / "release.yml")[True] == {"push": {"tags": ["v*"]}}
    assert jobs()["release: build"]["needs"] == "ci"
    assert any(step.get("run") == "make package" for step in steps(jobs()["release: build"]))
    publish = jobs()["release: publish"]
    assert publish["needs"] == "build"
    assert publish["environment"]["name"] == "pypi"
    assert publish["permissions"]["id-token"] == "write"
    assert "password" not in str(publish)
    (last,) = [step for step in steps(publish) if "pypi-publish" in step.get("uses", "")]
    assert last["with"]["attestations"] is True


def test_an_image_is_published_only_where_somebody_has_said_so() -> None:
    image = jobs()["release: image"]
    assert image["needs"] == "publish"
    assert image["if"] == "vars.PUBLISH_IMAGE == 'true'"


def test_the_hooks_before_a_commit_are_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    linted = [shlex.split(line.replace("$(BIN)", ".venv/bin")) for line in recipe[1].splitlines()]
    (local,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = local["hooks"]
    assert [shlex.split(hook["entry"]) for hook in hooks] == linted
    # Each looks at everything, whichever files a commit changes.
    assert all(hook["always_run"] and not hook["pass_filenames"] for hook in hooks)
    assert {hook["language"] for hook in hooks} == {"system"}
