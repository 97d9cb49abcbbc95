"""Completes a node's settings: works out what was left out, refuses what cannot work."""

import dataclasses

from clustersession.net.discovery import parse_seed
from clustersession.net.interfaces import advertised_address, bind_address
from clustersession.net.operator_certificates import operator_certificates
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.settings.sources import require_secret
from clustersession.worker.places import route_of
from clustersession.worker.secret import user_secret, warn_of_guessable


def complete(settings: Settings) -> Settings:
    """Return the settings with route, bind address and secret worked out.

    A node of a cluster needs a secret; on a loopback address the user's own random one will do.
    Raises ConfigurationError when there is none, or one that can be guessed, and the address can be
    reached from elsewhere, for files of certificates that are missing or do not work, and for
    metrics without their package.
    """
    route, bind = route_of(settings), settings.bind
    if settings.distributable:
        bind = bind_address(settings.bind, settings.multicast_address)
        require_secret(settings, bind)
        # Here and not only in the agent, whose log nobody has open at a deployment.
        operator_certificates(settings)
        if settings.metrics_port and settings.agent != "external":
            # Imported here, because no other worker needs anything of the agent's metrics.
            from clustersession.agent.metrics import require_client

            require_client()
        peers = [parse_seed(seed).host for seed in settings.seeds]
        advertised_address(bind, split_address(settings.advertise)[0], peers)
    warn_of_guessable(settings)
    secret = settings.secret or (user_secret(settings.cluster_name),)
    return dataclasses.replace(settings, route=route, bind=bind, secret=secret)
