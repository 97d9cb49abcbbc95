"""The formats as the code has them now: what a recording keeps as ``formats.json``.

Numbers and fields come from the code. The shapes are written down here by hand, because an older
reader must not depend on the code that it judges; a kind of field without a shape is an error.
"""

from dataclasses import MISSING, fields
from typing import Any

from clustersession.core.identity import Phase
from clustersession.core.ids import KEY_LENGTH
from clustersession.replica import tables
from clustersession.session import seen, token
from clustersession.settings.settings import SETTING_TYPES
from clustersession.wire import envelope, messages, records
from clustersession.wire import fields as kinds
from clustersession.wire.local import Operation

ADVICE = f"""the {{}} are not those recorded as v{messages.PROTOCOL_VERSION}.
If that version was released:
 1. append only: a new field of a message has a default, numbers are never used twice;
 2. raise PROTOCOL_VERSION in clustersession/wire/messages.py by one, and PROTOCOL_VERSION_MIN only
    to end rolling upgrades from older releases; for tables or records also LAYOUT in
    clustersession/replica/tables.py;
 3. python -m tests.versions.record, and commit the new directory beside the old ones;
 4. say so in CHANGELOG.md and in docs/protocol.md.
If it was not released yet: python -m tests.versions.record --replace."""

NODE = {"bytes": 8}
ADDRESS = {"row": ["ip", "uint"]}
SESSION = {"row": ["key", {"packed": "state"}]}
DELTA = {"row": ["key", "bool", "state"]}

VERSIONS = {"list": {"row": [NODE, "uint"]}}

SHAPES: dict[str, Any] = {
    "UINT": "uint",
    "BOOL": "bool",
    "NODE": NODE,
    "KEY": "key",
    "PLACE": "text",
    "NAME": "text",
    "DIGESTS": "bytes",
    "ROOT": {"bytes": 8},
    # Of later phases an older node knows that the other is there.
    "PHASE": "uint",
    "IDENTITY": {"row": [NODE, "uint", "route", ADDRESS]},
    "MEMBER": {"row": [NODE, "uint", "route", ADDRESS]},
    "ADDRESS": ADDRESS,
    "ADDRESSES": {"list": ADDRESS},
    "NODES": {"list": NODE},
    "MAYBE_NODES": {"maybe": {"list": NODE}},
    "VERSIONS": VERSIONS,
    "MAYBE_VERSIONS": {"maybe": VERSIONS},
    "PAST": {"maybe": {"row": [{"list": NODE}, "bool", {"list": NODE}, {"list": NODE}]}},
    "CURSOR": {"row": ["uint", "uint"]},
    "CURSORS": {"list": {"row": [NODE, "uint", "uint"]}},
    "SUSPICIONS": {"list": {"row": [NODE, "uint"]}},
    "BATCH": {"packed": {"row": [{"number": 1}, NODE, "uint", "uint", "uint", "bool",
                                 {"list": DELTA}]}},
    "STATE": {"maybe": {"packed": "state"}},
    "SESSIONS": {"list": SESSION},
    "KEYS": {"list": "key"},
    "BUCKET_NUMBERS": {"list": "uint"},
    "ENTRIES": {"list": {"row": ["key", VERSIONS, "uint"]}},
}

ARGUMENTS: dict[Operation, list[Any]] = {
    Operation.ATTACH: ["uint"],
    Operation.FEED_MOVED: ["uint"],
    Operation.PEERS_HOLD: ["uint"],
    Operation.CONFIRM: ["uint", "bool", "uint", "bool"],
    Operation.FETCH: ["key", VERSIONS],
    Operation.STATUS: [],
    Operation.DRAIN: [],
    Operation.STOP: [],
    Operation.WATCH: ["key"],
    Operation.UNWATCH: ["uint"],
    Operation.LISTEN: ["bool", "uint"],
    Operation.EVENTS: [],
    Operation.LOCATE: ["key", "uint"],
    Operation.GATHER: ["bytes"],
    Operation.GRANT: [],
    Operation.DISMISS: ["any"],
    Operation.REPORT: ["any"],
}

TABLES: dict[str, list[list[str]]] = {
    "sessions": [[">H", "text"], [">QQQ?", "state"]],
    "feed": [[">Q"], ["text"]],
    "expiry": [[">Q", "text"], ["bytes"]],
    "digests": [[">H"], [">Q"]],
    "cursors": [["8s"], [">QQ"]],
    "notes": [["text"], ["bytes"]],
    "meta": [["text"], [">B8sQQQ"]],
    "principals": [["16s", "text"], ["bytes"]],
}
"""Per table how a key and a value are laid out: structs, and what fills the rest."""


def formats_now() -> dict[str, Any]:
    """Everything an older reader has to know, as plain values for JSON."""
    assert set(TABLES) == {name.decode() for name in tables.TABLE_NAMES}, "tables without a shape"
    return {
        "protocol_version": messages.PROTOCOL_VERSION,
        "protocol_version_min": messages.PROTOCOL_VERSION_MIN,
        "record_format": records.FORMAT,
        "layout": tables.LAYOUT,
        "datagram": {"version": envelope.VERSION, "header": envelope._HEADER.format},
        "phases": {phase.name: int(phase) for phase in Phase},
        "messages": {
            str(number): {"name": kind.__name__, "fields": _fields(kind)}
            for kind, number in messages._NUMBERS.items()
        },
        "kinds": {name: SHAPES[name] for name in sorted(_kind_names().values())},
        "operations": {str(int(operation)): ARGUMENTS[operation] for operation in Operation},
        "tables": TABLES,
        "ids": {
            "salt": token._SALT.decode(), "purpose": "session id", "mac_bytes": token._MAC_BYTES,
            "key_length": KEY_LENGTH, "seen_mac_bytes": seen._MAC_BYTES,
        },
        "settings": SETTING_TYPES,
    }


def _fields(message: type[Any]) -> list[dict[str, Any]]:
    names = _kind_names()
    return [
        {
            "number": number,
            "name": field.name,
            "kind": names[field.metadata["kind"]],
            "required": field.default is MISSING,
        }
        for number, field in enumerate(fields(message), 1)
    ]


def _kind_names() -> dict[kinds.Kind, str]:
    return {kind: name for name, kind in vars(kinds).items() if isinstance(kind, kinds.Kind)}
