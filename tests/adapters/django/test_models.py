"""The model of the admin's page has no table, and nothing of Django's looks for one."""

from io import StringIO

import pytest
from django.core import management

from clustersession.django.models import UserSession


@pytest.mark.usefixtures("database")
def test_no_command_wants_a_table() -> None:
    said = StringIO()
    management.call_command("makemigrations", check=True, dry_run=True, stdout=said)
    assert "No changes detected" in said.getvalue()
    for every in (False, True):
        said = StringIO()
        management.call_command("dumpdata", "clustersession", use_base_manager=every, stdout=said)
        assert said.getvalue().strip() == "[]"
    assert list(UserSession.objects.all()) == []


def test_only_looking_and_ending_are_permitted() -> None:
    assert UserSession._meta.default_permissions == ("view", "delete")
