"""Drive a headless Chromium by its DevTools protocol, through two pipes: nothing to install beside it.

https://chromedevtools.github.io/devtools-protocol/; JSON messages that end with a zero byte.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
DEADLINE = 60  # seconds; it only ends a test that has failed


def find() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((found for found in map(shutil.which, NAMES) if found), None)


class Tab:
    """A tab of a browser of its own, `width` x `height` CSS pixels large.

    Attributes
    ----------
    events : what the browser reported, in order.
    """

    def __init__(
        self, folder: Path, width: int, height: int, *, ratio: float = 1, dark: bool = False
    ) -> None:
        program = find()
        assert program is not None
        self.events: list[dict[str, Any]] = []
        self._buffer, self._count, self._session = b"", 0, ""
        (its_input, self._output), (self._input, its_output) = os.pipe(), os.pipe()
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]
        flags += ["--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={folder}"]
        # Chromium reads from descriptor 3 and writes to 4.
        shell = f'exec "$@" 3<&{its_input} 4>&{its_output}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", program, *flags, "about:blank"],
            pass_fds=(its_input, its_output),
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=False,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", features=scheme)

    def __call__(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._receive()
            if reply.get("id") == self._count:
                assert "error" not in reply, (method, reply)
                return reply["result"]
            self.events.append(reply)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._input], [], [], DEADLINE)[0], "Chromium does not answer"
            received = os.read(self._input, 1 << 20)
            assert received, "Chromium has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + DEADLINE
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"it did not happen: {expression}"
            time.sleep(0.01)

    def complaints(self) -> list[dict[str, Any]]:
        """Return the errors that the browser has reported, of scripts or of the content security policy."""
        self.evaluate("0")  # what was reported before this has then arrived
        told = [(event.get("method"), event.get("params", {})) for event in self.events]
        return [
            parameters
            for method, parameters in told
            if method == "Runtime.exceptionThrown"
            or (method == "Log.entryAdded" and parameters["entry"]["level"] == "error")
        ]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)
        os.close(self._output)
        os.close(self._input)
