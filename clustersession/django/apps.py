"""Reports wrong settings in ``manage.py check``, with ``"clustersession.django"`` installed."""

from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, register

from clustersession.core.errors import ConfigurationError
from clustersession.django.configuration import read_listeners, read_settings

ENGINE = "clustersession.django"


class ClusterSessionConfig(AppConfig):
    """Has no models; registers what ``manage.py check`` says about sessions."""

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
    return messages
