"""Maps Tomcat's session managers, valves, contexts, and web.xml, attribute by attribute."""

from clustersession.tools.tomcat.rows import (
    Table,
    everywhere,
    mapped,
    no_equivalent,
    not_needed,
    path_parameter,
    patterns,
    replicated_only,
    rewriting,
    route,
    samesite,
    seconds,
    seconds_of_minutes,
    truth,
)

_LISTENERS = "where this node reports what others did: see `events`"
_RANDOM = "ids come from the system's random numbers, 128 bits, and are signed"
_TRANSFER = (
    "a joining node loads page by page, goes on where it stopped, and changes the donor when need "
    "be; `join_timeout_s` bounds the wait"
)
_NO_LIMIT = (
    "sizes are bounded by `session_bytes_max` and `map_bytes`; a user's sessions by "
    "`sessions_per_principal_max`"
)
_SERVLET = "a rule of the servlet interface"
_SINGLE_SIGN_ON = (
    "sign-on across applications belongs to an identity provider; one application on several hosts "
    "needs nothing: its session is everywhere"
)
_DEPLOY = (
    "clustersession moves no code: deploy with your own tool, node after node as in "
    '"Rolling restart" of docs/operations/run.md'
)
_APPLICATION = "about the application server, not about sessions"

_MANAGER = {
    **not_needed("one application, one store: it needs no name", "name"),
    "notifyListenersOnReplication": mapped("events", everywhere, _LISTENERS),
    "sessionAttributeNameFilter": mapped(
        "local_attributes", replicated_only,
        "it names what is replicated, ours what is not: turned round",
    ),
    "sessionAttributeFilter": mapped("local_attributes", replicated_only),
    **not_needed("nothing is deserialized into classes: a list of plain types, and those you "
                 "`register`", "sessionAttributeValueClassNameFilter"),
    **not_needed("a value that cannot be replicated raises in the request that wrote it",
                 "warnOnSessionAttributeFilterFailure"),
    "maxInactiveInterval": mapped("idle_timeout_s", seconds),
    **not_needed(_NO_LIMIT, "maxActiveSessions"),
    **not_needed(_RANDOM, "sessionIdLength", "secureRandomClass", "secureRandomProvider",
                 "secureRandomAlgorithm", "randomFile", "entropy", "algorithm"),
    **not_needed("the agent sweeps every 5 s; an expired session is never served meanwhile",
                 "processExpiresFrequency"),
    **not_needed("the last write of an attribute is what is sent", "recordAllActions"),
    **not_needed("`clustersession status` counts", "enableStatistics"),
    **no_equivalent("keep what the login needs in the session itself, or in "
                    "`session.principal`", "persistAuthentication", "persistAuthenticationNotes"),
    **not_needed(_SERVLET, "sessionActivityCheck", "sessionLastAccessAtStart",
                 "notifyAttributeListenerOnUnchangedValue",
                 "notifyBindingListenerOnUnchangedValue"),
}

SESSIONS: Table = {
    "DeltaManager": {
        **not_needed("every node holds every session, as with DeltaManager", "className"),
        **_MANAGER,
        **not_needed("a node that stops never ends sessions; with true Tomcat logs everybody out",
                     "expireSessionsOnShutdown"),
        "notifySessionListenersOnReplication": mapped("events", everywhere, _LISTENERS),
        **no_equivalent("there is no container that could listen",
                        "notifyContainerListenersOnReplication"),
        "stateTransferTimeout": mapped("join_timeout_s", seconds),
        **not_needed(_TRANSFER, "sendAllSessions", "sendAllSessionsSize",
                     "sendAllSessionsWaitTime"),
        **not_needed("changes that arrive during the transfer are merged, whatever the clocks say",
                     "stateTimestampDrop"),
    },
    "BackupManager": {
        **no_equivalent("every node holds every session, not one backup: more memory, and no "
                        "node has to be asked", "className"),
        **_MANAGER,
        **no_equivalent('use `ack`: the default waits for one peer, as here (6) for the backup',
                        "mapSendOptions"),
        **not_needed("`ack_timeout_s` and `fetch_timeout_s` bound the waits", "rpcTimeout",
                     "accessTimeout"),
        **not_needed("a node without peers serves, and finds them later",
                     "terminateOnStartFailure"),
    },
    "StandardManager": {
        **not_needed("sessions are in the replica, which outlives restarts", "className",
                     "pathname"),
        **_MANAGER,
    },
    "PersistentManager": {
        **no_equivalent("sessions are in a memory map with a file behind it; no store is needed",
                        "className", "saveOnRestart", "minIdleSwap", "maxIdleSwap",
                        "maxIdleBackup"),
        **_MANAGER,
    },
    "SessionIdGenerator": {
        **not_needed(_RANDOM, "className", "sessionIdLength", "secureRandomClass",
                     "secureRandomProvider", "secureRandomAlgorithm"),
        "jvmRoute": mapped("route", route),
    },
    "ReplicationValve": {
        **not_needed("changes are committed before the response starts", "className"),
        "filter": mapped(
            "exclude", patterns,
            "a request that matches has no session at all here: keep only paths that need none",
        ),
        **no_equivalent("no node is primary: any may write", "primaryIndicator",
                        "primaryIndicatorName"),
        **not_needed("`clustersession status` counts", "statistics"),
    },
    "JvmRouteBinderValve": {
        "className": mapped(
            "rewrite", lambda text: "failover",
            "the route in the cookie is replaced when its node is gone; Tomcat replaces it "
            "whenever another node answers, which is 'always'",
        ),
        "enabled": mapped("rewrite", rewriting),
        **no_equivalent("the id stays what it is at a failover: only the route changes",
                        "sessionIdAttribute"),
    },
    "ClusterSingleSignOn": no_equivalent(
        _SINGLE_SIGN_ON, "className", "cookieDomain", "cookieName", "mapSendOptions", "partitioned",
        "requireReauthentication", "rpcTimeout", "terminateOnStartFailure", "accessTimeout",
    ),
    "ClusterSessionListener": not_needed("the agent hands changes to the replica", "className"),
    "FarmWarDeployer": no_equivalent(
        _DEPLOY, "className", "deployDir", "tempDir", "watchDir", "watchEnabled",
        "processDeployFrequency", "maxValidTime",
    ),
    "Engine": {
        "jvmRoute": mapped("route", route),
        **not_needed(_APPLICATION, "name", "className", "defaultHost", "backgroundProcessorDelay",
                     "startStopThreads"),
    },
    "Context": {
        "sessionCookieName": mapped("cookie_name"),
        "sessionCookiePath": mapped("cookie_path"),
        "sessionCookieDomain": mapped("cookie_domain"),
        **not_needed("a path is sent as it is written", "sessionCookiePathUsesTrailingSlash"),
        "useHttpOnly": mapped("cookie_httponly", truth),
        "usePartitioned": mapped("cookie_partitioned", truth),
        "sessionTimeout": mapped("idle_timeout_s", seconds_of_minutes),
        **no_equivalent("clients without cookies are read from `header_name` or `url_parameter`",
                        "cookies"),
        **no_equivalent("one application, one store: give others the same `cookie_path` and "
                        "`state_dir`, or a cookie of their own", "crossContext"),
        **no_equivalent("shared values of the application belong into your own database or "
                        "cache; sessions are not shared memory (ReplicatedContext)", "className"),
        "distributable": mapped("distributable", truth),
        **not_needed(_SERVLET, "alwaysAccessSession", "tldValidation", "xmlNamespaceAware",
                     "validateClientProvidedNewSessionId", "preemptiveAuthentication",
                     "renewThreadsWhenStoppingContext"),
        **not_needed(
            _APPLICATION, "addWebinfClassesResources", "allowCasualMultipartParsing",
            "allowMultipleLeadingForwardSlashInPath", "altDDName", "antiResourceLocking",
            "backgroundProcessorDelay", "caseSensitive", "clearReferencesHttpClientKeepAliveThread",
            "clearReferencesObjectStreamClassCaches", "clearReferencesRmiTargets",
            "clearReferencesStopThreads", "clearReferencesStopTimerThreads",
            "clearReferencesThreadLocals", "configFile", "containerSciFilter",
            "copyXML", "createUploadTargets", "delegate", "dispatcherWrapsSameObject",
            "dispatchersUseEncodedPaths", "docBase", "failCtxIfServletStartFails",
            "fireRequestListenersOnForwards", "ignoreAnnotations", "jndiExceptionOnFailedWrite",
            "logEffectiveWebXml", "mapperContextRootRedirectEnabled",
            "mapperDirectoryRedirectEnabled", "metadataComplete", "name",
            "notFoundClassResourceCacheSize", "override", "parallelAnnotationScanning", "path",
            "privileged", "reloadable", "resourceOnlyServlets", "skipMemoryLeakChecksOnJvmShutdown",
            "startupTime", "suspendWrappedResponseAfterForward", "swallowAbortedUploads",
            "swallowOutput", "tldScanTime", "unloadDelay", "unpackWAR", "useBloomFilterForArchives",
            "useNaming", "useRelativeRedirects", "webappVersion", "workDir", "wrapperClass",
            "xmlBlockExternal", "xmlValidation",
        ),
    },
    "CookieProcessor": {
        **not_needed("cookies are written as RFC 6265 has them", "className",
                     "forwardSlashIsSeparator", "cookiesWithoutEquals"),
        "sameSiteCookies": mapped("cookie_samesite", samesite),
        "partitioned": mapped("cookie_partitioned", truth),
    },
    "web-app": {
        "distributable": mapped("distributable", lambda text: True),
        "session-timeout": mapped("idle_timeout_s", seconds_of_minutes),
        "tracking-mode": mapped(
            "url_parameter", path_parameter,
            "COOKIE is always on; URL is read, but no link is rewritten; SSL has no equivalent",
        ),
    },
    "cookie-config": {
        "name": mapped("cookie_name"),
        "domain": mapped("cookie_domain"),
        "path": mapped("cookie_path"),
        "http-only": mapped("cookie_httponly", truth),
        "secure": mapped("cookie_secure", truth),
        "max-age": mapped("cookie_max_age_s", seconds),
        **no_equivalent("browsers ignore a cookie's comment", "comment"),
        "attribute SameSite": mapped("cookie_samesite", samesite),
        "attribute Partitioned": mapped("cookie_partitioned", truth),
    },
}
SESSIONS["ReplicatedContext"] = SESSIONS["Context"]
