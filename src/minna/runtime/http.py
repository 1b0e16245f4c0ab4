"""JSON over HTTP to somebody's server, with patience: what may pass is tried again, the rest named.

Thirty thousand requests to a server meet full queues, restarts and cut connections; each is worth
waiting for (429, 5xx, timeouts), but not for ever: six tries, about a minute. Only the standard
library is used, and redirects are not followed, because they would carry the key to another host.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from minna.errors import DataError, UsageError

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_ANSWER = 1 << 28
_LONGEST_PAUSE = 60.0  # seconds, whatever the server asks for
_SHOWN = 300  # characters of a server's message
_FORBIDDEN = (401, 403)
_MISSING = 404


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """How a server is asked.

    Attributes:
        key_variable: name of the environment variable that holds the API key; "" sends none. The
            key itself is in no file, message or report.
        timeout: seconds without an answer.
        tries: of one request.
        first_pause: seconds before the second try; doubled each time.
        concurrency: requests in flight.
    """

    key_variable: str = ""
    timeout: float = 120.0
    tries: int = 6
    first_pause: float = 1.0
    concurrency: int = 8


class ServerError(UsageError):
    """A server refused a request, and asking again will not help; `status` is HTTP's."""

    def __init__(self, rule: str, *, status: int, remedy: str) -> None:
        self.status = status
        super().__init__(rule, remedy=remedy)


class Http:
    """A server under one base URL, such as http://127.0.0.1:8000/v1. Safe in several threads.

    Attributes:
        given_up: set it, and requests in other threads are not tried again.

    Raises:
        UsageError: the URL is not one, or the variable of the key is not set.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: HttpSettings,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"a server's base URL begins with http:// or https://, not {url!r}",
                remedy="give for example http://127.0.0.1:8000/v1",
            )
        if parts.username or parts.password or parts.query:
            raise UsageError(
                "a server's base URL must hold no password and no query: it goes into the report",
                remedy="put the key into an environment variable and name that",
            )
        self.url = url.rstrip("/")
        self.settings = settings
        self.given_up = threading.Event()
        self._pause = pause or self.given_up.wait
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._key = ""
        if settings.key_variable:
            self._key = os.environ.get(settings.key_variable, "").strip()
            if not self._key:
                raise UsageError(
                    f"the environment variable {settings.key_variable} is empty or not set",
                    remedy="put the server's API key into it",
                )
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._opener = urllib.request.build_opener(_NoRedirects())

    def get(self, path: str) -> dict[str, Any]:
        """Ask with GET; see `post`."""
        return self._ask(path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send `body` as JSON to `path` below the base URL; return the JSON object answered.

        Raises:
            ServerError: refused, or still failing after all tries.
            DataError: the answer is not a JSON object.
        """
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{self.url}{path}", data=body, headers=self._headers
        )
        content, said, status, garbled = b"", "", 0, False
        for number in range(self.settings.tries):
            wait = self.settings.first_pause * 2**number * (1 + random.random() / 4)  # noqa: S311
            try:
                with self._opener.open(request, timeout=self.settings.timeout) as response:
                    content = response.read(_LONGEST_ANSWER)
                value: Any = json.loads(content)
                if isinstance(value, dict):
                    return value  # pyright: ignore[reportUnknownVariableType] - keys of JSON objects
                said, status, garbled = self._shown(content), 200, True
            except urllib.error.HTTPError as error:
                said, status, garbled = self._shown(error.read(_LONGEST_ANSWER)), error.code, False
                if error.code not in _AGAIN:
                    self._refused(path, status, said)
                wait = _asked_for(error.headers.get("Retry-After")) or wait
            except ValueError:
                said, status, garbled = self._shown(content), 200, True
            except (OSError, http.client.HTTPException) as error:
                said, status, garbled = self._hidden(str(error) or type(error).__name__), 0, False
            if self.given_up.is_set():
                break
            if number + 1 < self.settings.tries:
                self._pause(min(wait, _LONGEST_PAUSE))
        if garbled:
            raise DataError(
                f"{self.url}{path} answered something that is not a JSON object: {said!r}",
                remedy="check that the URL is the base of an OpenAI-compatible API (.../v1)",
            )
        raise ServerError(
            f"{self.url}{path} failed {self.settings.tries} times, the last time with "
            f"{f'status {status}: ' if status else ''}{said}",
            status=status,
            remedy="look at the server; the answers so far are kept, so the same command goes on",
        )

    def _refused(self, path: str, status: int, said: str) -> NoReturn:
        remedy = "change what the message names"
        if status in _FORBIDDEN:
            remedy = "name the environment variable that holds this server's API key"
        elif status == _MISSING:
            remedy = "check the base URL (it usually ends in /v1) and the model's name"
        raise ServerError(
            f"{self.url}{path} refused the request with status {status}: {said}",
            status=status,
            remedy=remedy,
        )

    def _shown(self, content: bytes) -> str:
        """What a server said: the `message` of an OpenAI-like error, else its first words."""
        text = content.decode("utf-8", "replace")
        try:
            value: Any = json.loads(text)
            value = value.get("error", value)
            text = str(value.get("message", value)) if isinstance(value, dict) else str(value)
        except (ValueError, AttributeError):
            pass  # not JSON, or not an object: what was sent is shown as it is
        return self._hidden(text)[:_SHOWN]

    def _hidden(self, text: str) -> str:
        """Some servers repeat the key that they did not like."""
        return text.replace(self._key, "***") if self._key else text


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _asked_for(header: str | None) -> float:
    """Seconds a Retry-After header asks for, 0 without one: a number or a date."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass  # then it is a date
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())
