"""Prompt formats of instruction models, as data: rendered here, and as a chat template."""

from minna.prompts.chat_template import chat_template
from minna.prompts.format import Format, Piece, Turn, load, names, source

__all__ = ["Format", "Piece", "Turn", "chat_template", "load", "names", "source"]
