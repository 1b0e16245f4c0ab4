"""What a person decides about a release; everything else on the card is read from the manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

# they go into YAML, tables, code and BibTeX: what could break out of these is no part of a name
ONE_LINE = r'^[^\r\n|`"\\{}]*$'


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReleaseSettings:
    """Settings of `release`.

    Attributes:
        name: of the model, as in the title; "" takes the name of the output folder.
        repo: OWNER/NAME on the Hub, for the code on the card; "" lets it load this folder.
        licence: of the weights, such as apache-2.0; "" takes what the recipe says.
        licence_file: its text, needed for any licence but apache-2.0 and mit.
        author: who publishes it, for the copyright line and the citation.
        base_model: Hub id of the model whose weights training started from, if any.
        legal: whether the builder has confirmed the legal basis of training, the handling of
            personal data and the respect of opt-outs. Unconfirmed is printed on the card.
    """

    name: str = Field(default="", pattern=ONE_LINE)
    repo: str = Field(default="", pattern=r"^$|^[\w.-]+/[\w.-]+$")
    licence: str = Field(default="", pattern=ONE_LINE)
    licence_file: Path | None = None
    author: str = Field(default="", pattern=ONE_LINE)
    base_model: str = Field(default="", pattern=ONE_LINE)
    legal: Literal["confirmed", "unconfirmed"] = "unconfirmed"
