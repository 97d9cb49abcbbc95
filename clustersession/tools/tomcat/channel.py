"""Maps Tomcat's ``<Cluster>`` and all that its ``<Channel>`` holds, attribute by attribute."""

from clustersession.tools.tomcat.rows import (
    Table,
    host,
    mapped,
    name,
    no_equivalent,
    not_needed,
    ports,
    seconds_of_ms,
    send_options,
    whole,
)

_JMX = "there is no JMX; `clustersession status --json` tells what it told"
_OPTION = "there is no chain of interceptors that messages choose from"
_STATISTICS = "`clustersession status` counts what is sent and dropped"
_PROBE = (
    "a silent member is suspected after half of `drop_time_s` and asked over TCP, also through "
    "other members"
)
_NUMBERED = "changes are numbered by their sender: gaps are asked for again, order is kept"
_IDLE_DOMAIN = "Tomcat makes nothing of it here; `cluster_name` keeps clusters apart"
_SEEDS = (
    "seeds are looked up again every 5 s, for ever; a seed that is not there or is this node "
    "itself does no harm"
)
_CLOUD = (
    'set seeds = ["dns:NAME:4000"] with NAME a headless service; see "Multicast or seeds" in '
    "docs/operations/run.md"
)
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

CHANNEL: Table = {
    "SimpleTcpCluster": {
        "className": mapped(
            "distributable", lambda text: True,
            "`<Cluster>` with `<distributable/>` is `distributable`",
        ),
        "channelSendOptions": mapped(
            "ack", send_options,
            "asynchronous (8): 'none' is its counterpart word for word, 'one' waits for the first "
            "peer so that a node may die and nothing is lost; with acknowledgement (6): 'all'",
        ),
        **not_needed(
            "everything is started; without both of the flags 4 and 8 it is imported as "
            'multicast_address = ""', "channelStartOptions",
        ),
        **not_needed("the agent has a timer of its own", "heartbeatBackgroundEnabled"),
        **not_needed("no message has more than one recipient inside a node",
                     "notifyLifecycleListenerOnFailure"),
    },
    "GroupChannel": {
        **not_needed("the agent is the channel", "className"),
        **not_needed("the agent has a timer of its own", "heartbeat", "heartbeatSleeptime"),
        **not_needed(_OPTION, "optionCheck"),
        **not_needed(_JMX, "jmxEnabled", "jmxDomain", "jmxPrefix"),
    },
    "McastService": {
        **not_needed("multicast is the default here as well", "className"),
        "address": mapped("multicast_address"),
        "mcastAddr": mapped("multicast_address"),
        "port": mapped("multicast_port", whole),
        "mcastPort": mapped("multicast_port", whole),
        "frequency": mapped("heartbeat_interval_s", seconds_of_ms),
        "mcastFrequency": mapped("heartbeat_interval_s", seconds_of_ms),
        "dropTime": mapped("drop_time_s", seconds_of_ms),
        "mcastDropTime": mapped("drop_time_s", seconds_of_ms),
        "bind": mapped("bind", host, "one setting here for multicast and the TCP receiver"),
        "mcastBindAddress": mapped("bind", host),
        "ttl": mapped("multicast_ttl", whole),
        "mcastTTL": mapped("multicast_ttl", whole),
        "domain": mapped(
            "cluster_name", name, "nodes of another name neither see nor understand these"
        ),
        **not_needed("sending and receiving never wait for each other", "soTimeout",
                     "mcastSoTimeout"),
        **not_needed("the group is joined once; what fails to be sent is sent by TCP",
                     "recoveryEnabled", "recoveryCounter", "recoverySleepTime"),
        **no_equivalent("nodes of one host always hear each other; give clusters that must not "
                        "meet a secret of their own", "localLoopbackDisabled"),
    },
    "StaticMembershipService": {
        "className": mapped("multicast_address", lambda text: "", "members are found by seeds"),
        **not_needed(_PROBE, "connectTimeout", "rpcTimeout", "useThread", "pingInterval"),
        **not_needed(_IDLE_DOMAIN, "domain", "payload"),
        "expirationTime": mapped("drop_time_s", seconds_of_ms),
    },
    "CloudMembershipService": {
        "className": mapped(
            "multicast_address", lambda text: "", "a cloud has no multicast; " + _CLOUD
        ),
        **no_equivalent("ours asks DNS, not the API of Kubernetes: " + _CLOUD,
                        "membershipProviderClassName"),
        "expirationTime": mapped("drop_time_s", seconds_of_ms),
        **not_needed(_IDLE_DOMAIN, "domain", "payload"),
        **not_needed("a name server is waited for 5 s, a peer a third of `drop_time_s`",
                     "connectTimeout", "readTimeout"),
    },
    "StaticMember": {
        **not_needed(_SEEDS, "className"),
        "host": mapped("seeds", host, "with the port: \"host:port\""),
        "port": mapped("seeds", whole, "with the host: \"host:port\""),
        **not_needed("the one port speaks TLS", "securePort"),
        **not_needed("changes go by TCP or the group", "udpPort"),
        "domain": mapped("cluster_name", name),
        **not_needed("every node makes its own number, once", "uniqueId"),
        **not_needed("nodes say nothing but what the protocol has", "payload"),
    },
    "TcpFailureDetector": {
        **not_needed(_PROBE, "className", "connectTimeout", "performSendTest", "performReadTest",
                     "readTestTimeout", "removeSuspectsTimeout"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "MessageDispatchInterceptor": {
        **not_needed("requests never send: they commit to the local replica, and the agent "
                     "streams from there", "className", "alwaysSend", "useDeepClone"),
        **not_needed("the queue is the replica's own feed, and a peer that missed it is sent "
                     "what it lacks", "maxQueueSize"),
        **not_needed("there is no pool of threads", "maxThreads", "maxSpareThreads",
                     "keepAliveTime"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "TcpPingInterceptor": {
        **not_needed("heartbeats go by TCP where multicast does not reach", "className",
                     "useThread", "interval", "staticOnly"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "ThroughputInterceptor": {
        **not_needed(_STATISTICS, "className", "interval"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "StaticMembershipInterceptor": {
        **not_needed("its members become `seeds`, beside multicast", "className"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "DomainFilterInterceptor": {
        **not_needed("other clusters are kept out by name and secret", "className"),
        "domain": mapped("cluster_name", name),
        **not_needed("remarks on strangers are limited in rate", "logInterval"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "FragmentationInterceptor": {
        **not_needed("frames are of any length up to 16 MiB", "className", "expire", "maxSize"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "GzipInterceptor": {
        **not_needed("deltas are small; nothing is compressed", "className", "compressionMinSize"),
        **not_needed(_STATISTICS, "statsEnabled", "interval"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "EncryptInterceptor": {
        **not_needed("all traffic is always encrypted: TLS 1.3, AES-256-GCM", "className",
                     "encryptionAlgorithm", "providerName"),
        **no_equivalent("set CLUSTERSESSION_SECRET to a new secret, the same on all nodes; keys "
                        "follow from it", "encryptionKey"),
        **not_needed("repetitions are refused by sequence number, not by clock",
                     "replayWindowTime", "replayWindowMessageCount"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "OrderInterceptor": {
        **not_needed(_NUMBERED, "className", "expire", "forwardExpired", "maxQueue"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "TwoPhaseCommitInterceptor": {
        **no_equivalent('for a write that all peers hold before the answer set ack = "all"',
                        "className", "expire", "deepclone"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "NonBlockingCoordinator": {
        **not_needed("nobody is elected: all nodes are equal", "className"),
        **not_needed(_OPTION, "optionFlag"),
    },
    "SimpleCoordinator": {
        **not_needed("nobody is elected: all nodes are equal", "className",
                     "viewNotificationTimeout"),
        **not_needed(_OPTION, "optionFlag"),
    },
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
CHANNEL["MessageDispatch15Interceptor"] = CHANNEL["MessageDispatchInterceptor"]
