"""An event log and a member to report of."""

from clustersession.agent.event_log import EventLog
from clustersession.core.identity import Address, Identity
from clustersession.core.membership import Member, Status
from clustersession.settings.settings import Settings

NODE = b"n" * 8


def member(reason: str = "") -> Member:
    identity = Identity(NODE, 1, "tomcat2", Address("10.0.0.2", 4000))
    return Member(identity, Status.ALIVE, since_s=0.0, heard_s=0.0, reason=reason)


def event_log() -> EventLog:
    return EventLog(Settings(), lambda node: "tomcat2")
