"""Is the agent's word that workers may write to the store themselves, and where that is.

It is good for one connection of the agent with one run of one server. What workers write under it
the agent counts as held as long as that lasts, and sends itself when it does not.
"""

from typing import NamedTuple

from clustersession.net.store.resp import Part, command
from clustersession.settings.store_url import StoreAddress


class Grant(NamedTuple):
    """Says where and how to call.

    number: that of the agent's connection; the agent counts nothing that was written under another
    one. node: whose writes are meant; a place in the feed of a former id is another one. run_id:
    that the server must have, or it is not the agent's. digest: by which EVALSHA finds the
    function; b"" where FCALL does.
    """

    number: int
    node: bytes
    host: str
    port: int
    run_id: str
    digest: bytes

    @classmethod
    def read(cls, answer: object) -> "Grant | None":
        """Read what the agent has answered; None: workers may not, or it knows no grants."""
        match answer:
            case [int(number), bytes(node), str(host), int(port), str(run_id), bytes(digest)]:
                return cls(number, node, host, port, run_id, digest)
        return None

    @property
    def address(self) -> StoreAddress:
        """Return where the server is."""
        return StoreAddress((self.host, self.port))

    def call(self, function: str, keys: list[bytes], *arguments: Part) -> bytes:
        """Write a call of the function; implements ``calls.FunctionCaller``."""
        if self.digest:
            return command("EVALSHA", self.digest, len(keys), *keys, *arguments)
        return command("FCALL", function, len(keys), *keys, *arguments)
