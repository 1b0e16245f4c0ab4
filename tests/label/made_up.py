"""A translator that anybody can check: words become kana, everything else stays.

Served over HTTP by `serving`, or asked directly as a `Translator`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from minna.artifact.manifest import Parent
from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues
from minna.label.translator import Refusal
from minna.label.verbatim import _ADDRESS, _FENCED, _INLINE

KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわ"
_STAYS = re.compile(f"({_FENCED.pattern}|{_INLINE.pattern}|{_ADDRESS.pattern})", re.DOTALL)


def to_kana(text):
    """Every word as the kana of its hash, half as long; numbers, addresses and code as they are."""

    def word(match):
        digest = hashlib.sha256(match.group().lower().encode()).digest()
        size = max(1, -(-len(match.group()) // 2))
        return "".join(KANA[byte % len(KANA)] for byte in (digest * 9)[:size])

    parts, place = [], 0
    for stays in _STAYS.finditer(text):
        parts += [re.sub("[A-Za-z']+", word, text[place : stays.start()]), stays.group()]
        place = stays.end()
    return "".join([*parts, re.sub("[A-Za-z']+", word, text[place:])])


class KanaTranslator:
    """`to_kana` as a translator; `answers` overrides single texts, `breaks` may raise."""

    at_once = 1
    workers = 1
    name = "kana"
    licence = ""

    def __init__(self, *, answers=None, breaks=None, at_once=1, workers=1, direction="en-ja"):
        self.answers, self.breaks = answers or {}, breaks
        self.at_once, self.workers, self.direction = at_once, workers, direction
        self.asked: list[str] = []
        self.gave_up = False
        self.parent = Parent(role="translator", kind="model", sha256="0" * 64, path="kana")

    @property
    def identity(self):
        return {"kind": "kana", "direction": self.direction}

    def translate(self, texts):
        if self.breaks:
            self.breaks(self, texts)
        self.asked += texts
        return [self.answers.get(text, to_kana(text)) for text in texts]

    def give_up(self):
        self.gave_up = True


class RefusingTranslator(KanaTranslator):
    """One that has no translation for the texts that hold one of `words`."""

    def __init__(self, *words, **options):
        super().__init__(**options)
        self.words = words

    def translate(self, texts):
        found = super().translate(texts)
        refused = [any(word in text for word in self.words) for text in texts]
        return [Refusal("no") if no else one for no, one in zip(refused, found, strict=True)]


class ToyServer(ThreadingHTTPServer):
    """An OpenAI-compatible server around `to_kana`, with faults on demand.

    `faults` are taken one a request: (status, JSON), or a callable given the server. `always` is a
    fault of every request.
    """

    daemon_threads = True

    def __init__(self, *, key="", say=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.say = say or to_kana
        self.faults: list = []
        self.always = None
        self.bodies: list[dict] = []
        self.lock = threading.Lock()
        self.flying = self.most_flying = 0
        self.back: dict[str, str] = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def texts(self):
        return [text_of(body) for body in self.bodies]

    def answer(self, body):
        text = text_of(body)
        if "from Japanese into English" in body["messages"][0]["content"]:
            return self.back.get(text, "nothing like it at all")
        said = self.say(text)
        self.back[said] = text
        return said


def text_of(body):
    return body["messages"][-1]["content"].split("alone.\n\n", 1)[-1]


class _Handler(BaseHTTPRequestHandler):
    server: ToyServer

    def log_message(self, *_args):
        pass

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            fault = server.always or (server.faults.pop(0) if server.faults else None)
            server.flying += 1
            server.most_flying = max(server.flying, server.most_flying)
        try:
            status, value = self.answer(body, fault)
        finally:
            with server.lock:  # before the client has its answer, and may ask again
                server.flying -= 1
        self.send(status, value)

    def answer(self, body, fault):
        server = self.server
        if callable(fault):
            fault = fault(server, body)
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            return 401, {"error": {"message": "bad key"}}
        if fault is not None:
            return fault
        message = {"role": "assistant", "content": server.answer(body)}
        return 200, {"choices": [{"message": message, "finish_reason": "stop"}]}

    def send(self, status, value):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        # a client that was killed has closed its side
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


@contextlib.contextmanager
def serving(**options):
    """Run a server in a thread."""
    server = ToyServer(**options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def dialogue_corpus(root, dialogues, *, name="corpus", licence="MIT"):
    """A corpus of dialogues; each is a list of turns (user first), or (turns, rejected)."""
    rows = []
    for dialogue in dialogues:
        turns, rejected = dialogue if isinstance(dialogue, tuple) else (dialogue, "")
        roles = ["user", "assistant"] * len(turns)
        messages = [{"role": r, "content": t} for r, t in zip(roles, turns, strict=False)]
        if rejected:
            last = [{"role": "assistant", "content": rejected}]
            rows.append({"chosen": messages, "rejected": [*messages[:-1], *last]})
        else:
            rows.append({"messages": messages})
    root.mkdir(parents=True, exist_ok=True)
    file = root / f"{name}.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    settings = DialogueSettings(
        source="dialogues", path=file, licence=licence, attribution="somebody", valid=0.2, test=0.2
    )
    build_dialogues(settings=settings, out=root / name)
    return root / name
