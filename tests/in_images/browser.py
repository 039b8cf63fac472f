"""Headless Chromium: open a page, wait until it shows what it should, and take its picture."""

import base64
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

from tests.services.debian_packages import need_programs

_SECONDS = 90.0
_CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


class Browser:
    """One page of a running browser, driven over its DevTools socket."""

    def __init__(self, socket: Any, log_in: tuple[str, str] | None) -> None:
        self._socket = socket
        self._number = 0
        self._ask("Page.enable")
        self._ask("Network.enable")
        if log_in:  # a user in the URL would keep the page's own scripts from asking the server
            token = base64.b64encode(":".join(log_in).encode()).decode()
            self._ask("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {token}"})

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                return dict(answer["result"])

    def remember(self, items: Mapping[str, str]) -> None:
        """Put entries into the local storage of every page before its own scripts run."""
        lines = [f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)});" for key, value in items.items()]
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=f"try {{ {' '.join(lines)} }} catch (error) {{}}")

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """Return what the page shows, as text."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def picture(self, url: str, file: Path, *, shows: Sequence[str] = (), size: tuple[int, int] = (1600, 1000)) -> str:
        """Open a page, wait until it shows some words, and write what it looks like as PNG; return its text.

        Args:
            url: of the page.
            file: to write.
            shows: words that the page must show.
            size: of the window, in pixels.

        Raises:
            AssertionError: the page does not come to show the words.
        """
        width, height = size
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._ask("Page.navigate", url="about:blank")  # another fragment of one page would not load it again
        self._ask("Page.navigate", url=url)
        self._settle(shows)
        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))
        return self.text()

    def _settle(self, shows: Sequence[str]) -> None:
        """Wait until the page shows the words and has stopped to change."""
        deadline = time.monotonic() + _SECONDS
        same, last = 0, ""
        while same < 3:
            text = self.text()
            there = all(word in text for word in shows)
            same = same + 1 if there and text and text == last else 0
            last = text
            missing = [word for word in shows if word not in text]
            assert time.monotonic() < deadline, f"the page does not show {missing}, but: {text[:1000]}"
            time.sleep(0.5)


@contextmanager
def browser(*, log_in: tuple[str, str] | None = None) -> Iterator[Browser]:
    """Run Chromium while this lasts.

    Args:
        log_in: user and password that the pages ask for.

    Raises:
        RuntimeError: Chromium cannot be installed here.
        AssertionError: it does not start.
    """
    need_programs(("chromium",), ("chromium",))
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        words = [*_CHROMIUM, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                pages = [one for one in json.loads(answer.read()) if one["type"] == "page"]
            socket = websocket.create_connection(
                pages[0]["webSocketDebuggerUrl"], timeout=_SECONDS, suppress_origin=True
            )
            try:
                yield Browser(socket, log_in)
            finally:
                socket.close()
        finally:
            process.terminate()
            process.wait(timeout=30)


def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + _SECONDS
    while not file.exists() or "\n" not in file.read_text():
        assert process.poll() is None, "chromium ended at once"
        assert time.monotonic() < deadline, "chromium does not start"
        time.sleep(0.1)
    return int(file.read_text().splitlines()[0])
