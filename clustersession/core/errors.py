"""Is the tree of exceptions.

ClusterSessionError
├── ConfigurationError          a setting is wrong; the message names what to change
├── WireError                   bytes from outside do not parse; never anything else from a decoder
│   └── OtherVersion            they are of a version that we share no protocol or layout with
├── ReplicaError                the local replica cannot be used
│   ├── ReplicaFull             no space left on the device or in the map
│   └── ReplicaUnusable         wrong owner, network file system, unreadable
├── StoreError                  the store cannot be used; the message says why
└── SessionError                what an application may catch
    ├── UnserializableValue     a value that no cluster could carry (also a TypeError)
    ├── SessionTooLarge         an attribute or a session above its limit
    ├── ReplicationFailed       ``ack_failure="error"`` and no peer confirmed in time
    └── TooManySessions         the user has as many sessions as ``sessions_per_principal_max``
"""

from enum import StrEnum


class ClusterSessionError(Exception):
    """Something that this library raises on purpose went wrong: the root of all its errors."""


class ConfigurationError(ClusterSessionError):
    """A setting is wrong, unknown or contradicts another. The message names what to change."""


class WireError(ClusterSessionError):
    """Bytes from outside or from the disk do not parse. Decoders raise this and nothing else."""


class OtherVersion(WireError):
    """The bytes are those of a version of this library that we share no protocol or layout with."""


class ReplicaError(ClusterSessionError):
    """The local replica cannot be used."""


class ReplicaFull(ReplicaError):
    """There is no space left for the replica, on the device or in the map."""


class ReplicaUnusable(ReplicaError):
    """The state directory is not ours, not local, or not readable. The message says which."""


class StoreErrorKind(StrEnum):
    """Names what kinds of trouble with a store are counted."""

    LOGIN = "login"
    FORBIDDEN = "forbidden"
    FULL = "full"
    NOT_READY = "not_ready"
    SETTING = "setting"
    TLS = "tls"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    OTHER = "other"


class StoreError(ClusterSessionError):
    """The Valkey or Redis cannot be used. The message says why, and names what to change."""

    def __init__(self, message: str, kind: StoreErrorKind = StoreErrorKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


class SessionError(ClusterSessionError):
    """Something that an application may see and catch went wrong with its session."""


class UnserializableValue(SessionError, TypeError):
    """A session value has a type that cannot be replicated; the message names key and type."""


class SessionTooLarge(SessionError, ValueError):
    """An attribute or a whole session is larger than the configured limit."""


class ReplicationFailed(SessionError):
    """No peer confirmed the write in time and the application asked for ``ack_failure="error"``."""


class TooManySessions(SessionError):
    """The user has as many sessions as allowed, and ``sessions_per_principal_policy`` refuses."""
