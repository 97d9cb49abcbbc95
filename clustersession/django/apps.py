"""Reports wrong settings in ``manage.py check``, with ``"clustersession.django"`` installed."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register

from clustersession.core.errors import ConfigurationError
from clustersession.django.configuration import read_listeners, read_settings
from clustersession.net.interfaces import bind_address
from clustersession.settings.settings import Settings
from clustersession.settings.sources import require_secret
from clustersession.worker.run_of_tests import is_kept_apart

ENGINE = "clustersession.django"


class ClusterSessionConfig(AppConfig):
    """Registers what ``manage.py check`` says about sessions; its one model has no table."""

    name = "clustersession.django"
    label = "clustersession"
    verbose_name = "clustersession"

    def ready(self) -> None:
        """Register the check."""
        register(check_settings, "clustersession")


def check_settings(**_: Any) -> list[CheckMessage]:
    """Return an error for each setting that cannot work. Opens nothing."""
    try:
        settings = read_settings()
        read_listeners()
    except ConfigurationError as error:
        return [Error(line, id="clustersession.E001") for line in str(error).splitlines()]
    messages: list[CheckMessage] = []
    if django_settings.SESSION_ENGINE != ENGINE:
        messages.append(Warning(
            f"SESSION_ENGINE is {django_settings.SESSION_ENGINE!r}: sessions are not clustered.",
            hint=f"Set SESSION_ENGINE = {ENGINE!r}.", id="clustersession.W001",
        ))
    if settings.cookie_name == "session":
        messages.append(Warning(
            "SESSION_COOKIE_NAME is 'session': Apache httpd prefers a query parameter of that name "
            "when it looks for the route.",
            hint="Choose another name, for example Django's default, 'sessionid'.",
            id="clustersession.W002",
        ))
    if problem := _refused_secret(settings):
        messages.append(
            Warning(f"Requests will fail on this host: {problem}", id="clustersession.W003")
        )
    return messages


def _refused_secret(settings: Settings) -> str:
    """Say why a node would not serve here: a warning, because hosts and commands differ.

    In a run of tests there is nothing to refuse: its sessions have no peers.
    """
    if is_kept_apart():
        return ""
    try:
        require_secret(settings, bind_address(settings.bind, settings.multicast_address))
    except ConfigurationError as error:
        return str(error)
    return ""
