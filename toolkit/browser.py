"""The painter as one page in a browser, for a computer without a screen of its own.

    python predict.py --browser

The page (`browser.html`) draws and shows. The server frames the strokes and asks the classifiers. It listens
on the loopback address only. Every request must carry the random token of the address that is printed, and
must come from this page: other pages in the same browser get no answer.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socketserver
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from classifier import InputError, best_guess
from toolkit.framing import frame_strokes
from toolkit.painting import BOX, TEXTS, explain, reason
from toolkit.report.texts import Texts
from toolkit.why import Part

import numpy as np

PAGE = Path(__file__).with_suffix(".html")
MOST_BYTES = 1_000_000  # of a request
MOST_POINTS = 20_000  # of a drawing: minutes of scribbling
LOOPBACK = {"127.0.0.1", "localhost"}  # a tunnel may change the port
COLAB = (".googleusercontent.com", ".colab.dev")  # where Colab shows pages of its machines


class Refusal(Exception):
    """A request that gets no answer: the HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Model:
    """A classifier or detector, loaded and asked in a thread of its own.

    Parameters
    ----------
    load : makes the model.
    warm : asks it once; the first answer of some libraries takes many times as long as the others.
    """

    def __init__(self, load: Callable[[], Any], warm: Callable[[Any], Any]) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._model = self._thread.submit(self._load, load, warm)

    @staticmethod
    def _load(load: Callable[[], Any], warm: Callable[[Any], Any]) -> Any:
        from threadpoolctl import threadpool_limits

        model = load()
        warm(model)
        threadpool_limits(1)  # a single image is too little work to share
        return model

    def ask(self, question: Callable[[Any], Any]) -> Future[Any] | None:
        """Call `question(model)` in the thread; None while the model is loading.

        The future raises whatever loading or asking raised.
        """
        if not self._model.done():
            return None
        return self._thread.submit(lambda: question(self._model.result()))


class Server(ThreadingHTTPServer):
    """Serves the page and answers its drawings.

    Parameters
    ----------
    port : 0 for any free one.
    language : of the page, as the window speaks it.
    load_detector : makes an object whose `is_digit(image)` says whether an image, uint8 (28, 28), is a digit.

    Attributes
    ----------
    token : the secret part of the address.
    url : the address of the page.
    texts : those of the window.

    Raises
    ------
    InputError : the port is taken.
    """

    daemon_threads = True

    def __init__(
        self, port: int = 0, *, language: str = "en", load_detector: Callable[[], Any] | None = None
    ) -> None:
        try:
            super().__init__(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used: {error}.") from None
        self.texts = Texts(language, TEXTS)
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"
        self._models: list[tuple[dict[str, str], Model]] = []
        blank = np.zeros((28, 28), np.uint8)
        self._detector = load_detector and Model(load_detector, lambda detector: detector.is_digit(blank))

    def register(self, name: str, load: Callable[[], Any], *, source: str = "", command: str = "") -> None:
        """Add a classifier and start to load it. The parameters are those of `Painter.register`."""
        blank = np.zeros((28, 28), np.uint8)
        model = Model(load, lambda classifier: classifier.predict_proba(blank))
        self._models.append(({"name": name, "source": source, "command": command}, model))

    def answer(self, strokes: Sequence[np.ndarray], *, why: bool = False) -> dict[str, Any]:
        """Return what the page shows of a drawing, strokes (k, 2) each, as an object for JSON.

        `image` is what classifiers see, 784 bytes in base64. `cards` are their answers; `why` adds what they
        rest on. `is_digit` is None where there is no detector or nothing to judge.
        """
        image = frame_strokes(strokes)
        asked = [
            (about, model.ask(lambda classifier: self._card(classifier, image, why)))
            for about, model in self._models
        ]
        judged = self._detector and self._detector.ask(lambda detector: bool(detector.is_digit(image)))
        is_digit = None
        if judged and image.any() and judged.exception() is None:
            is_digit = judged.result()
        return {
            "image": base64.b64encode(image.tobytes()).decode(),
            "cards": [{**about, **_result(future)} for about, future in asked],
            "is_digit": is_digit,
        }

    def _card(self, classifier: Any, image: np.ndarray, why: bool) -> dict[str, Any]:
        """Return a classifier's answer, with its explanation if asked why; without "digit" if it has none."""
        probabilities = classifier.predict_proba(image) if image.any() else None
        if probabilities is None:
            return {}
        digit, unsure = best_guess(probabilities, classifier.metrics.get("unsure_below"))
        card = {"digit": digit, "unsure": unsure, "probabilities": probabilities.tolist()}
        return card | ({"parts": [self._part(part) for part in explain(classifier, image)]} if why else {})

    def _part(self, part: Part) -> dict[str, Any]:
        """Return one line of an explanation and its pictures, whose values are -1 to 1."""
        pictures = []
        for values, digit, weight in part.pictures:
            share = np.nan_to_num(values / max(float(np.abs(values).max(initial=0)), 1e-12))
            pictures.append({"values": share.round(3).tolist(), "digit": digit, "weight": weight})
        return {"text": part.say(self.texts), "signed": part.signed, "pictures": pictures}

    def page(self, nonce: str) -> bytes:
        """Return the page, with its texts and the random word that allows its own script and style."""
        about = {"box": BOX, "language": self.texts.language, "texts": self.texts.sentences}
        settings = json.dumps(about).replace("<", "\\u003c")
        page = PAGE.read_text(encoding="utf-8")
        return page.replace("{{nonce}}", nonce).replace("{{settings}}", settings).encode()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own also asks the network for our name

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # the browser went away in the middle of an answer
            super().handle_error(request, client_address)


def _result(future: Future[dict[str, Any]] | None) -> dict[str, Any]:
    """Return a classifier's state with its answer, or with the reason why it has none."""
    if future is None:
        return {"state": "loading"}
    error = future.exception()
    if isinstance(error, Exception):
        return {"state": "failed", "reason": reason(error)}
    return {"state": "ready", **future.result()}


def read_strokes(body: bytes) -> list[np.ndarray]:
    """Read a drawing, `{"strokes": [[[x, y], ...], ...]}` with x and y from 0 to 500.

    Returns float64 (k, 2) for each stroke. Raises Refusal for anything else.
    """
    wanted = f'Wanted {{"strokes": [[[x, y], ...], ...]}} with x and y from 0 to {BOX}.'
    try:
        drawing = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, wanted) from None
    strokes = drawing.get("strokes") if isinstance(drawing, dict) else None
    if not isinstance(strokes, list) or not all(isinstance(stroke, list) for stroke in strokes):
        raise Refusal(400, wanted)
    if sum(map(len, strokes)) > MOST_POINTS:
        raise Refusal(413, f"A drawing has at most {MOST_POINTS:,} points: clear it.")
    for point in (point for stroke in strokes for point in stroke):
        if not (isinstance(point, list) and len(point) == 2 and all(map(_is_in_the_box, point))):
            raise Refusal(400, wanted)
    return [np.array(stroke, dtype=np.float64) for stroke in strokes if stroke]


def _is_in_the_box(number: Any) -> bool:
    return type(number) in (int, float) and 0 <= number <= BOX  # NaN is not


class Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: Server
    protocol_version = "HTTP/1.1"  # one connection for many drawings
    timeout = 60  # s without a request before the connection is closed
    disable_nagle_algorithm = True  # otherwise an answer waits for the browser's receipt of its head
    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(message)s\n"
    server_version, sys_version = "digits", ""

    def do_GET(self) -> None:
        try:
            if self._place() != "":
                raise Refusal(404, "There is no such page.")
            nonce = secrets.token_urlsafe(16)
            self._send("text/html; charset=utf-8", self.server.page(nonce), nonce)
        except Refusal as refusal:
            self.send_error(refusal.status, str(refusal))

    def do_POST(self) -> None:
        try:
            place = self._place()
            if place not in ("answer", "why"):
                raise Refusal(404, "There is no such page.")
            answer = self.server.answer(read_strokes(self._body()), why=place == "why")
            self._send("application/json", json.dumps(answer).encode())
        except Refusal as refusal:
            self.send_error(refusal.status, str(refusal))

    def _place(self) -> str:
        """Return the path behind the token. Raises Refusal for a request that is not from our page."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        # A foreign page can give its own name this computer's address: its requests then bear that name.
        if _name(f"//{host}") not in LOOPBACK and not _is_colab(_name(f"//{host}")):
            raise Refusal(403, "Open the page by the address that predict.py printed.")
        if origin is not None and origin != f"http://{host}" and not _is_colab(_name(origin)):
            raise Refusal(403, "Another page may not ask.")
        token, _, place = self.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise Refusal(403, "The address is incomplete: predict.py printed the whole one.")
        return place

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise Refusal(411, "The length of the request is missing.")
        if len(length) > 12 or int(length) > MOST_BYTES:
            raise Refusal(413, f"A request has at most {MOST_BYTES:,} bytes.")
        return self.rfile.read(int(length))

    def _send(self, kind: str, content: bytes, nonce: str = "") -> None:
        frames = " ".join(f"https://*{name}" for name in (*COLAB, ".google.com")) if _in_colab() else "'none'"
        allowed = (
            f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
        )
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")  # the address holds the token
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; {allowed if nonce else ''}base-uri 'none'; form-action 'none'; "
            f"frame-ancestors {frames}",
        )
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing: a drawing makes dozens of requests."""


def _name(url: str) -> str | None:
    """Return the host's name in a URL, without the port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_colab(name: str | None) -> bool:
    return _in_colab() and name is not None and name.endswith(COLAB)


def _in_colab() -> bool:
    return "COLAB_RELEASE_TAG" in os.environ


def forwarding(url: str) -> str:
    """Say how to reach the page from another computer: in Colab, or by SSH."""
    parts = urlsplit(url)
    port = parts.port
    if _in_colab():
        return (
            "In another cell: from google.colab import output; "
            f'output.serve_kernel_port_as_iframe({port}, path="{parts.path}", height=700)'
        )
    return f"From another computer: ssh -L {port}:127.0.0.1:{port} THIS_COMPUTER, then open the same address."


def open_browser(url: str) -> None:
    """Open the page in the desktop's browser, where there is a desktop."""
    import webbrowser

    # Without a screen it would start a text browser in this terminal.
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
