"""Reads manifests: a pod's settings as its containers would have them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN = EXAMPLES / "kubernetes" / "shop.yaml"
POD_IP = "10.244.1.7"
OF_THE_SECRET = {
    "secret": "qT8w-Lz3Rk5_vN0xYb7d", "store": "valkey://shop:password@valkey.internal:6379/0",
}


def objects(text: str) -> dict[tuple[str, str], Any]:
    """All objects, by kind and name."""
    found = list(yaml.safe_load_all(text))
    return {(o["kind"], o["metadata"]["name"]): o for o in found}


def pod_of(found: dict[tuple[str, str], Any]) -> Any:
    return found["StatefulSet", "shop"]["spec"]["template"]["spec"]


def settings_of(container: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What a process of the container has; an unknown name would be refused."""
    for entry in container["env"]:
        value = entry.get("value")
        if value is None:
            source = entry["valueFrom"]
            value = OF_THE_SECRET[source["secretKeyRef"]["key"]] if (
                "secretKeyRef" in source) else POD_IP
        monkeypatch.setenv(entry["name"], value)
    return load_settings()
