"""What kustomize makes of the plain manifest: the same, and what each component changes in it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.manifests import EXAMPLES, PLAIN, objects, pod_of, settings_of

PROGRAMS = EXAMPLES.parent / ".venv-kubernetes" / "bin"
COMPONENTS = EXAMPLES / "kustomize"
NEWEST = "1.37.0"
OLDEST = "1.29.0"
"""Where sidecars begin to be there without being asked for."""

COMBINATIONS = [
    [], ["sidecar"], ["store"], ["volume"], ["store", "sidecar"], ["store", "volume", "sidecar"],
]
extended = pytest.mark.extended


def kustomize(directory: Path) -> str:
    done = subprocess.run(
        [PROGRAMS / "kubectl", "kustomize", directory], capture_output=True, text=True,
        check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_components(directory: Path, names: list[str]) -> str:
    """The base with these, as an overlay of a user's has it."""
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [os.path.relpath(PLAIN.parent, directory)],
        "components": [os.path.relpath(COMPONENTS / name, directory) for name in names],
    }
    (directory / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return kustomize(directory)


def complaints(text: str, version: str, directory: Path) -> str:
    """What the schemas of that version have against it; empty if nothing."""
    path = directory / "rendered.yaml"
    path.write_text(text)
    done = subprocess.run(
        [PROGRAMS / "kubernetes-validate", "--strict", "-k", version, path],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.stdout + done.stderr if done.returncode else ""


def test_the_base_is_the_plain_manifest_and_nothing_else() -> None:
    base = yaml.safe_load((PLAIN.parent / "kustomization.yaml").read_text())
    assert base.keys() == {"apiVersion", "kind", "resources"}
    assert base["resources"] == [PLAIN.name]


def test_what_the_overlay_builds_on_is_there() -> None:
    overlay = COMPONENTS / "production"
    found = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    for path in found["resources"] + found["components"]:
        assert (overlay / path / "kustomization.yaml").exists(), path


def test_the_sidecar_comes_last_in_the_overlay() -> None:
    overlay = yaml.safe_load((COMPONENTS / "production" / "kustomization.yaml").read_text())
    assert overlay["components"][-1] == "../sidecar"


@extended
def test_the_base_renders_as_it_stands() -> None:
    assert objects(kustomize(PLAIN.parent)) == objects(PLAIN.read_text())


@extended
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(names) or "base")
def test_the_schemas_have_nothing_against_it(
    names: list[str], version: str, tmp_path: Path
) -> None:
    assert not complaints(with_components(tmp_path, names), version, tmp_path)


@extended
def test_the_schemas_have_nothing_against_the_plain_manifest_and_the_overlay(
    tmp_path: Path,
) -> None:
    assert not complaints(PLAIN.read_text(), NEWEST, tmp_path)
    assert not complaints(kustomize(COMPONENTS / "production"), NEWEST, tmp_path)


@extended
@pytest.mark.parametrize(("right", "wrong"), [
    ("shareProcessNamespace", "shareProcessNamespaces"), ("replicas: 3", "replicas: three"),
])
def test_the_schemas_notice_a_mistake(right: str, wrong: str, tmp_path: Path) -> None:
    assert complaints(PLAIN.read_text().replace(right, wrong), NEWEST, tmp_path)


@extended
@pytest.mark.parametrize("names", COMBINATIONS, ids=lambda names: "+".join(names) or "base")
def test_every_container_has_settings_that_work(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = pod_of(objects(with_components(tmp_path, names)))
    for container in pod["containers"] + pod.get("initContainers", []):
        settings = settings_of(container, monkeypatch)
        assert settings.distributable
        assert bool(settings.store) is ("store" in names)
        assert bool(settings.seeds) is ("store" not in names)
        assert settings.agent == ("external" if "sidecar" in names else "process")


@extended
@pytest.mark.parametrize("names", [["sidecar"], ["store", "sidecar"]], ids="+".join)
def test_agent_and_application_agree(names: list[str], tmp_path: Path) -> None:
    pod = pod_of(objects(with_components(tmp_path, names)))
    (agent,), (shop,) = pod["initContainers"], pod["containers"]
    assert agent["env"] == shop["env"]
    assert agent["command"] == ["clustersession", "agent"]
    assert agent["volumeMounts"][0] in shop["volumeMounts"]
    assert agent["securityContext"] == shop["securityContext"]
    assert agent["restartPolicy"] == "Always"
    assert pod["shareProcessNamespace"]


@extended
def test_a_setting_of_the_overlay_reaches_both() -> None:
    pod = pod_of(objects(kustomize(COMPONENTS / "production")))
    name = "CLUSTERSESSION_IDLE_TIMEOUT_S"
    for container in pod["containers"] + pod["initContainers"]:
        assert name in {entry["name"] for entry in container["env"]}
    tags = {c["image"].partition(":")[2] for c in pod["containers"] + pod["initContainers"]}
    assert tags == {"1.1"}


@extended
def test_the_volume_takes_the_place_of_the_pod_s_own(tmp_path: Path) -> None:
    found = objects(with_components(tmp_path, ["volume"]))
    (claim,) = found["StatefulSet", "shop"]["spec"]["volumeClaimTemplates"]
    pod: Any = pod_of(found)
    assert claim["metadata"]["name"] == "state"
    assert {volume["name"] for volume in pod["volumes"]} == {"tmp"}
    mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {"state", "tmp"}


@extended
def test_a_port_that_nobody_listens_on_is_not_told(tmp_path: Path) -> None:
    found = objects(with_components(tmp_path, ["store"]))
    ports = {port["name"] for port in pod_of(found)["containers"][0]["ports"]}
    services = [o for (kind, _), o in found.items() if kind == "Service"]
    named = {p["targetPort"] for o in services for p in o["spec"].get("ports") or []}
    assert named == ports == {"web"}
