"""From configured settings to a node: what is missing is worked out, then it is connected."""

import dataclasses

from clustersession.agent.metrics import require_client
from clustersession.core.counters import Counters
from clustersession.core.identity import Phase
from clustersession.net.discovery import parse_seed
from clustersession.net.interfaces import advertised_address, bind_address
from clustersession.net.operator_certificates import own_certificates
from clustersession.replica.home import NodeHome
from clustersession.replica.replica import Replica
from clustersession.session.cluster_port import ClusterPort
from clustersession.settings.rules import split_address
from clustersession.settings.settings import Settings
from clustersession.settings.sources import require_secret
from clustersession.worker.agent_client import AgentClient
from clustersession.worker.agent_thread import ThreadAgent
from clustersession.worker.alone import Alone
from clustersession.worker.places import id_secrets, route_of

READY = Phase.READY.name.lower()


class Connection:
    """A process's port to the cluster, and what has to be ended with it."""

    def __init__(
        self, port: ClusterPort, agent_client: AgentClient | None, thread: ThreadAgent | None
    ) -> None:
        self.port = port
        self._agent_client = agent_client
        self._thread = thread

    def wait_for_agent(self, timeout_s: float) -> None:
        """Wait until this process is attached to its agent, if it is to have one."""
        if self._agent_client is not None:
            self._agent_client.attachment.attached.wait(timeout_s)

    @property
    def agent_client(self) -> AgentClient | None:
        """The port where there is an agent behind it."""
        return self._agent_client

    def count(self, counters: Counters) -> None:
        """Have the agent, if there is one, told of what is counted there."""
        if self._agent_client is not None:
            self._agent_client.attachment.count(counters)

    def phase(self) -> str:
        """What this node is doing, in its agent's words; empty when that does not answer."""
        return READY if self._agent_client is None else self._agent_client.phase()

    async def phase_async(self) -> str:
        """``phase`` without blocking the event loop."""
        return READY if self._agent_client is None else await self._agent_client.phase_async()

    def close(self) -> None:
        """Detach from the agent; one inside this process leaves the cluster."""
        if self._agent_client is not None:
            self._agent_client.close()
        if self._thread is not None:
            self._thread.stop()


def complete(settings: Settings) -> Settings:
    """The settings with route, bind address and secret worked out.

    A node of a cluster needs a secret; on a loopback address the user's own random one will do.
    Raises ConfigurationError when there is none and the address can be reached from elsewhere, for
    files of certificates that are missing or do not work, and for metrics without their package.
    """
    route, bind = route_of(settings), settings.bind
    if settings.distributable:
        bind = bind_address(settings.bind, settings.multicast_address)
        require_secret(settings, bind)
        # Here and not only in the agent, whose log nobody has open at a deployment.
        own_certificates(settings)
        if settings.metrics_port and settings.agent != "external":
            require_client()
        peers = [parse_seed(seed).host for seed in settings.seeds]
        advertised_address(bind, split_address(settings.advertise)[0], peers)
    secret = settings.secret or tuple(secret.hex() for secret in id_secrets(settings))
    return dataclasses.replace(settings, route=route, bind=bind, secret=secret)


def connect(settings: Settings, home: NodeHome, replica: Replica) -> Connection:
    """Connect this process to its node's agent. ``settings`` are complete."""
    if not settings.distributable:
        return Connection(Alone(settings.route, replica), None, None)
    thread = ThreadAgent(settings, home, replica) if settings.agent == "thread" else None
    port = AgentClient(settings, home, replica, start=thread.start if thread else None)
    return Connection(port, port, thread)
