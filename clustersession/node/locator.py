"""Asks every peer who holds a session, for people who want to know, and changes nothing."""

from dataclasses import dataclass, field

from clustersession.core.state import SessionState
from clustersession.node.context import Context
from clustersession.node.effects import Located
from clustersession.node.lookup import SessionLookup
from clustersession.node.moment import Moment
from clustersession.wire.messages import Fetch, Fetched

QUESTIONS_MAX = 64


@dataclass(slots=True)
class Question:
    """Is a question about one session.

    token: names the answer. deadline_s: when it is given, whoever is missing.
    waiting: the peers that have not answered. copies: what the others hold.
    """

    token: int
    key: str
    deadline_s: float
    waiting: set[bytes]
    copies: dict[bytes, SessionState | None] = field(default_factory=dict)


class Locator:
    """Asks as a lookup does, but waits for all answers and keeps none of the copies."""

    def __init__(self, context: Context, lookup: SessionLookup) -> None:
        self._context = context
        self._lookup = lookup
        # The oldest first, until each is answered; at most QUESTIONS_MAX.
        self._questions: list[Question] = []

    def locate(self, token: int, key: str, deadline_s: float) -> None:
        """Answer with Located(token) when all peers have answered, at the latest at the deadline.

        With too many questions open, at once and with all peers silent.
        """
        asked = {node for node in self._context.peers if self._context.keeps(node, key)}
        question = Question(token, key, deadline_s, asked)
        if len(self._questions) >= QUESTIONS_MAX:
            self._conclude(question)
            return
        self._questions.append(question)
        self._context.retimed.add(self)
        for node in question.waiting:
            self._context.send(node, Fetch(key))
        self._settle()

    def on_fetched(self, node: bytes, message: Fetched, at: Moment) -> None:
        """Take a peer's answer: the question is ours, a lookup's, or both's."""
        asked = False
        # We ask for whole copies, so what was kept back is the answer to a lookup.
        kept_back = message.state is None and message.versions is not None
        for question in () if kept_back else self._questions:
            if question.key == message.key and node in question.waiting:
                question.waiting.discard(node)
                question.copies[node] = message.state
                asked = True
        self._settle()
        if not asked or self._lookup.is_looking(message.key):
            self._lookup.on_fetched(node, message, at)

    def is_asking(self, key: str) -> bool:
        """Tell whether somebody wants to know of copies of a session."""
        return any(question.key == key for question in self._questions)

    def expire(self, at: Moment) -> None:
        """Answer what is past its deadline, or what nobody is left to answer."""
        self._settle(at.now_s)

    def next_deadline(self) -> float:
        """Return when ``expire`` has something to do."""
        return min((question.deadline_s for question in self._questions), default=float("inf"))

    def _settle(self, now_s: float = float("-inf")) -> None:
        for question in list(self._questions):
            reachable = question.waiting & self._context.peers.keys()
            if not reachable or question.deadline_s <= now_s:
                self._questions.remove(question)
                self._context.retimed.add(self)
                self._conclude(question)

    def _conclude(self, question: Question) -> None:
        silent = tuple(sorted(question.waiting))
        self._context.emit(Located(question.token, question.copies, silent))
