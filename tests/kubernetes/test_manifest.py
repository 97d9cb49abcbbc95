"""The plain manifest says the same in all its places."""

import re
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.core.ids import derive_route, is_route
from clustersession.net.discovery import parse_seed
from clustersession.settings.settings import Settings
from tests.kubernetes.manifests import PLAIN, POD_IP, objects, pod_of, settings_of
from tests.support.dockerfile import image

OBJECTS = objects(PLAIN.read_text())


def the(kind: str, name: str) -> dict[str, Any]:
    return OBJECTS[kind, name]["spec"]


SET = the("StatefulSet", "shop")
POD = pod_of(OBJECTS)
(CONTAINER,) = POD["containers"]
ENV = {entry["name"]: entry for entry in CONTAINER["env"]}
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
HEADLESS = the("Service", SET["serviceName"])


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings_of(CONTAINER, monkeypatch)


def test_every_variable_is_a_setting_and_the_settings_work(settings: Settings) -> None:
    assert len(ENV) == len(CONTAINER["env"])
    assert all(name.startswith("CLUSTERSESSION_") for name in ENV)
    assert settings.distributable
    assert settings.bind == POD_IP
    assert settings.multicast_address == ""
    assert settings.state_dir == CONTAINER["volumeMounts"][0]["mountPath"]


def test_secret_and_address_come_from_where_they_must() -> None:
    assert "value" not in ENV["CLUSTERSESSION_SECRET"]
    reference = ENV["CLUSTERSESSION_SECRET"]["valueFrom"]["secretKeyRef"]
    made = re.search(r"create secret generic (\S+) .*\n#\s+--from-literal=(\w+)=",
                     PLAIN.read_text())
    assert made is not None
    assert (made[1], made[2]) == (reference["name"], reference["key"])
    assert ENV["CLUSTERSESSION_BIND"]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_the_seed_is_the_name_of_the_headless_service(settings: Settings) -> None:
    (seed,) = map(parse_seed, settings.seeds)
    assert seed.every_record
    assert seed.host == SET["serviceName"]
    assert HEADLESS["clusterIP"] == "None"
    assert HEADLESS["publishNotReadyAddresses"] is True


def test_the_ports_agree(settings: Settings) -> None:
    assert settings.port == PORTS["cluster"] == HEADLESS["ports"][0]["port"]
    assert settings.port_range == 1
    assert f"--bind=0.0.0.0:{PORTS['web']}" in CONTAINER["command"]
    for service in (HEADLESS, the("Service", "shop")):
        assert {port["targetPort"] for port in service["ports"]} <= set(PORTS)


def test_everything_selects_the_pods() -> None:
    labels = SET["template"]["metadata"]["labels"]
    assert SET["selector"]["matchLabels"] == labels
    assert the("PodDisruptionBudget", "shop")["selector"]["matchLabels"] == labels
    assert the("Service", "shop")["selector"] == HEADLESS["selector"] == labels
    assert the("PodDisruptionBudget", "shop")["maxUnavailable"] < SET["replicas"]


def test_readiness_is_the_ready_path_and_liveness_is_not(settings: Settings) -> None:
    readiness = CONTAINER["readinessProbe"]
    assert readiness["httpGet"] == {"path": settings.ready_path, "port": "web"}
    assert readiness["timeoutSeconds"] > 1
    assert "httpGet" not in CONTAINER["livenessProbe"]


def test_the_pod_drains_and_has_time_for_it() -> None:
    shell, _, script = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert shell == "sh"
    drain, sleep = (shlex.split(part) for part in script.split(";"))
    assert drain[0] == "clustersession"
    assert CliRunner().invoke(main, [*drain[1:], "--help"]).exit_code == 0
    probe = CONTAINER["readinessProbe"]
    unready_s = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])
    graceful_s = int(CONTAINER["command"][-1].rpartition("=")[2])
    drain_s, sleep_s = int(drain[-1]), int(sleep[-1])
    assert unready_s <= drain_s + sleep_s
    assert drain_s + sleep_s + graceful_s < POD["terminationGracePeriodSeconds"]


def test_every_pod_has_a_route_of_its_own() -> None:
    assert "CLUSTERSESSION_ROUTE" not in ENV
    routes = {derive_route(f"shop-{number}") for number in range(SET["replicas"])}
    assert len(routes) == SET["replicas"]
    assert all(map(is_route, routes))
    assert "shop_0" in routes
    assert "shop_0" in PLAIN.read_text()


def test_it_runs_what_the_image_is_made_for() -> None:
    shop = image("shop")
    assert CONTAINER["command"][0] == shop.command[0]
    assert set(shop.command) <= set(CONTAINER["command"])
    context = POD["securityContext"]
    assert f"{context['runAsUser']}:{context['runAsGroup']}" == shop.user
    assert context["fsGroup"] == context["runAsGroup"]


def test_what_can_be_written_is_a_volume() -> None:
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    mounted = {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]} == {"state", "tmp"}
