"""A real Chromium, driven over the WebDriver protocol that chromedriver speaks: plain HTTP."""

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Program, free_port

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)


class Browser:
    """One window."""

    def __init__(self, session: httpx.Client) -> None:
        self._session = session

    def open(self, url: str) -> None:
        """Go there and wait until it has loaded."""
        self._post("url", url=url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page; what it returns."""
        return self._post("execute/sync", script=script, args=list(arguments))

    def title(self) -> str:
        """The page's title, also where scripts are off."""
        return str(self._session.get("title").json()["value"])

    def text(self, selector: str = "body") -> str:
        """The text that a person sees in an element; empty when there is none."""
        script = "const e = document.querySelector(arguments[0]); return e ? e.innerText : ''"
        return str(self.run(script, selector))

    def click(self, selector: str) -> None:
        """Click as a person does."""
        self._on(selector, "click")

    def type(self, selector: str, text: str) -> None:
        """Type as a person does."""
        self._on(selector, "value", text=text)

    def looks(self, *, width: int, height: int, dark: bool = False, scale: float = 1) -> None:
        """The size of the window and what the user prefers."""
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                       deviceScaleFactor=scale, mobile=width < 600)
        value = "dark" if dark else "light"
        self._devtools("Emulation.setEmulatedMedia",
                       features=[{"name": "prefers-color-scheme", "value": value}])

    def without_script(self) -> None:
        """From the next page on, as for a user who allows no scripts."""
        self._devtools("Emulation.setScriptExecutionDisabled", value=True)

    def screenshot(self, path: Path) -> None:
        """A PNG of the window."""
        answer = self._session.get("screenshot").raise_for_status().json()
        path.write_bytes(base64.b64decode(answer["value"]))

    def complaints(self) -> list[str]:
        """What the console has said since the last call: broken policies, scripts, loads."""
        entries = self._post("se/log", type="browser")
        return [e["message"] for e in entries if not e["message"].startswith("chrome://")]

    def _on(self, selector: str, action: str, **arguments: object) -> None:
        found = self._post("element", using="css selector", value=selector)
        self._post(f"element/{found[_ELEMENT]}/{action}", **arguments)

    def _devtools(self, command: str, **parameters: object) -> None:
        self._post("goog/cdp/execute", cmd=command, params=parameters)

    def _post(self, command: str, **arguments: object) -> Any:
        answer = self._session.post(command, json=arguments).json()["value"]
        if isinstance(answer, dict) and "error" in answer:
            raise AssertionError(f"{command}: {answer['message']}")
        return answer


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Browser]:
    """A browser with a fresh profile for the block."""
    port = free_port()
    driver = Program(
        ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"],
        log_path=directory / "chromedriver.log",
        environment={**os.environ, "HOME": str(directory)},
    )
    options = {
        "args": [*_FLAGS, f"--user-data-dir={directory / 'profile'}"],
        "binary": "/usr/bin/chromium",
    }
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    driver.start()
    try:
        driver.wait_until_listening(port, 20.0)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=30) as client:
            answer = client.post(
                "session", json={"capabilities": {"alwaysMatch": wanted}}
            ).json()["value"]
            assert "sessionId" in answer, answer
            address = f"http://127.0.0.1:{port}/session/{answer['sessionId']}/"
            with httpx.Client(base_url=address, timeout=30) as session:
                try:
                    yield Browser(session)
                finally:
                    session.delete("")
    finally:
        driver.stop()
