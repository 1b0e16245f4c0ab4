"""A model's own chat template: Jinja written by strangers, so it runs in the immutable sandbox.

The template is part of the model (tokenizer_config.json or chat_template.jinja); asking a chat
model without it measures another model. What a template may use is what transformers gives it, and
tests hold both equal, so that the prompts here are the ones the model was tuned on.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from minna.errors import DataError, UsageError

if TYPE_CHECKING:
    from jinja2 import Environment

_MARK = "answer_mark"  # stands where an answer begins and ends; nothing, unless it is asked for


class ChatTemplate:
    """A compiled template with the special tokens it may name.

    Args:
        source: Jinja text.
        tokens: bos_token, eos_token ... as text.

    Raises:
        DataError: the template is not valid Jinja.
    """

    def __init__(self, source: str, *, tokens: Mapping[str, str]) -> None:
        from jinja2 import TemplateSyntaxError

        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise DataError(
                f"the model's chat template is not valid Jinja: line {error.lineno}: {error}",
                remedy="mend it in tokenizer_config.json or chat_template.jinja",
            ) from error
        self._tokens = dict(tokens)

    def render(self, turns: Sequence[tuple[str, str]]) -> str:
        """The prompt for these turns, up to where the model's answer begins.

        Args:
            turns: role ("system", "user", "assistant") and text of each.

        Raises:
            UsageError: the template refuses them, for instance because it knows no system message.
        """
        return self._render(turns, mark="")

    def stretches(self, turns: Sequence[tuple[str, str]]) -> list[str]:
        """The same, cut where a learned answer (`{% generation %}`) begins and ends.

        Joined they are what `render` gives; a template without those marks gives one stretch.

        Raises:
            UsageError: as `render` does.
        """
        mark = f"\ue000{secrets.token_hex(8)}\ue001"  # no turn can hold what is drawn just now
        return self._render(turns, mark=mark).split(mark)

    def _render(self, turns: Sequence[tuple[str, str]], *, mark: str) -> str:
        from jinja2 import TemplateError

        try:
            return self._template.render(
                messages=[{"role": role, "content": text} for role, text in turns],
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self._tokens,
                **{_MARK: mark},
            )
        except (
            TemplateError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            RecursionError,
        ) as error:
            roles = ", ".join(role for role, _ in turns)
            raise UsageError(
                f"the model's chat template refuses the turns {roles}: {error}",
                remedy="leave out the system turn, or earlier turns (in a task: `system` and "
                '`description` of its prompt, or use a "text" prompt)',
            ) from error


def _environment() -> Environment:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what training learns; to a prompt's text it is nothing."""

        tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

        def parse(self, parser: Parser) -> list[nodes.Node]:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            mark = nodes.Output([nodes.Name(_MARK, "load")], lineno=line)
            return [mark, *body, mark]

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def now(form: str) -> str:
        return datetime.now().strftime(form)  # noqa: DTZ005 - local time, as transformers gives it

    def as_json(  # the standard filter writes < > & as escapes, for HTML
        value: object,
        ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - the names templates use
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,  # noqa: FBT001, FBT002
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = as_json
    helpers: dict[str, Any] = {"raise_exception": refuse, "strftime_now": now}
    environment.globals.update(helpers)
    return environment
