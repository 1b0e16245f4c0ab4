"""A server that speaks OpenAI's protocol: vLLM, llama.cpp, or one far away.

Answers (`generate`) work with every server. Choices need log-probabilities of a given text, and
only some servers have them (`echo` with `logprobs` on /completions: vLLM). That is found out by one
question before the first item, whose answer is checked number by number: a server that ignores
`echo` returns the log-probabilities of what it made up, which look just as good.

Prompts go as token ids where the tokenizer is at hand and the server takes them, so that nothing
is added in front and nothing is split otherwise; else as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from minna.console import warn
from minna.errors import DataError, UsageError, nearest
from minna.evaluate.backends.base import Finish, Generated, Generation, Likelihood, Reading
from minna.evaluate.records import Candidate
from minna.runtime.http import Http, HttpSettings, ServerError
from minna.runtime.text import cut
from minna.tokenizer.coder import Coder, load_coder

_PROBE = "日本の首都は東京です。"
_CONTEXT = 2048  # where neither the user nor the server says
_MOST_STOPS = 4  # OpenAI's own limit; the rest are cut off here
_MISSING = 404
_SHOWN = 5  # names of models in a message
_CERTAIN = 1e-6  # a log-probability above this is none
PromptForm = Literal["ids", "text"]
T = TypeVar("T")


class EndpointBackend:
    """A model behind a server.

    Args:
        url: base URL, such as http://127.0.0.1:8000/v1.
        model: its name there.
        tokenizer: folder with the model's tokenizer; without it only answers can be asked.
        context: tokens the model reads; None asks the server.
        settings: key, patience, requests in flight.
        http: in place of a connection made from `url` and `settings`.

    Raises:
        UsageError: a bad URL, a key that is not set, or a model that the server does not list.
        ArtifactError: no tokenizer in that folder.
    """

    name = "endpoint"

    def __init__(
        self,
        url: str,
        *,
        model: str,
        tokenizer: Path | None = None,
        context: int | None = None,
        settings: HttpSettings | None = None,
        http: Http | None = None,
    ) -> None:
        self._http = http or Http(url, settings=settings or HttpSettings())
        self.model = model
        self.coder: Coder | None = load_coder(tokenizer) if tokenizer else None
        self.eos_ids: tuple[int, ...] = ()
        if self.coder is not None and self.coder.eos_id >= 0:
            self.eos_ids = (self.coder.eos_id,)
        # a scored text is read whole by a server, the token that is only paid for included, and
        # one that must make a token has to have room for that too
        self.max_length: int = (context or self._context()) - 2
        self.id_limit: int | None = None
        self.reading = Reading()
        self._form: PromptForm | None = None if self.coder else "text"
        self._new_tokens: int | None = None

    def conditions(self) -> dict[str, Any]:
        """Where was asked, and in which form; never the key."""
        return {
            "backend": self.name,
            "url": self._http.url,
            "model": self.model,
            "prompts": self._form or "ids",
        }

    def likelihoods(
        self, groups: Sequence[Sequence[Candidate]]
    ) -> Iterator[tuple[int, list[Likelihood]]]:
        """Score groups; see `base.Backend`.

        Raises:
            UsageError: the server cannot, or the tokenizer is not known.
            DataError: it gave something else than log-probabilities of what was asked.
        """
        self._http.given_up.clear()
        if groups and self._new_tokens is None:
            self._new_tokens = self._probe_scoring()

        def score(number: int) -> list[Likelihood]:
            return [self._score(candidate) for candidate in groups[number]]

        return self._each(score, total=len(groups))

    def generate(self, jobs: Sequence[Generation]) -> Iterator[tuple[int, Generated]]:
        """Answer jobs; see `base.Backend`. Stop ids are the server's affair.

        Raises:
            ServerError: the server failed.
            DataError: its answer holds no text.
        """
        self._http.given_up.clear()
        if self._form is None and any(not job.messages for job in jobs):
            self._form = self._probe_ids()

        def answer(number: int) -> Generated:
            return self._answer(jobs[number])

        return self._each(answer, total=len(jobs))

    def _each(self, work: Callable[[int], T], *, total: int) -> Iterator[tuple[int, T]]:
        """Work on all numbers, a few in flight; the first error ends it."""
        pool = ThreadPoolExecutor(max_workers=self._http.settings.concurrency)
        try:
            futures = {pool.submit(work, number): number for number in range(total)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            self._http.given_up.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _score(self, candidate: Candidate) -> Likelihood:
        logprobs = self._echo(candidate.ids, new_tokens=self._new_tokens or 0)
        self.reading.tokens += len(candidate.ids)
        return _likelihood(logprobs, candidate, url=self._http.url)

    def _echo(self, ids: Sequence[int], *, new_tokens: int) -> dict[str, Any]:
        body = {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": new_tokens,
            "temperature": 0,
            "logprobs": 1,
            "echo": True,
        }
        choice = _first_choice(self._http.post("/completions", body), url=self._http.url)
        return choice.get("logprobs") or {}

    def _probe_scoring(self) -> int:
        """Ask for the log-probabilities of a known text; return how many new tokens to ask for."""
        if self.coder is None:
            raise UsageError(
                "choices are scored by token ids, and the tokenizer of the server's model is not "
                "known",
                remedy="give the folder with its tokenizer; tasks with free answers run without",
            )
        probe = Candidate(ids=tuple(self.coder.encode(_PROBE)), start=1)
        problem = ""
        for new_tokens in (0, 1):
            try:
                logprobs = self._echo(probe.ids, new_tokens=new_tokens)
                found = len(logprobs.get("token_logprobs") or [])
                if found == len(probe.ids) + new_tokens:
                    _likelihood(logprobs, probe, url=self._http.url)
                    return new_tokens
                problem = f"{found} log-probabilities for {len(probe.ids)} tokens"
                if found > len(probe.ids):
                    break  # it puts a token of its own in front: asked for one more, that would fit
            except (DataError, ServerError) as error:
                if isinstance(error, ServerError) and error.status not in (400, 404, 422, 501):
                    raise
                if isinstance(error, ServerError) and error.status == _MISSING:
                    self._refuse_unknown(self._models())
                problem = error.rule
        raise UsageError(
            f"{self._http.url} cannot score choices (echo with logprobs on /completions): "
            f"{problem}",
            remedy="use a server that can, such as vLLM, or run the model here; tasks with free "
            "answers (generate) work with this server",
        )

    def _probe_ids(self) -> PromptForm:
        """Whether the server takes token ids as a prompt."""
        assert self.coder is not None
        body = {"model": self.model, "prompt": self.coder.encode(_PROBE), "max_tokens": 1}
        try:
            self._http.post("/completions", body)
        except ServerError as error:
            if error.status not in (400, 422):
                raise
            warn(f"{self._http.url} takes no token ids; prompts go as text, and it splits them")
            return "text"
        return "ids"

    def _answer(self, job: Generation) -> Generated:
        found = self._ask(job, stops=job.stop_texts)
        blank = [stop for stop in job.stop_texts if stop[:1].isspace()]
        is_blank = found.finish != "length" and not found.text.strip()
        if job.stops_after == "text" and blank and is_blank:
            # a server knows no such rule: what it stopped at may be white space before the answer
            found = self._ask(job, stops=[stop for stop in job.stop_texts if stop not in blank])
        return found

    def _ask(self, job: Generation, *, stops: Sequence[str]) -> Generated:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": job.max_new_tokens,
            "temperature": 0,
        }
        if stops:
            body["stop"] = list(stops[:_MOST_STOPS])
        if job.messages:
            body["messages"] = [{"role": role, "content": said} for role, said in job.messages]
            answer = self._http.post("/chat/completions", body)
        else:
            body["prompt"] = self._prompt(job)
            answer = self._http.post("/completions", body)
        used: Any = answer.get("usage")
        used = used if isinstance(used, dict) else {}
        self.reading.tokens += int(used.get("total_tokens") or 0)
        generated = _generated(_first_choice(answer, url=self._http.url), job, url=self._http.url)
        return replace(generated, prompt_tokens=int(used.get("prompt_tokens") or 0))

    def _prompt(self, job: Generation) -> list[int] | str:
        if self._form == "ids" and job.prompt:
            return list(job.prompt)
        if self.coder is None or not job.prompt:
            return job.text
        # what was cut off the beginning must not come back with the text
        return (
            job.text
            if len(self.coder.encode(job.text)) <= len(job.prompt)
            else (self.coder.decode_all(job.prompt))
        )

    def _context(self) -> int:
        """What the server says of its model (vLLM: max_model_len, llama.cpp: meta.n_ctx_train)."""
        models = self._models()
        self._refuse_unknown(models)
        entry = models.get(self.model, {})
        meta: Any = entry.get("meta") or {}
        found: Any = entry.get("max_model_len") or meta.get("n_ctx_train")
        if isinstance(found, int):
            return found
        warn(
            f"{self._http.url} does not say how much its model reads; taken for {_CONTEXT} tokens "
            "(--max-length changes that)"
        )
        return _CONTEXT

    def _models(self) -> dict[str, dict[str, Any]]:
        """The models that the server lists, by name; none where it has no such page."""
        try:
            found: Any = self._http.get("/models").get("data")
        except ServerError as error:
            if error.status in (401, 403, 0):
                raise
            return {}
        entries: list[Any] = found if isinstance(found, list) else []
        return {
            str(entry["id"]): entry
            for entry in entries
            if isinstance(entry, dict) and "id" in entry
        }

    def _refuse_unknown(self, models: Iterable[str]) -> None:
        names = list(models)
        if names and self.model not in names:
            raise UsageError(
                f"{self._http.url} serves no model {self.model!r}{nearest(self.model, names)}; it "
                f"lists {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}",
                remedy="name one of these with --served-name; a name that the server knows "
                "without listing it needs --max-length",
            )


def _first_choice(answer: dict[str, Any], *, url: str) -> dict[str, Any]:
    choices: Any = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise DataError(
            f"{url} answered without choices: {str(answer)[:200]}",
            remedy="check that the URL is the base of an OpenAI-compatible API (.../v1)",
        )
    return choices[0]  # pyright: ignore[reportUnknownVariableType] - keys of JSON objects


def _likelihood(logprobs: dict[str, Any], candidate: Candidate, *, url: str) -> Likelihood:
    """Sum what belongs to the scored tokens, after looking at every number."""
    given: Any = logprobs.get("token_logprobs")
    tops: Any = logprobs.get("top_logprobs")
    size = len(candidate.ids)
    if not isinstance(given, list) or not isinstance(tops, list) or len(given) < size:
        raise DataError(
            f"{url} gave no log-probabilities for the {size} tokens it was asked about",
            remedy="use a server that has `echo` with `logprobs`, such as vLLM",
        )
    total, greedy = 0.0, True
    for place in range(candidate.start, size):
        number: Any = given[place]
        top: Any = tops[place] if place < len(tops) else None
        if not isinstance(number, int | float) or not isinstance(top, dict) or not top:
            raise DataError(
                f"{url} gave {number!r} (top: {top!r}) where token {place} of {size} has a "
                "log-probability",
                remedy="use a server that has `echo` with `logprobs`, such as vLLM",
            )
        if number > _CERTAIN:
            raise DataError(
                f"{url} gave the log-probability {number} for token {place} of {size}; none is "
                "above 0",
                remedy="look at the server's log",
            )
        total += number
        # the most likely token is in the list, and equal to the chosen one where that is it
        greedy = greedy and not math.isnan(number) and max(top.values()) <= number
    return Likelihood(logprob=total, greedy=greedy, tokens=size - candidate.start)


def _generated(choice: dict[str, Any], job: Generation, *, url: str) -> Generated:
    message: Any = choice.get("message")
    text: Any = message.get("content") if isinstance(message, dict) else choice.get("text")
    if text is None and isinstance(message, dict):
        text = ""  # a chat answer of nothing
    if not isinstance(text, str):
        raise DataError(
            f"{url} answered without a text: {str(choice)[:200]}",
            remedy="check that the URL is the base of an OpenAI-compatible API (.../v1)",
        )
    finish: Finish = "length" if choice.get("finish_reason") == "length" else "stop"
    if finish == "stop" and isinstance(choice.get("stop_reason"), str):
        finish = "stop-text"
    text, was_cut = cut(text, stop_texts=job.stop_texts, stops_after=job.stops_after)
    if was_cut:
        finish = "stop-text"
    return Generated(ids=(), finish=finish, text=text)
