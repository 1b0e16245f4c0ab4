"""A task that is asked as a chat goes through the model's own template, or not at all."""

from __future__ import annotations

from minna.errors import UsageError
from minna.prompts.sandbox import ChatTemplate
from minna.tokenizer.coder import Coder


def chat_template_of(coder: Coder, *, task: str) -> ChatTemplate:
    """The chat template of a model's tokenizer.

    Args:
        coder: the tokenizer.
        task: name of the task that asks, for the error.

    Raises:
        UsageError: the model has no chat template.
        DataError: it is not valid Jinja.
    """
    if coder.chat_template is None:
        raise UsageError(
            f"{task} is asked through the model's chat template, and the model has none",
            remedy="choose another --prompt-version, or put chat_template.jinja into its folder",
        )
    return ChatTemplate(coder.chat_template, tokens=coder.special_texts)
