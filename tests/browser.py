"""A real browser for the tests: Chromium without a window, told what to do over its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0")  # fmt: skip
NOISE = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
WAIT_S = 300
"""Only so that a hang ends."""


def found() -> str | None:
    """The browser's program, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. `requests` and `complaints` are what it asked for and complained about since it was opened."""

    def __init__(self, program: str, profile: Path):
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.number = 0
        self.events: list[dict[str, Any]] = []
        try:
            port = self._until(lambda: self._port(profile / "DevToolsActivePort"), "the browser to start")
            page = self._until(lambda: self._page(port), "a page")
            self.stack = ExitStack()
            self.socket = self.stack.enter_context(connect(page, max_size=None))
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.do(f"{domain}.enable")
            self.do("Page.setLifecycleEventsEnabled", enabled=True)
        except BaseException:
            self.process.kill()
            raise

    def do(self, method: str, **parameters: object) -> dict[str, Any]:
        """Give one command, and return its result."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv(timeout=WAIT_S))).get("id") != self.number:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def js(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, page: Path) -> None:
        """Open a file, and wait until it is there."""
        self.js("0")  # so that no event of the page before is still to come
        self.events.clear()
        loader = self.do("Page.navigate", url=page.as_uri())["loaderId"]
        # Asked now, the page before might answer, which may be the same file: only this load's own event tells.
        while not any(_loaded(event, loader) for event in self.events):
            self.events.append(json.loads(self.socket.recv(timeout=WAIT_S)))

    def until(self, condition: str) -> None:
        """Wait for a JavaScript condition."""
        self._until(lambda: self.js(f"Boolean({condition})") or None, condition)

    def click(self, selector: str) -> None:
        """Click with the mouse in the middle of an element, which must be the one that is seen there."""
        where = f"document.querySelector({json.dumps(selector)})"
        x, y = self.js(
            f"(() => {{ const e = {where}; e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        assert self.js(f"{where}.contains(document.elementFromPoint({x}, {y}))"), f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Write into what has the focus."""
        self.do("Input.insertText", text=text)

    def key(self, name: str) -> None:
        """Press a key that writes nothing, or one character."""
        text = {"text": name} if len(name) == 1 else {}
        self.do("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.do("Input.dispatchKeyEvent", type="keyUp", key=name)

    def size(self, width: int, height: int) -> None:
        """Be a window of that size."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                mobile=width < 600)  # fmt: skip

    def system_theme(self, name: str) -> None:
        """What the reader's system asks for: `light` or `dark`."""
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def pdf(self) -> bytes:
        """The page as it prints."""
        return base64.b64decode(self.do("Page.printToPDF", printBackground=True)["data"])

    @property
    def requests(self) -> list[str]:
        """Every address asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Errors, and whatever was written to the console."""
        return [event["params"] for event in self.events if event["method"] in NOISE]

    def close(self) -> None:
        """End the browser."""
        self.stack.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _until(self, look: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WAIT_S
        while (seen := look()) is None:
            assert self.process.poll() is None, "the browser has died"
            assert time.monotonic() < end, f"waited for {what}"
            time.sleep(0.02)
        return seen

    @staticmethod
    def _port(file: Path) -> str | None:
        lines = file.read_text().splitlines() if file.exists() else []
        return lines[0] if len(lines) > 1 else None

    @staticmethod
    def _page(port: str) -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=WAIT_S) as answer:
            targets = json.load(answer)
        return next((each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page"), None)


def _loaded(event: dict[str, Any], loader: str) -> bool:
    told = event.get("params", {})
    return event["method"] == "Page.lifecycleEvent" and (told["name"], told["loaderId"]) == ("load", loader)
