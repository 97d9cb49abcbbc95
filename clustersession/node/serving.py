"""Leaves the workers the serving view, by which they route."""

from clustersession.core.errors import ReplicaError
from clustersession.core.identity import Phase
from clustersession.core.membership import Status
from clustersession.core.serving_view import VIEW_NOTE, View
from clustersession.node.context import Context
from clustersession.node.news import ViewNotWritten


class ServingViewWriter:
    """Leaves the workers a view in the replica's notes whenever it is another one."""

    def __init__(self) -> None:
        # What this agent wrote last; None before the first time. It outlives a node id: until the
        # new one has looked around, the workers go by what the former one saw.
        self.written: View | None = None

    def write(self, context: Context) -> None:
        """Write the view if it has changed; when that fails, the next call tries again."""
        context.view_is_stale = False
        if not context.discovered:
            # A view of a node that has not looked around yet would send everybody's users here;
            # what the last agent saw is better.
            return
        view = view_of(context)
        if view == self.written:
            return
        try:
            context.replica.save_note(VIEW_NOTE, view.encode())
        except ReplicaError as error:
            context.tell(ViewNotWritten(str(error)))
        else:
            self.written = view


def view_of(context: Context) -> View:
    """Return who serves as this node sees it: ready, with a worker, and not draining."""
    serving = {
        member.identity.route
        for member in context.membership
        if member.status is Status.ALIVE and member.phase is Phase.READY and member.serving
    }
    draining = context.phase is Phase.DRAINING
    if context.serving and not draining:
        serving.add(context.own.route)
    return View(frozenset(serving), draining)
