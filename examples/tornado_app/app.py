"""A shop on Tornado whose sessions survive the death of a node.

    pip install "clustersession[tornado]"
    export CLUSTERSESSION_DISTRIBUTABLE=true CLUSTERSESSION_BIND=127.0.0.1
    CLUSTERSESSION_ROUTE=tomcat1 python app.py 8001
    CLUSTERSESSION_ROUTE=tomcat2 python app.py 8002

These are two nodes on one machine; without DISTRIBUTABLE, as on a laptop and in CI, it is a store
of this host. On hosts of their own leave BIND away and give all of them the same
CLUSTERSESSION_SECRET.
"""

import asyncio
import os
import signal
import sys

from tornado.escape import json_decode
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from clustersession.tornado import ClusterSession, ClusterSessionMixin

NODE = os.environ.get("CLUSTERSESSION_ROUTE", "this node")


class Api(ClusterSessionMixin, RequestHandler):
    def answer(self, **more: object) -> None:
        self.write({"node": NODE, "pid": os.getpid(), **more})


class WhoAmI(Api):
    def get(self) -> None:
        self.answer()


class Show(Api):
    def get(self) -> None:
        self.answer(data=self.session)


class Append(Api):
    def post(self) -> None:
        item = json_decode(self.request.body)
        self.session.setdefault(item["key"], []).append(item["value"])  # noticed, though in place
        self.answer(data=self.session)


class LogIn(Api):
    def post(self) -> None:
        # A new id at login, so that an id planted before it is worth nothing.
        self.session.rotate()
        self.session["user"] = self.session.principal = json_decode(self.request.body)["user"]
        self.answer(data=self.session)


class LogOut(Api):
    def post(self) -> None:
        self.session.invalidate()  # ended on every node, for good
        self.answer()


class Live(ClusterSessionMixin, WebSocketHandler):
    """Whatever is sent goes into the cart, and is safe on another node before it is answered."""

    async def on_message(self, message: str | bytes) -> None:
        self.session.setdefault("cart", []).append(message)
        await self.session.asave()
        await self.write_message({"node": NODE, "cart": self.session["cart"]})


async def main() -> None:
    app = Application([
        ("/api/whoami", WhoAmI), ("/api/session", Show), ("/api/append", Append),
        ("/api/login", LogIn), ("/api/logout", LogOut), ("/live", Live),
    ])  # fmt: skip
    sessions = ClusterSession(app)  # the one line
    sessions.start()  # join now, and not at the first request
    server = app.listen(int(sys.argv[1]), "127.0.0.1")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.stop()
    await server.close_all_connections()
    sessions.close()


if __name__ == "__main__":
    asyncio.run(main())
