"""Completes a node's settings: works out what was left out, refuses what cannot work."""

import dataclasses
import logging

from clustersession.net.discovery import parse_seed
from clustersession.net.interfaces import advertised_address, bind_address, is_loopback
from clustersession.net.operator_certificates import operator_certificates
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.settings.sources import (
    TEST_STATE_DIR_VARIABLE,
    require_secret,
    require_secret_for_store,
)
from clustersession.settings.store_url import parse_store_url
from clustersession.worker.places import route_of
from clustersession.worker.run_of_tests import is_test_run, tests_state_dir
from clustersession.worker.secret import own_secret, warn_of_guessable
from clustersession.worker.tracing import require_api

_log = logging.getLogger("clustersession")


def complete(settings: Settings) -> Settings:
    """Return the settings with route, bind address and secret worked out.

    A node of a cluster needs a secret; on a loopback address the user's own random one will do, and
    so it will for a store on this host. Raises ConfigurationError when there is none, or one that
    can be guessed, and the address can be reached from elsewhere, for files of certificates that
    are missing or do not work, and for metrics or tracing without their package. A run of tests
    that is kept apart has no peers, and no store.
    """
    is_of_tests = tests_state_dir() is not None
    if is_of_tests:
        _say_that_there_are_no_peers(settings)
        settings = dataclasses.replace(settings, distributable=False, store="")
    route, bind = route_of(settings), settings.bind
    if settings.store:
        # Nobody listens there: it tells people which host this is.
        bind = bind_address(settings.bind, "")
        require_secret_for_store(settings, is_local(settings.store))
    elif settings.distributable:
        bind = bind_address(settings.bind, settings.multicast_address)
        require_secret(settings, bind)
        # Here and not only in the agent, whose log nobody has open at a deployment.
        operator_certificates(settings)
        peers = [parse_seed(seed).host for seed in settings.seeds]
        advertised_address(bind, split_address(settings.advertise)[0], peers)
    if settings.distributable and settings.metrics_port and settings.agent != "external":
        # Imported here, because no other worker needs anything of the agent's metrics.
        from clustersession.agent.metrics import require_client

        require_client()
    if settings.tracing:
        require_api()
    if not is_of_tests:
        warn_of_guessable(settings)
    secret = settings.secret or (own_secret(settings),)
    return dataclasses.replace(settings, route=route, bind=bind, secret=secret)


def is_local(store: str) -> bool:
    """Tell whether a store is reached from this host alone."""
    return all(not port or is_loopback(host) for host, port in parse_store_url(store).addresses)


def _say_that_there_are_no_peers(settings: Settings) -> None:
    """Log it where nobody may know: the variable can have got into a server's environment."""
    if settings.distributable and not is_test_run():
        _log.warning(
            "clustersession: %s is set, so this process keeps its sessions as a run of tests does: "
            "in %s and without peers, although distributable is True",
            TEST_STATE_DIR_VARIABLE, tests_state_dir(),
        )
