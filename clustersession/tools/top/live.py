"""Shows a node as it lives, in a terminal; prints lines where there is none."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clustersession.operations.nodes import newest_events, status
from clustersession.replica.home import NodeHome
from clustersession.tools.top.screen import Look, Style, screen

KEYS_LOOK_S = 0.2
PRINTED_WIDTH = 200
PRINTED_HEIGHT = 60
_STYLES = {Style.PLAIN: "", Style.TITLE: "\x1b[1m", Style.WARNING: "\x1b[33m",
           Style.ERROR: "\x1b[31m"}
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST, _RESET = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[0m"


def look(home: NodeHome) -> Look:
    """Look at the node now. Raises TimeoutError when its agent is stuck."""
    return Look(time.monotonic(), status(home), newest_events(home))


def run_top(home: NodeHome, interval_s: float, *, once: bool, color: bool) -> None:
    """Show the node until q or Ctrl-C; once, or in lines, where nobody can press a key."""
    if once or not is_live():
        print_looks(home, interval_s, once=once)
        return
    with _raw_terminal() as write:
        _Live(home, interval_s, write, color=color).run()


def is_live() -> bool:
    """Tell whether there is a terminal that can be drawn on."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return on_terminal and os.environ.get("TERM", "") not in ("", "dumb")


def print_looks(home: NodeHome, interval_s: float, *, once: bool) -> None:
    """Print what would be drawn, one look after the other."""
    before: Look | None = None
    while True:
        now = look(home)
        lines = screen(before, now, PRINTED_WIDTH, PRINTED_HEIGHT)
        print("\n".join(text.rstrip() for text, _ in lines), end="\n\n", flush=True)
        if once:
            return
        before = now
        time.sleep(interval_s)


class _Live:
    """Draws the node again and again, and obeys keys.

    State: ``_before`` and ``_now`` are the last two looks, None before them; rates are between
    the two. ``_trouble`` says why the last look failed; empty when it did not. While ``_paused``
    nobody looks, and what was seen last stays.
    """

    def __init__(
        self, home: NodeHome, interval_s: float, write: Callable[[str], None], *, color: bool
    ) -> None:
        self._home = home
        self._interval_s = interval_s
        self._write = write
        self._color = color
        self._before: Look | None = None
        self._now: Look | None = None
        self._trouble = ""
        self._paused = False

    def run(self) -> None:
        due_s, drawn = 0.0, os.terminal_size((0, 0))
        while True:
            # Not by shutil, which believes COLUMNS of the environment, and that does not change.
            size = os.get_terminal_size(sys.stdout.fileno())
            if not self._paused and time.monotonic() >= due_s:
                self._look()
                due_s, drawn = time.monotonic() + self._interval_s, os.terminal_size((0, 0))
            if size != drawn:
                self._draw(size)
                drawn = size
            key = self._key()
            if key == "q":
                return
            if key == "p":
                self._paused = not self._paused
                drawn = os.terminal_size((0, 0))

    def _look(self) -> None:
        try:
            self._before, self._now, self._trouble = self._now, look(self._home), ""
        except TimeoutError as error:
            self._trouble = str(error)

    def _draw(self, size: os.terminal_size) -> None:
        # In the last column the cursor waits to wrap, and clearing would take the last letter.
        width = size.columns - 1
        lines = [] if self._now is None else screen(
            self._before, self._now, width, size.lines - bool(self._trouble),
            paused=self._paused,
        )
        if self._trouble:
            lines = [(self._trouble[:width], Style.ERROR), *lines]
        rows = [f"{self._styled(text, style)}{_CLEAR_LINE}" for text, style in lines]
        self._write(_HOME + "\n".join(rows) + _CLEAR_REST)

    def _styled(self, text: str, style: Style) -> str:
        start = _STYLES[style] if self._color else ""
        return f"{start}{text}{_RESET}" if start else text

    def _key(self) -> str:
        readable, _, _ = select.select([sys.stdin.fileno()], [], [], KEYS_LOOK_S)
        if not readable:
            return ""
        data = os.read(sys.stdin.fileno(), 1)
        # A terminal that has gone away reads as its end.
        return data.decode("ascii", "replace") if data else "q"


@contextmanager
def _raw_terminal() -> Iterator[Callable[[str], None]]:
    """Read keys one by one and draw on a screen of our own; put all back whatever happens."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # Whoever is started from the background of a shell inherits that SIGINT is ignored; on a
    # terminal Ctrl-C is to end us all the same.
    at_interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    tty.setcbreak(descriptor)
    try:
        write(_ENTER)
        yield write
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, at_interrupt)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        write(_LEAVE)
