"""Judges a change that comes straight from a worker of another node, ahead of its node's stream.

The stream says what a node has written without a gap; a change that comes alone does not. So it
may only join a copy that it stands on. Let ``base`` be the place of the node's previous write to
the session, and ``seq`` its own; between them the node has written nothing to it. A copy whose
version of the node is at least ``base`` contains all that the node wrote to the session up to
``base``. With the change it contains all up to ``seq``, and its version may say so: what
``versions`` claim stays true.

The cursor on the node's feed does not move: the stream brings the change once more, and everything
around it, and joining it twice changes nothing.

A whole copy stands on nothing: it contains all that its versions name. An agent sends one ahead of
its own stream when somebody waits for what is far behind in it. It may begin a session here, and
end one.

Two things speak against a change whose base is here. A copy without it although the stream has
passed its place: the place was given out twice, by a node that has lost its past and does not know
it yet, or what was here is over and removed. And a copy that has the place with other content. What
is taken could then be told from the first write at that place by nobody.
"""

from enum import Enum

from clustersession.core.state import SessionState, expires_ms, merge


class Fit(Enum):
    """Says what is to be done with a change: join it, nothing because it is here, or refuse it."""

    JOIN = 1
    HELD = 2
    REFUSE = 3


def judge(
    current: SessionState | None,
    part: SessionState,
    node: bytes,
    base: int,
    floor: int,
    wall_ms: int,
    *,
    full: bool = False,
) -> Fit:
    """Judge a part of a session that ``node`` wrote, or with ``full`` its copy, against ours.

    ``floor``: up to where the stream has brought everything that the node wrote.
    """
    seq = part.versions.get(node, 0)
    if current is None:
        return Fit.JOIN if full and seq > floor and expires_ms(part) >= wall_ms else Fit.REFUSE
    if expires_ms(current) < wall_ms or (current.ended is not None and part.ended is None):
        # An end wins over the change. Whoever waits learns that from the agents.
        return Fit.REFUSE
    held = current.versions.get(node, 0)
    if held >= seq:
        return Fit.HELD if merge(current, part) == current else Fit.REFUSE
    if held < base or seq <= floor:
        return Fit.REFUSE
    return Fit.JOIN
