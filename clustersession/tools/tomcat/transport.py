"""The sockets of Tomcat's ``<Receiver>``, ``<Sender>`` and ``<Transport>``: all attributes."""

from clustersession.tools.tomcat.rows import Table, host, mapped, not_needed, ports, whole

_BUFFERS = "the system sizes the buffers of each connection as it needs them"
_THREADS = "one event loop serves all peers"
_OPTIONS = "the agent sets the options that its connections need"
_ONE_LINK = "one connection for each pair of nodes, kept open and opened again when it breaks"
_DATAGRAMS = "there are no datagrams but those of the group"

_SOCKET_OPTIONS = (
    "ooBInline", "soKeepAlive", "soLingerOn", "soLingerTime", "soReuseAddress", "soTrafficClass",
    "tcpNoDelay",
)

_RECEIVER = {
    "address": mapped(
        "bind", host, "an address; 'auto' is that of the interface which reaches the group"
    ),
    "tcpListenAddress": mapped("bind", host),
    "port": mapped("port", whole),
    "tcpListenPort": mapped("port", whole),
    "autoBind": mapped("port_range", ports),
    "host": mapped("bind", host),
    **not_needed("the one port speaks TLS", "securePort"),
    **not_needed(_DATAGRAMS, "udpPort", "udpRxBufSize", "udpTxBufSize"),
    **not_needed(_THREADS, "selectorTimeout", "tcpSelectorTimeout", "maxThreads", "minThreads",
                 "maxTasks", "maxIdleTime", "direct", "useBufferPool"),
    **not_needed(_BUFFERS, "rxBufSize", "txBufSize"),
    **not_needed(_OPTIONS, *_SOCKET_OPTIONS),
    **not_needed("a connection that the peer leaves unacknowledged for 10 s is given up",
                 "timeout"),
}

_TRANSPORT = {
    **not_needed(_ONE_LINK, "keepAliveCount", "keepAliveTime"),
    **not_needed(_BUFFERS, "rxBufSize", "txBufSize"),
    **not_needed(_DATAGRAMS, "udpBased", "udpRxBufSize", "udpTxBufSize"),
    **not_needed(_OPTIONS, *_SOCKET_OPTIONS),
    **not_needed(_THREADS, "directBuffer"),
    **not_needed("a request waits for `ack_timeout_s` at most; sending goes on behind it",
                 "timeout"),
    **not_needed("what a peer missed is sent again until it has it", "maxRetryAttempts"),
    **not_needed("a write that nobody confirmed is answered as `ack_failure` says",
                 "throwOnFailedAck"),
}

TRANSPORT: Table = {
    "NioReceiver": {
        **not_needed("the agent's receiver has no kinds to choose from", "className"), **_RECEIVER,
    },
    "BioReceiver": {
        **not_needed("there is no blocking receiver, and no need for one", "className"),
        **_RECEIVER,
    },
    "ReplicationTransmitter": not_needed("the agent sends", "className"),
    "PooledParallelSender": {
        **not_needed("the agent sends to all peers at once", "className"), **_TRANSPORT,
        **not_needed(_ONE_LINK, "poolSize", "maxWait"),
    },
    "ParallelNioSender": {
        **not_needed("the agent sends to all peers at once", "className"), **_TRANSPORT,
    },
    "PooledMultiSender": {
        **not_needed("the agent sends to all peers at once, and never blocks", "className"),
        **_TRANSPORT, **not_needed(_ONE_LINK, "poolSize", "maxWait"),
    },
}
