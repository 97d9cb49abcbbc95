"""Commands read the settings as the application does, and write JSON that programs read."""

import json

import pytest

from clustersession.core.errors import ConfigurationError
from clustersession.tools.command_line import settings_of, to_json


def test_an_option_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTERSESSION_ROUTE", "from_environment")
    monkeypatch.setenv("CLUSTERSESSION_CLUSTER_NAME", "shop")
    assert settings_of({}).route == "from_environment"
    found = settings_of({"route": "from_option"})
    assert (found.route, found.cluster_name) == ("from_option", "shop")


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ConfigurationError, match="route is 'a-b'"):
        settings_of({"route": "a-b"})


def test_json_comes_back() -> None:
    value = {"members": [{"route": "a", "since_s": 1.5}], "reason": None}
    assert json.loads(to_json(value)) == value
