"""Chromium without a window, for tests of pages: opened, clicked, typed into, looked at.

It is spoken to in its DevTools protocol, over two pipes: JSON messages, a NUL after each. A command
has an `id`, which its answer repeats; everything else that arrives is an event of a page.
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What the program may be called."""

REQUIRED = "CHARLM_BROWSER"
"""An environment variable: where it is `required`, a browser that is missing is a failure."""

PATIENCE = 30.0
"""Seconds that anything may take: other work may share the processor."""

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


def find_browser() -> str | None:
    """The path of the browser, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class BrowserError(Exception):
    """What the browser answered instead of a result, or that it did not answer."""


class Browser:
    """A browser process with pages, each independent of the others."""

    def __init__(self, program: str) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="charlm-browser-", ignore_cleanup_errors=True)
        # the browser reads commands from its descriptor 3, and writes to 4
        commands, self._commands = map(_high, os.pipe())
        self._messages, messages = map(_high, os.pipe())
        # root cannot be shut into a sandbox
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        arguments = [program, *_OPTIONS, *sandbox, f"--user-data-dir={self._home.name}", "about:blank"]
        nowhere = [(os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_RDWR, 0) for one in (0, 1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, messages, 4)]
        environment = {**os.environ, "TMPDIR": self._home.name}
        self._pid = os.posix_spawn(
            program, arguments, environment, file_actions=[*nowhere, *pipes], setpgroup=0
        )
        os.close(commands)
        os.close(messages)
        self._numbers = itertools.count(1)
        self._received = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser with all its processes, and remove what it stored."""
        os.close(self._commands)
        os.close(self._messages)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._home.cleanup()

    def page(self) -> Page:
        """A new empty page."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, target, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.command(f"{domain}.enable")
        return page

    def command(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Send a command, of a page's session or the browser's own; returns its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self._commands, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(until, method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self, until: float, what: str) -> dict[str, Any]:
        """The next message; if it is an event of a page, that page has taken note of it."""
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._messages], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise BrowserError(f"{what}: no answer in time")
            data = os.read(self._messages, 1 << 20)
            if not data:
                raise BrowserError(f"{what}: the browser has ended")
            self._received += data
        first, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None and "method" in message:
            page.note(message["method"], message["params"])
        return message


class Page:
    """A page of a browser.

    Attributes
    ----------
    errors
        What the console reported as an error since the page was made: exceptions, violations of
        the Content-Security-Policy, calls of `console.error`.
    requests
        The addresses of everything that was loaded since then, or was to be.
    """

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._loaded = False

    def command(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol to this page."""
        return self.browser.command(method, self.session, **parameters)

    def note(self, method: str, event: dict[str, Any]) -> None:
        """Remember what an event says."""
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(event["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(value.get("value")) for value in event["args"]))

    def begin(self) -> None:
        """Forget what was, as for a new page; what is open stays until another is opened."""
        self.resize(1280, 900)
        self.prefer()
        self.errors.clear()
        self.requests.clear()

    def close(self) -> None:
        """Close the page."""
        self.browser.command("Target.closeTarget", targetId=self.target)

    def open(self, address: str | Path, fragment: str = "") -> None:
        """Go to an address, or to a file, and wait until it is loaded.

        To another fragment of the page that is shown, the browser goes without loading it.
        """
        url = address.absolute().as_uri() if isinstance(address, Path) else address
        self._loaded = False
        gone = self.command("Page.navigate", url=url + (f"#{fragment}" if fragment else ""))
        if "errorText" in gone:
            raise BrowserError(f"{url}: {gone['errorText']}")
        until = time.monotonic() + PATIENCE
        while "loaderId" in gone and not self._loaded:
            self.browser.receive(until, url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of a JavaScript expression, as soon as it is true."""
        until = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            if time.monotonic() > until:
                raise BrowserError(f"never true: {expression}")
            time.sleep(0.005)
        return value

    def text(self, selector: str) -> str:
        """The text of the first element that a CSS selector finds."""
        found: str = self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
        return found

    def hover(self, selector: str) -> tuple[float, float]:
        """Move the mouse to the middle of an element; returns where that is."""
        x, y = self.evaluate(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)});"
            " element.scrollIntoView({ block: 'nearest', behavior: 'instant' });"
            " const box = element.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        self._mouse("mouseMoved", x, y)
        return x, y

    def click(self, selector: str) -> None:
        """Click into the middle of an element with the mouse."""
        x, y = self.hover(selector)
        self._mouse("mousePressed", x, y, button="left", clickCount=1)
        self._mouse("mouseReleased", x, y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Type a text into the element that has the focus."""
        self.command("Input.insertText", text=text)

    def press(self, key: str, control: bool = False) -> None:
        """Press a key by its name: `Enter`, `Tab`, `Escape`, `ArrowLeft`, or a letter."""
        code, written = _KEYS.get(key, (ord(key.upper()[0]), key))
        named = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 2 if control else 0}
        self.command(
            "Input.dispatchKeyEvent", type="keyDown", **named, **({"text": written} if written else {})
        )
        self.command("Input.dispatchKeyEvent", type="keyUp", **named)

    def resize(self, width: int, height: int, phone: bool = False, scale: float = 1.0) -> None:
        """Give the page the size of a window, or of a phone, in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=phone,
        )
        self.command("Emulation.setTouchEmulationEnabled", enabled=phone)

    def prefer(self, **features: str) -> None:
        """What media queries find: `prefer(color_scheme="dark", reduced_motion="reduce")`."""
        named = [{"name": f"prefers-{n.replace('_', '-')}", "value": v} for n, v in features.items()]
        self.command("Emulation.setEmulatedMedia", features=named)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save what is seen as PNG; with `whole`, all that could be scrolled to."""
        taken = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _mouse(self, kind: str, x: float, y: float, **rest: Any) -> None:
        self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, **rest)


_KEYS = {
    "Enter": (13, "\r"),
    " ": (32, " "),
    "Tab": (9, ""),
    "Escape": (27, ""),
    "Home": (36, ""),
    "Delete": (46, ""),
    "End": (35, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}
"""The code of each key that is not a letter, and what it types."""


def _high(descriptor: int) -> int:
    """The same pipe under a number that is none of those the browser uses."""
    import fcntl  # no part of Windows

    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high
