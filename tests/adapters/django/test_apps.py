"""The system check names what to change."""

from typing import Any

import pytest
from django.core import management
from django.test import override_settings

from clustersession.django.apps import check_settings
from clustersession.testing import isolated
from tests.adapters.django_project import OURS


def messages_of(**values: Any) -> list[str]:
    with override_settings(**values):
        return [message.msg for message in check_settings()]


def test_the_check_names_what_to_change() -> None:
    assert messages_of() == []
    (message,) = messages_of(CLUSTERSESSION={"distributible": True})
    assert "did you mean distributable?" in message
    (message,) = messages_of(CLUSTERSESSION=["route"])
    assert "must be a dict" in message
    (message,) = messages_of(CLUSTERSESSION_ROUTE="b")
    assert 'CLUSTERSESSION = {"route": ...}' in message
    (message,) = messages_of(CLUSTERSESSION={"cookie_secure": True})
    assert "SESSION_COOKIE_SECURE" in message
    (message,) = messages_of(CLUSTERSESSION={"idle_timeout_s": 60})
    assert "SESSION_COOKIE_AGE" in message
    first, second = messages_of(
        CLUSTERSESSION={"header_name": "X-Session", "consistency": "causal"}
    )
    assert OURS in first
    assert OURS in second
    (message,) = messages_of(SESSION_COOKIE_NAME="session")
    assert "httpd" in message
    (message,) = messages_of(SESSION_ENGINE="django.contrib.sessions.backends.db")
    assert "not clustered" in message


def test_the_check_is_part_of_manage_py_check() -> None:
    with override_settings(CLUSTERSESSION={"rout": "b"}):
        with pytest.raises(management.CommandError, match="did you mean route"):
            management.call_command("check")


def test_the_engine_alone_refuses_to_exclude_paths() -> None:
    with override_settings(CLUSTERSESSION={"exclude": ["/static/.*"]}):
        errors = [message.msg for message in check_settings()]
        assert len(errors) == 1
        assert "exclude is" in errors[0]
        assert "ClusterSessionMiddleware" in errors[0]


@pytest.mark.parametrize(
    ("listeners", "said"),
    [("tests.adapters.django_project.nothing", "cannot be imported"), ("json.dumps", "Events")],
)
def test_listeners_that_are_none_are_found_by_the_check(listeners: str, said: str) -> None:
    with override_settings(CLUSTERSESSION={"LISTENERS": listeners}):
        assert [said in message.msg for message in check_settings()] == [True]


def test_a_choice_to_follow_logins_that_is_none_is_found_by_the_check() -> None:
    with override_settings(CLUSTERSESSION={"FOLLOW_LOGINS": "no"}):
        (message,) = check_settings()
        assert message.msg == "FOLLOW_LOGINS in CLUSTERSESSION is 'no'; it must be True or False"


@pytest.mark.parametrize(
    ("bind", "expected"), [("0.0.0.0", ["clustersession.W003"]), ("127.0.0.1", [])]
)
def test_the_key_of_startproject_is_found_by_the_check_where_it_would_be_refused(
    bind: str, expected: list[str]
) -> None:
    with override_settings(
        SECRET_KEY="django-insecure-6h#s7&k2v_9q!x0w@z^4n8b+c3m5p",
        CLUSTERSESSION={"distributable": True, "bind": bind},
    ):
        messages = check_settings()
        assert [message.id for message in messages] == expected
        assert all("startproject" in message.msg for message in messages)


def test_in_a_run_of_tests_no_key_is_refused() -> None:
    with (
        override_settings(
            SECRET_KEY="django-insecure-6h#s7&k2v_9q!x0w@z^4n8b+c3m5p",
            CLUSTERSESSION={"distributable": True, "bind": "0.0.0.0"},
        ),
        isolated(),
    ):
        assert not check_settings()
