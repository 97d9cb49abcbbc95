"""What is written can be read back, and steers nothing."""

from pathlib import Path

from clustersession.settings.sources import load_settings
from tests.tools.tomcat.conversion import FILES, imported, run, settings_in


def test_comments_cannot_be_left_and_terminals_not_steered(tmp_path: Path) -> None:
    found = imported(tmp_path, '<Deployer tempDir="a&#10;route = 1&#x9b;2J"/>')
    assert "route" not in found["settings"]
    assert "\x9b" not in run(tmp_path / "server.xml")


def test_tomcats_names_in_a_settings_file_mean_what_the_import_says(tmp_path: Path) -> None:
    path = tmp_path / "tomcat.toml"
    path.write_text(
        'distributable = true\njvmRoute = "tomcat1"\naddress = "228.0.0.4"\n'
        'frequency = 500\ndropTime = 3000\nautoBind = 100\nport = 4000\n'
        'bind = "192.168.0.10"\nack = "one"\nevents = "everywhere"\n'
    )
    written = settings_in(run(FILES / "server.xml", FILES / "web.xml"), tmp_path)
    assert load_settings(config=path) == written
