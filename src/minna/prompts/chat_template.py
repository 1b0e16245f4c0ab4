"""A prompt format as the Jinja template that transformers, llama.cpp and vLLM read.

The template is written out of the format's data, so it cannot say anything else; what it renders is
compared with `Format` on the same turns (tests/prompts). Answers stand in `{% generation %}`, from
which transformers makes the mask of what is learned.
"""

from __future__ import annotations

import json

from minna.prompts.format import Format, Layout


def chat_template(fmt: Format) -> str:
    """Return the Jinja source.

    It refuses (raise_exception) what `Format` refuses: roles out of order, an empty turn, a system
    turn where the format has none.
    """
    one = "{%- set system = none %}{%- set turns = messages %}"
    if fmt.instructed is None:
        system = f"{{{{- raise_exception('format {fmt.name} has no system turn') }}}}"
        layout = one + _first(system) + _layout(fmt, fmt.plain)
    else:
        taken = (
            "{%- set system = messages[0]['content'] %}{%- set turns = messages[1:] %}"
            + _refuse_empty("system")
        )
        layout = (
            one
            + _first(taken)
            + "{%- if system is none %}"
            + _layout(fmt, fmt.plain)
            + "{%- else %}"
            + _layout(fmt, fmt.instructed)
            + "{%- endif %}"
        )
    return layout


def _first(content: str) -> str:
    asked = "{%- if messages and messages[0]['role'] == 'system' %}"
    return asked + content + "{%- endif %}"


def _layout(fmt: Format, layout: Layout) -> str:
    """The turns of one layout."""
    parts = [_text(layout.opening)] if layout.opening else []
    if layout.system is not None:
        parts.append(_around(fmt, layout.system.before, "system", layout.system.after))
    answer = layout.assistant
    # the token that ends a text, learned with the answer; else what follows is
    every = "{{- eos_token }}{% endgeneration %}" + _text(answer.after)
    last = "{{- eos_token }}{% endgeneration %}"
    between = every if fmt.ends == "every" else _text(answer.after) + "{% endgeneration %}"
    mask = fmt.learns == "every"
    unmasked = between.replace("{% endgeneration %}", "")
    said = _said(fmt, "turn['content']")
    body = (
        "{%- for turn in turns %}"
        "{%- if turn['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
        "{{- raise_exception('turns must be user, assistant, user, ...') }}{%- endif %}"
        + _refuse_empty("turn['content']")
        + "{%- if turn['role'] == 'user' %}"
        + _around(fmt, layout.user.before, "turn['content']", layout.user.after)
        + "{%- elif loop.last %}"
        + _text(answer.before)
        + "{% generation %}"
        + said
        + last
        + "{%- else %}"
        + _text(answer.before)
        + (f"{{% generation %}}{said}{between}" if mask else said + unmasked)
        + "{%- endif %}{%- endfor %}"
    )
    if fmt.turns == "one":
        body = (
            "{%- if turns | length > 2 %}{{- raise_exception('one question and one answer') }}"
            "{%- endif %}" + body
        )
    prompt = "{%- if add_generation_prompt %}" + _text(answer.before) + "{%- endif %}"
    return "".join(parts) + body + prompt


def _around(fmt: Format, before: str, name: str, after: str) -> str:
    return _text(before) + _said(fmt, name) + _text(after)


def _said(fmt: Format, name: str) -> str:
    if fmt.newline == "\n":
        return f"{{{{- {name} }}}}"
    return f"{{{{- {name} | replace('\\n', {_quoted(fmt.newline)}) }}}}"


def _text(text: str) -> str:
    """Text as an expression: Jinja would trim a line break or a space that stands alone."""
    return f"{{{{- {_quoted(text)} }}}}" if text else ""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _refuse_empty(name: str) -> str:
    refusal = "{{- raise_exception('a turn is empty') }}"
    return f"{{%- if not ({name} | trim) %}}{refusal}{{%- endif %}}"
