"""The painter as a page: what its server refuses and answers, and the page itself in a headless Chromium.

Every wait has a condition. Its deadline only ends a test that has failed.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from classifier import ROOT, Classifier, InputError, ModelFileError, best_guess
from toolkit import browser
from toolkit.browser import MOST_BYTES, MOST_POINTS, Server
from toolkit.drawings import load
from toolkit.framing import frame_strokes
from toolkit.painting import TEXTS as FOLDER
from toolkit.report.texts import Texts

import chromium
import numpy as np
import pytest
from chromium import Tab
from fakes import Fake

pytestmark = pytest.mark.server

TEXTS = Texts("en", FOLDER).sentences
SEVEN = [[[100, 100], [250, 100], [400, 110], [300, 250], [220, 420]]]  # one stroke


class TallIsADigit:
    """A detector: what is wider than tall is no digit."""

    def is_digit(self, image):
        return np.count_nonzero(image.any(axis=1)) >= np.count_nonzero(image.any(axis=0))


@pytest.fixture
def serve():
    """Start servers, which end with the test."""
    servers: list[Server] = []

    def start(*classifiers: Classifier, **options) -> Server:
        server = Server(**options)
        for classifier in classifiers:
            server.register(classifier.name, lambda one=classifier: one, source="mine", command="make it")
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(
    server: Server, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict, bytes]:
    """Send one request; return status, headers and body. `body` that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    # http.client sends its own Host header unless it is told not to.
    connection.putrequest(method, path, skip_host="Host" in headers)
    if body is not None and "Content-Length" not in {name.replace("_", "-") for name in headers}:
        headers["Content-Length"] = str(len(body))
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.headers), content


def refused(server: Server, status: int, sentence: str, *request: object, **headers: str) -> None:
    got, _, content = ask(server, *request, **headers)
    text = content.decode()
    assert (got, sentence in text) == (status, True), (got, text)
    assert text.count("\n") == 1
    assert "Traceback" not in text


def answer(server: Server, strokes: list) -> dict:
    """Ask about a drawing until every classifier is loaded."""
    end = time.monotonic() + 60
    while True:
        status, _, content = ask(server, "POST", f"/{server.token}/answer", {"strokes": strokes})
        assert status == 200, content
        found = json.loads(content)
        if all(card["state"] != "loading" for card in found["cards"]):
            return found
        assert time.monotonic() < end
        time.sleep(0.01)


def test_answers_are_the_classifiers_own(softmax_model, svm_model, ann_model, serve):
    models = [softmax_model, svm_model, ann_model]
    found = answer(serve(*models), SEVEN)
    image = frame_strokes([np.array(SEVEN[0])])
    assert base64.b64decode(found["image"]) == image.tobytes()
    for model, card in zip(models, found["cards"], strict=True):
        expected = model.predict_proba(image)
        assert (card["name"], card["source"], card["state"]) == (model.name, "mine", "ready")
        assert (card["digit"], card["unsure"]) == best_guess(expected, model.metrics.get("unsure_below"))
        np.testing.assert_allclose(card["probabilities"], expected, rtol=1e-5)
    assert found["is_digit"] is None


def test_explanations_come_with_the_answers_if_asked_why(softmax_model, svm_model, ann_model, serve):
    models = [softmax_model, svm_model, ann_model]
    server = serve(*models, Fake())
    assert "parts" not in answer(server, SEVEN)["cards"][0]
    status, _, content = ask(server, "POST", f"/{server.token}/why", {"strokes": SEVEN})
    assert status == 200
    cards = json.loads(content)["cards"]
    image = frame_strokes([np.array(SEVEN[0])])
    texts = Texts("en", FOLDER)
    for model, card in zip(models, cards, strict=False):
        expected = model.explain(image)
        assert [part["text"] for part in card["parts"]] == [part.say(texts) for part in expected]
        for part, same in zip(card["parts"], expected, strict=True):
            assert part["signed"] == same.signed
            for picture, one in zip(part["pictures"], same.pictures, strict=True):
                assert (picture["digit"], picture["weight"]) == (one.digit, pytest.approx(one.weight))
                scaled = one.values / max(np.abs(one.values).max(), 1e-12)
                np.testing.assert_allclose(picture["values"], scaled, atol=1e-3)
    assert cards[-1]["parts"] == []
    _, _, content = ask(server, "POST", f"/{server.token}/why", {"strokes": []})
    assert all("digit" not in card for card in json.loads(content)["cards"])


def test_unsure_is_said_and_blank_paper_is_no_digit(serve):
    server = serve(Fake(0.5, unsure_below=0.8))
    (card,) = answer(server, SEVEN)["cards"]
    assert card["unsure"]
    blank = answer(server, [[]])
    assert blank["cards"] == [{"name": "Fake", "source": "mine", "command": "make it", "state": "ready"}]
    assert not any(base64.b64decode(blank["image"]))


def test_what_is_broken_says_why_and_the_others_answer(serve):
    def broken():
        raise ModelFileError("there is no model file x.")

    server = serve(Fake())
    server.register("Broken", broken, command="python train_broken.py")
    one, broken_card = answer(server, SEVEN)["cards"]
    assert one["digit"] == 1
    assert broken_card["state"] == "failed"
    assert broken_card["reason"] == "There is no model file x."


def test_a_detector_says_what_is_no_digit(serve):
    server = serve(Fake(), load_detector=TallIsADigit)
    while answer(server, SEVEN)["is_digit"] is None:
        pass  # it is loading
    assert answer(server, SEVEN)["is_digit"] is True
    assert answer(server, [[[0, 250], [500, 250]]])["is_digit"] is False
    assert answer(server, [])["is_digit"] is None


def test_the_page_may_do_nothing_but_ask(serve):
    server = serve()
    status, headers, content = ask(server, "GET", f"/{server.token}/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
    assert content.count(f'nonce="{nonce}"'.encode()) == 2
    assert nonce.encode() not in ask(server, "GET", f"/{server.token}/")[2], "a nonce is used once"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert b"//" not in re.sub(rb"\s// .*", b"", content), "it loads nothing from elsewhere"
    assert b"{{" not in content
    assert server.server_address[0] == "127.0.0.1"


def test_requests_that_are_not_from_the_page_are_refused(serve):
    server = serve(Fake())
    port, page, to = server.server_address[1], f"/{server.token}/", f"/{server.token}/answer"
    drawing = {"strokes": SEVEN}
    for path in ("/", "/answer", f"/{server.token[:-1]}/", f"/{server.token}x/", "/%C3%A9/", "//", "/../"):
        refused(server, 403, "address is incomplete", "GET", path)
        refused(server, 403, "address is incomplete", "POST", path, drawing)
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[", "0.0.0.0"):
        refused(server, 403, "address that predict.py printed", "GET", page, Host=host)
        refused(server, 403, "address that predict.py printed", "POST", to, drawing, Host=host)
    for origin in (
        "http://evil.example",
        "null",
        f"http://localhost:{port}",
        "http://127.0.0.1:1",
        "http://[",
    ):
        refused(server, 403, "Another page", "POST", to, drawing, Origin=origin)
    for host in (f"127.0.0.1:{port}", "localhost:8000"):  # a tunnel may have another port
        assert ask(server, "POST", to, drawing, Host=host, Origin=f"http://{host}")[0] == 200
    refused(server, 404, "no such page", "GET", to)
    refused(server, 404, "no such page", "POST", page, drawing)
    assert ask(server, "PUT", to, drawing)[0] == 501
    assert ask(server, "GET", page)[0] == 200, "it still serves"


def test_in_colab_its_own_pages_may_ask(serve, monkeypatch):
    server, url = serve(Fake()), "8000-machine.region.prod.colab.dev"
    to, headers = f"/{server.token}/answer", {"Host": url, "Origin": f"https://{url}"}
    refused(server, 403, "address", "POST", to, {"strokes": []}, **headers)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    assert ask(server, "POST", to, {"strokes": []}, **headers)[0] == 200
    assert "colab" in ask(server, "GET", f"/{server.token}/")[1]["Content-Security-Policy"]
    refused(server, 403, "Another page", "POST", to, {"strokes": []}, Origin="https://evil.example")
    assert f'({server.server_address[1]}, path="/{server.token}/"' in browser.forwarding(server.url)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"strokes": 5}',
        b'{"strokes": [5]}',
        b'{"strokes": [[5]]}',
        b'{"strokes": [[[1, 2, 3]]]}',
        b'{"strokes": [[["1", "2"]]]}',
        b'{"strokes": [[[true, 2]]]}',
        b'{"strokes": [[[null, 2]]]}',
        b'{"strokes": [[[NaN, 2]]]}',
        b'{"strokes": [[[1e999, 2]]]}',
        b'{"strokes": [[[501, 2]]]}',
        b'{"strokes": [[[-1, 2]]]}',
        b'{"strokes": [[[1' + b"0" * 400 + b", 2]]]}",
        b'{"strokes": [[[1' + b"0" * 9000 + b", 2]]]}",
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_malformed_drawings_are_refused(body, serve):
    server = serve(Fake())
    refused(server, 400, "Wanted", "POST", f"/{server.token}/answer", body)
    assert answer(server, SEVEN)["cards"][0]["digit"] == 1


def test_sizes_are_bounded(serve):
    server = serve(Fake())
    to = f"/{server.token}/answer"
    refused(server, 413, "bytes", "POST", to, Content_Length=str(MOST_BYTES + 1))
    refused(server, 413, "bytes", "POST", to, Content_Length="9" * 30)
    for length in ("-1", "+1", "1_0", "x", "²"):
        refused(server, 411, "length", "POST", to, Content_Length=length)
    refused(server, 411, "length", "POST", to)
    points = [[x % 500, x // 500] for x in range(MOST_POINTS)]
    assert len(json.dumps({"strokes": [points]})) < MOST_BYTES
    assert answer(server, [points])["cards"][0]["state"] == "ready"
    refused(server, 413, "clear it", "POST", to, {"strokes": [points, [[1, 1]]]})


def test_a_browser_that_goes_away_leaves_no_trace(serve, capfd):
    server = serve(Fake())
    for sent in (b"", b"GET", b"\x16\x03\x01\x02", f"POST /{server.token}/answer HTTP/1.1\r\n".encode()):
        with socket.create_connection(server.server_address[:2]) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset at once
    assert answer(server, SEVEN)["cards"][0]["digit"] == 1
    assert capfd.readouterr() == ("", "")


def test_a_taken_port_is_named(serve):
    port = serve().server_address[1]
    with pytest.raises(InputError, match=f"port {port} cannot be used"):
        Server(port)
    with pytest.raises(InputError, match="port 99999 cannot be used"):
        Server(99999)


def test_the_command_prints_the_address_and_ends_with_ctrl_c(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "predict.py"), "--browser", "--no-open"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        url = program.stdout.readline().split()[2]
        assert "ssh -L" in program.stdout.readline()
        host, port, token = re.fullmatch(r"http://([\d.]+):(\d+)/([\w-]{32})/", url).groups()
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", f"/{token}/")
        assert TEXTS["hint"] in connection.getresponse().read().decode()
        connection.close()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (130, "", "Interrupted.\n")


def test_wrong_flags_are_refused(script):
    for words in (["a.png"], ["--dark"], ["--scale", "2"]):
        assert "--browser takes no" in script("predict.py", "--browser", *words, status=2).stderr
    for words in (["--port", "8000"], ["--no-open", "a.png"]):
        assert "belong to --browser" in script("predict.py", *words, status=2).stderr
    assert "port 99999" in script("predict.py", "--browser", "--port", "99999", status=2).stderr


# The page in Chromium


@pytest.fixture
def tab(tmp_path):
    """Open a page in a browser of its own; fail if it complains about anything."""
    if chromium.find() is None:
        pytest.skip("needs Chromium: apt install chromium-headless-shell")
    tabs: list[Tab] = []

    def open_page(server: Server, width: int = 1366, height: int = 768, **options) -> Tab:
        tab = Tab(tmp_path / str(len(tabs)), width, height, **options)
        tabs.append(tab)
        tab("Page.navigate", url=server.url)
        tab.until("location.protocol === 'http:' && document.readyState === 'complete'")
        tab.until(
            "at('cards').children.length && [...at('cards').children].every((c) => c.state !== 'loading')"
        )
        return tab

    yield open_page
    complaints = [complaint for tab in tabs for complaint in tab.complaints()]
    for tab in tabs:
        tab.close()
    assert not complaints


def draw(tab: Tab, strokes: list, pointer: str = "mouse") -> None:
    """Draw strokes with real events of a mouse, a pen or a finger."""
    box = tab.evaluate("(({ left, top, width }) => [left, top, width])(paper.getBoundingClientRect())")
    for stroke in strokes:
        points = [(box[0] + x * box[2] / 500, box[1] + y * box[2] / 500) for x, y in stroke]
        if pointer == "touch":
            for number, (x, y) in enumerate(points):
                kind = "touchMove" if number else "touchStart"
                tab("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
            tab("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
            continue
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            event = {"button": "left", "buttons": 1, "clickCount": 1, "pointerType": pointer}
            tab("Input.dispatchMouseEvent", type=kind, x=x, y=y, **event)


def press(tab: Tab, key: str, modifiers: int = 0) -> None:
    tab("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers)
    tab("Input.dispatchKeyEvent", type="keyUp", key=key, modifiers=modifiers)


def settle(tab: Tab) -> list[dict]:
    """Wait for the answer to the newest drawing; return what each card shows."""
    tab.until("!busy && asked === revision && pen === null")
    return tab.evaluate(
        """[...at("cards").children].map((card) => ({
          title: card.querySelector("h2").textContent,
          digit: card.querySelector(".digit").textContent,
          note: card.querySelector(".note").textContent,
          values: [...card.querySelectorAll(".value")].map((value) => value.textContent),
          bars: [...card.querySelectorAll("i")].map((bar) =>
            bar.getBoundingClientRect().width / bar.parentElement.getBoundingClientRect().width),
        }))"""
    )


def test_a_recorded_digit_is_drawn_and_read(softmax_model, ann_model, serve, tab):
    drawings = load("pendigits", "validation")
    strokes = [stroke.tolist() for stroke in drawings.strokes[int(np.flatnonzero(drawings.labels == 3)[0])]]
    models = [softmax_model, ann_model]
    server = serve(*models)
    page = tab(server)
    for pointer in ("mouse", "pen", "touch"):
        draw(page, strokes, pointer)
        cards = settle(page)
        drawn = page.evaluate("strokes.map((stroke) => stroke.points)")
        assert len(drawn) == len(strokes)
        for ours, theirs in zip(drawn, strokes, strict=True):
            assert (
                np.abs(np.array(ours[0]) - theirs[0]).max() < 1
            )  # units of the box; events have whole pixels
        image = frame_strokes([np.array(stroke) for stroke in drawn])
        for model, card in zip(models, cards, strict=True):
            expected = model.predict_proba(image)
            digit, unsure = best_guess(expected, model.metrics.get("unsure_below"))
            assert card["title"] == model.name
            assert card["digit"] == f"{digit}{'?' if unsure else ''}"
            np.testing.assert_allclose(card["bars"], expected, atol=0.01)
            assert card["values"][digit] in (f"{100 * expected[digit]:.0f}", "> 99")
        shown = page.evaluate(
            "[...seen.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"
        )
        assert np.array_equal(255 - image.ravel(), shown)
        press(page, "Escape")
    assert [card["digit"] for card in settle(page)] == ["", ""]


def test_answers_come_while_the_pen_moves_one_at_a_time(serve, tab):
    fake = Fake()
    page = tab(serve(fake))
    page.evaluate(
        """(() => {
          const known = fetch;
          window.flying = 0; window.most = 0; window.asks = 0;
          window.fetch = async (...request) => {
            window.asks += 1;
            window.most = Math.max(window.most, ++window.flying);
            try { return await known(...request); } finally { window.flying -= 1; }
          };
        })()"""
    )
    page(
        "Input.dispatchMouseEvent", type="mousePressed", x=100, y=100, button="left", buttons=1, clickCount=1
    )
    page("Input.dispatchMouseEvent", type="mouseMoved", x=100, y=400, button="left", buttons=1)
    page.until("at('cards').firstChild.querySelector('.digit').textContent === '1'")  # the pen is still down
    assert page.evaluate("pen !== null")
    for x in range(100, 600, 5):
        page("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=400, button="left", buttons=1)
    page.until("at('cards').firstChild.querySelector('.digit').textContent === '0'")
    page("Input.dispatchMouseEvent", type="mouseReleased", x=600, y=400, button="left", clickCount=1)
    settle(page)
    assert page.evaluate("[most, asks > 2]") == [1, True]
    drawn = page.evaluate("strokes[0].points")
    assert np.array_equal(fake.seen[-1], frame_strokes([np.array(drawn)])), "the last answer is to all of it"


def test_keys_and_buttons(serve, tab):
    page = tab(serve(Fake()))
    click = "document.getElementById('{}').click()"
    for take_back in (
        lambda: press(page, "z", modifiers=2),
        lambda: press(page, "Backspace"),
        lambda: page.evaluate(click.format("undo")),
    ):
        draw(page, [[[100, 100], [100, 400]], [[50, 200], [400, 200]]])
        take_back()
        assert settle(page)[0]["digit"] == "1"
        assert page.evaluate("strokes.length") == 1
        take_back()
        assert settle(page)[0]["digit"] == ""
        assert not page.evaluate("at('hint').hidden")
        take_back()  # of nothing
    draw(page, SEVEN + SEVEN)
    page.evaluate(click.format("clear"))
    assert settle(page)[0]["digit"] == ""
    width = page.evaluate("Number(slider.value)")
    press(page, "+")
    assert page.evaluate("Number(slider.value)") == width + 2
    for _ in range(40):
        press(page, "-")
    assert page.evaluate("[Number(slider.value), slider.min]") == [8, "8"]
    draw(page, [[[250, 250]]])  # a dot
    assert settle(page)[0]["digit"] == "0"
    assert page.evaluate("strokes[0].width") == 8


def test_why_covers_the_cards_follows_the_drawing_and_escape_leads_back(softmax_model, serve, tab):
    page = tab(serve(softmax_model, Fake()))
    said = "at('reasons').innerText"
    press(page, "w")
    assert page.evaluate(said) == TEXTS["why_nothing"]
    draw(page, SEVEN)
    line = TEXTS["why_ink"]
    page.until(f"{said}.includes({json.dumps(line)})")
    assert page.evaluate("document.querySelectorAll('.reason').length") == 1, "the other cannot explain"
    picture = "document.querySelector('.reason canvas').getContext('2d').getImageData(0, 0, 28, 28).data"
    assert page.evaluate(f"new Set({picture}).size") > 20
    assert page.evaluate("at('why').textContent") == f"{TEXTS['why_close']} (Esc)"
    press(page, "Escape")
    assert page.evaluate("at('reasons').hidden && strokes.length === 1")
    press(page, "Escape")
    assert page.evaluate("strokes.length") == 0
    page.evaluate("at('why').click()")
    assert page.evaluate(said) == TEXTS["why_nothing"]


def test_what_goes_wrong_is_said(serve, tab):
    server = serve(Fake(0.5, unsure_below=0.8), load_detector=TallIsADigit)

    def broken():
        raise ModelFileError("there is no model file <b>x</b>.")

    server.register("Broken", broken, command="python train_broken.py")
    page = tab(server)
    draw(page, [[[50, 250], [450, 250]]])
    page.until("asked = 0, ask(), !at('doubt').hidden")  # the detector may have been loading
    assert settle(page)[0]["note"] == "unsure, 50.0 %"
    why = page.evaluate("at('cards').children[1].querySelector('.why').innerText")
    assert why.splitlines() == ["There is no model file <b>x</b>.", TEXTS["remedy"], "python train_broken.py"]
    assert "broken" not in page.evaluate("at('said').textContent")
    server.shutdown()
    server.server_close()
    page("Network.setBlockedURLs", urls=["*"])
    draw(page, SEVEN)
    page.until(f"!at('trouble').hidden && at('trouble').textContent === {json.dumps(TEXTS['page_lost'])}")
    page.events = [event for event in page.events if event.get("method") != "Log.entryAdded"]


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844), (760, 480), (844, 390), (3840, 2160)])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everything_fits_every_screen(width, height, dark, serve, tab):
    page = tab(serve(Fake(), Fake(), Fake()), width, height, dark=dark)
    draw(page, SEVEN)
    settle(page)
    size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    assert page.evaluate(size) == [width, height], "nothing has to be scrolled"
    outside = """[...document.querySelectorAll("#paper, #tools > *, .card, .card *")].filter((element) => {
      const { left, top, right, bottom, width } = element.getBoundingClientRect();
      return width && (left < 0 || top < 0 || right > innerWidth || bottom > innerHeight);
    }).length"""
    assert page.evaluate(outside) == 0
    ink = page.evaluate(
        "[...paper.getContext('2d').getImageData(paper.width / 2, paper.height / 5, 1, 1).data]"
    )
    assert ink == ([242, 242, 242, 255] if dark else [28, 28, 28, 255])
    assert page.evaluate("getComputedStyle(paper).touchAction") == "none"


def test_the_page_speaks_the_languages_of_the_window(serve, tab):
    spanish = Texts("es", FOLDER).sentences
    page = tab(serve(Fake(0.5, unsure_below=0.8), language="es"))
    assert page.evaluate("document.documentElement.lang") == "es"
    assert page.evaluate("document.title") == spanish["title"]
    draw(page, SEVEN)
    assert settle(page)[0]["note"] == "duda, 50,0 %"
