"""A small server with OpenAI's protocol around a real toy model, with faults on demand."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from minna.runtime import Engine, Request


class ToyServer(ThreadingHTTPServer):
    """Attributes: what it can do, and what it was asked.

    `faults` are taken one per POST: (status, headers, body bytes), or a callable given the handler.
    """

    daemon_threads = True

    def __init__(self, model, coder, *, echo="zero", ids=True, context=96, key="", add_bos=False):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model, self.coder = model, coder
        self.echo, self.ids, self.context, self.key, self.add_bos = echo, ids, context, key, add_bos
        self.faults: list = []
        self.bodies: list[dict] = []
        self.lock = threading.Lock()
        self.flying = self.most_flying = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def score(self, ids):
        """The way any textbook does it: every position, the whole softmax."""
        with torch.inference_mode():
            hidden = self.model.decoder(torch.tensor([ids]))
            table = torch.log_softmax(self.model.decoder.logits(hidden).float(), dim=-1)[0]
        given = [None] + [float(table[at, ids[at + 1]]) for at in range(len(ids) - 1)]
        tops = [None] + [
            {str(int(row.argmax())): float(row.max()), str(ids[at + 1]): given[at + 1]}
            for at, row in enumerate(table[:-1])
        ]
        return {"token_logprobs": given, "top_logprobs": tops, "tokens": [str(i) for i in ids]}

    def complete(self, body):
        prompt = body["prompt"]
        ids = self.coder.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if self.add_bos:
            ids = [1, *ids]
        if body.get("echo"):
            if self.echo == "none":
                return {
                    "text": "x",
                    "logprobs": {"token_logprobs": [-0.1], "top_logprobs": [{"x": -0.1}]},
                }
            logprobs = self.score(ids)
            if body["max_tokens"]:
                logprobs["token_logprobs"].append(-0.5)
                logprobs["top_logprobs"].append({"x": -0.5})
            return {"text": self.coder.decode_all(ids), "logprobs": logprobs}
        request = Request(prompt=tuple(ids), max_new_tokens=body["max_tokens"])
        (result,) = Engine(self.model, slots=1).run([request])
        text, reason = result.text, "stop" if result.finish == "stop" else "length"
        for stop in body.get("stop", []):
            if stop in text:
                text, reason = text.split(stop)[0], "stop"
        return {"text": text, "finish_reason": reason, "stop_reason": None}


class _Handler(BaseHTTPRequestHandler):
    server: ToyServer

    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.send(200, {"data": [{"id": "toy", "max_model_len": self.server.context}]})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            fault = server.faults.pop(0) if server.faults else None
        if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
            self.send(401, {"error": {"message": f"bad key {self.headers.get('Authorization')}"}})
        elif callable(fault):
            fault(self)
        elif fault is not None:
            self.send(*fault)
        elif isinstance(body.get("prompt"), list) and not server.ids:
            self.send(400, {"error": {"message": "prompt must be a string"}})
        elif body.get("max_tokens") == 0 and server.echo != "zero":
            self.send(400, {"error": {"message": "max_tokens must be at least 1"}})
        else:
            with server.lock:
                self.send(200, self.answer(body))

    def answer(self, body):
        if self.path.endswith("/chat/completions"):
            prompt = "".join(message["content"] for message in body["messages"])
            done = self.server.complete(body | {"prompt": prompt})
            message = {"role": "assistant", "content": done["text"]}
            return {"choices": [{"message": message, "finish_reason": done["finish_reason"]}]}
        return {
            "choices": [self.server.complete(body)],
            "usage": {"prompt_tokens": 5, "total_tokens": 7},
        }

    def send(self, status, value, headers=()):
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        # a client that gave up has closed its side
        with contextlib.suppress(OSError):
            self.wfile.write(content)


@contextlib.contextmanager
def serving(model, coder, **options):
    """Run a server in a thread."""
    server = ToyServer(model, coder, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
