"""Hosts that lose their power: an agent and a worker each are killed, and their disk tears."""

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from clustersession.net.agent_link import AgentGone
from clustersession.operations.nodes import ask_agent
from clustersession.operations.recovering import do_without
from clustersession.replica.home import NodeHome
from clustersession.settings.settings import Settings
from clustersession.settings.sources import load_settings
from clustersession.tools.demo.processes import free_port
from clustersession.wire.local import Operation
from clustersession.worker.completion import complete
from clustersession.worker.places import node_home
from tests.support.waiting import wait_until

DISK = Path(__file__).with_name("disk")
ROOT = Path(__file__).parents[2]
SECTOR_BYTES = 512
SETTLED_S = 60.0


class PoweredHost:
    """One host. Its disk outlives its processes, as far as they have brought it there."""

    def __init__(self, directory: Path, route: str, common: dict[str, str]) -> None:
        self.directory = directory
        self.route = route
        self.notes = directory / "notes"
        self.notes.mkdir(parents=True)
        self._environment = {
            **common, "ROUTE": route, "STATE_DIR": str(directory / "state"),
        }
        self.agent: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[str] | None = None
        self._greeted = False
        self._booted_s = self._cut_s = 0.0
        # How long the disk took for one sync, at most, in all its lives.
        self.longest_sync_s = 0.0

    @property
    def settings(self) -> Settings:
        values: dict[str, Any] = {n.lower(): v for n, v in self._environment.items()}
        values["distributable"] = values["distributable"] == "true"
        values["seeds"] = tuple(values["seeds"].split(",")) if values["seeds"] else ()
        for name in ("port", "recovery_wait_s", "drop_time_s", "heartbeat_interval_s"):
            values[name] = float(values[name]) if name.endswith("_s") else int(values[name])
        values["secret"] = (values["secret"],)
        return complete(load_settings(**values))

    @property
    def home(self) -> NodeHome:
        return node_home(self.settings)

    def boot(self) -> None:
        """Start the host's processes."""
        self._booted_s = time.monotonic()
        environment = {
            **os.environ,
            **{f"CLUSTERSESSION_{name}": value for name, value in self._environment.items()},
            "PYTHONPATH": f"{DISK}{os.pathsep}{ROOT}", "POWER_NOTES": str(self.notes),
            "CLUSTERSESSION_TEST_STATE_DIR": "configured",
        }
        with (self.directory / "log").open("ab") as log:
            if self._environment["DISTRIBUTABLE"] == "true":
                self.agent = subprocess.Popen(
                    [sys.executable, "-m", "clustersession", "agent"],
                    env=environment, stdout=log, stderr=log,
                )
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "tests.power.worker"], env=environment, cwd=ROOT,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        self._greeted = False

    def wait_started(self) -> None:
        """Wait until the worker has opened its node."""
        if not self._greeted:
            assert self._answer() is True
            self._greeted = True

    def say(self, *line: str) -> Any:
        """Have the worker do something; its answer."""
        assert self.worker is not None
        assert self.worker.stdin is not None
        self.wait_started()
        self.worker.stdin.write(json.dumps(line) + "\n")
        self.worker.stdin.flush()
        return self._answer()

    def status(self) -> dict[str, Any]:
        """What the agent says; nothing while there is none."""
        try:
            found: dict[str, Any] = ask_agent(self.home, Operation.STATUS)
            return found
        except (AgentGone, TimeoutError):
            return {"phase": "", "members": [], "recovery": {"stage": ""}}

    def has_joined(self, others: int) -> bool:
        """Ready, and connected with so many others."""
        seen = self.status()
        alive = sum(m["status"] == "alive" and m["phase"] == "ready" for m in seen["members"])
        return seen["phase"] == "ready" and alive >= others

    def has_lost(self, others: int) -> bool:
        """Only so many others are members any more."""
        alive = [m for m in self.status()["members"] if m["status"] == "alive"]
        return len(alive) == others

    def has_loaded_ends(self) -> bool:
        """A recovery knows for whom it waits."""
        return self.status()["recovery"]["stage"] not in ("", "loading ends")

    def is_recovered(self) -> bool:
        """Nothing waits in the journal any more."""
        if self.agent is None:
            return self.say("waits") is False
        return bool(self.status()["recovery"]["stage"] == "over")

    def log(self) -> str:
        """All that its processes have said."""
        return (self.directory / "log").read_text()

    def do_without(self, route: str) -> None:
        """Say that another host will not come back."""
        do_without(self.home, [route])

    def kill(self) -> None:
        """Take the power away: nothing is closed, and nobody says goodbye."""
        for process in (self.agent, self.worker):
            if process is not None:
                process.kill()
        for process in (self.agent, self.worker):
            if process is not None:
                process.wait()
        self._cut_s = time.monotonic()
        self.agent = self.worker = None

    def lose_disk(self) -> None:
        """Have an empty disk from now on."""
        shutil.rmtree(self.directory / "state")

    def tear(self, chance: random.Random) -> None:
        """Take from the disk what was not synced: any part of it, in any order."""
        synced: defaultdict[int, int] = defaultdict(int)
        for inode, size, began_s, ended_s in self._syncs():
            synced[int(inode)] = max(synced[int(inode)], int(size))
            self.longest_sync_s = max(self.longest_sync_s, ended_s - began_s)
        for path in self.home.journal.glob("*.log"):
            _tear(path, synced[path.stat().st_ino], chance)
        replica = self.home.replica
        _spoil(replica / "data.mdb", chance)
        # What the next boot of the machine finds.
        (replica / "boot").write_text("another boot\nopen")

    def _syncs(self) -> list[tuple[float, ...]]:
        """Each sync: the file's inode, its size, when it began, and when it ended or power went."""
        found: list[tuple[float, ...]] = []
        for notes in self.notes.iterdir():
            begun: set[float] = set()
            for line in notes.read_text().splitlines():
                numbers = tuple(map(float, line.split()))
                if len(numbers) == 1:
                    begun |= {*numbers}
                else:
                    found.append(numbers)
                    begun.discard(numbers[2])
            found += [(0, 0, began_s, self._cut_s) for began_s in begun if began_s > self._booted_s]
        return found

    def _answer(self) -> Any:
        assert self.worker is not None
        assert self.worker.stdout is not None
        line = self.worker.stdout.readline()
        assert line, self.log()[-3000:]
        return json.loads(line)


def hosts_in(directory: Path, count: int, **settings: object) -> list[PoweredHost]:
    """Hosts of one cluster, on loopback; none of them has booted."""
    port = free_port()
    common = {
        "DISTRIBUTABLE": "true", "BIND": "127.0.0.1", "MULTICAST_ADDRESS": "", "AGENT": "external",
        "CLUSTER_NAME": f"power-{secrets.token_hex(4)}", "SECRET": secrets.token_urlsafe(32),
        "SEEDS": ",".join(f"127.0.0.1:{port + n}" for n in range(count)),
        "RECOVERY_WAIT_S": "600", "DROP_TIME_S": "1.5", "HEARTBEAT_INTERVAL_S": "0.2",
        **{name.upper(): str(value) for name, value in settings.items()},
    }
    return [
        PoweredHost(directory / f"host{n}", f"host{n}", {**common, "PORT": str(port + n)})
        for n in range(count)
    ]


def joined(hosts: list[PoweredHost]) -> None:
    """Wait until all that have booted see each other."""
    for host in hosts:
        try:
            wait_until(partial(host.has_joined, len(hosts) - 1), SETTLED_S)
        except AssertionError as error:
            for one in hosts:
                error.add_note(f"{one.route}: {one.status()}\n{one.log()[-2000:]}")
            raise


def _tear(path: Path, synced: int, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    kept = chance.choice([synced, chance.randint(synced, max(synced, len(data))), len(data)])
    del data[kept:]
    if chance.random() < 0.5:
        first = -(-synced // SECTOR_BYTES)
        for sector in range(first, -(-len(data) // SECTOR_BYTES)):
            if chance.random() < 0.3:
                end = min(len(data), (sector + 1) * SECTOR_BYTES)
                data[sector * SECTOR_BYTES : end] = bytes(end - sector * SECTOR_BYTES)
    path.write_bytes(data)


def _spoil(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(20):
            file.seek(chance.randrange(max(1, size // 4096)) * 4096)
            file.write(chance.randbytes(4096))
