"""Whoever changes a format has to record it: older versions are judged by recordings alone."""

from tests.versions.conftest import Recording
from tests.versions.formats import ADVICE, formats_now


def test_formats_are_those_recorded(newest: Recording) -> None:
    """All but the settings: an agent leaves out those it does not know, so they come and go."""
    now, recorded = formats_now(), newest["formats"]
    changed = [name for name in now if now[name] != recorded.get(name) and name != "settings"]
    assert not changed, ADVICE.format(", ".join(changed))


def test_appended_fields_of_messages_have_defaults(recording: Recording) -> None:
    """Or messages of that version could not be read any more."""
    now = formats_now()["messages"]
    for number, old in recording["formats"]["messages"].items():
        known = len(old["fields"])
        assert now[number]["fields"][:known] == old["fields"], ADVICE.format(old["name"])
        lacking = [f["name"] for f in now[number]["fields"][known:] if f["required"]]
        assert not lacking, f"{old['name']}: {lacking} lack a default"
