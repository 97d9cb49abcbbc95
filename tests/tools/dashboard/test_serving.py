"""Where ``clustersession dashboard`` must not listen, or cannot."""

import socket

import pytest
from click.testing import CliRunner

from clustersession.cli import main
from clustersession.core.errors import ConfigurationError
from clustersession.settings.settings import Settings
from clustersession.tools.dashboard.serving import listen
from clustersession.worker.runtime import Runtime


@pytest.mark.parametrize(("arguments", "why"), [
    (["--bind", "0.0.0.0"], "set dashboard_token"),
    (["--bind", "::"], "set dashboard_token"),
    (["--bind", "somewhere"], "must be an IP address"),
    (["--bind", "127.0.0.1", "--port", "{taken}"], "choose another with --port"),
])
def test_the_command_refuses_in_one_line(
    options: dict[str, object], arguments: list[str], why: str
) -> None:
    runtime = Runtime.from_options({**options, "distributable": False})
    assert runtime.manager().replica.node
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        arguments = [port if argument == "{taken}" else argument for argument in arguments]
        result = CliRunner().invoke(
            main, ["--state-dir", str(options["state_dir"]), "dashboard", *arguments]
        )
    runtime.close()
    assert result.exit_code == 1
    assert why in result.output
    assert len(result.output.splitlines()) == 1


def test_a_token_that_can_be_guessed_is_for_loopback_only() -> None:
    settings = Settings(dashboard_token="changeme-changeme-123")
    with pytest.raises(ConfigurationError, match="can be guessed") as refused:
        listen(settings, "0.0.0.0", 0)
    assert "changeme" not in str(refused.value)
    listen(settings, "127.0.0.1", 0).close()
