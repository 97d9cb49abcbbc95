"""What a worker writes to the agent that it starts, of another version perhaps."""

import json
from pathlib import Path

import pytest

from clustersession.agent.start import decode_start, encode_start, unknown_settings
from clustersession.core.errors import ConfigurationError
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings

HOME = NodeHome(Path("/somewhere"))


def test_what_a_worker_writes_the_agent_reads() -> None:
    settings = Settings(route="tomcat1", secret=("s" * 32,), seeds=("10.0.0.1:4000",), ack="all")
    assert decode_start(encode_start(settings, HOME)) == (settings, HOME)


def test_settings_of_another_version_are_left_out_or_have_their_defaults() -> None:
    start = json.loads(encode_start(Settings(ack="all"), HOME))
    del start["settings"]["drop_time_s"]
    start["settings"]["of_a_later_version"] = 7
    data = json.dumps(start).encode()
    assert decode_start(data) == (Settings(ack="all"), HOME)
    assert unknown_settings(data) == ["of_a_later_version"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"settings": 1, "directory": "/"}'])
def test_what_is_no_start_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        decode_start(data)
