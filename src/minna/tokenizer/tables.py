"""Audits as tables: a row for each tokenizer, aligned for a terminal or as Markdown for docs.

Three tables, because seventeen columns fit no screen: what text costs, what odd things cost, and
whether the vocabulary is sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from minna.tokenizer.audit import Audit

Row = tuple[str, ...]
_LEGEND = (
    "bytes/token: more is cheaper. bytes (line breaks left out), unknown: shares of tokens. back: "
    "share of 2,000 lines that come back as they were. match, GGUF: share of strings with the same "
    "ids as in tokenizer.model."
)
_FERTILITY = "tokens per item; (n %) is the share of items that hold an unknown piece and are lost"
_VOCABULARY = (
    "pieces for text that did not come up here, that no text can produce, and that are there twice"
)


def render(audits: Sequence[Audit], *, style: Literal["plain", "markdown"]) -> str:
    """All tables of these audits as one text."""
    names = _names(audits)
    parts: list[str] = []
    for head, rows, legend in (
        (*_cost(audits), _LEGEND),
        (*_fertility(audits), _FERTILITY),
        (*_vocabulary(audits), _VOCABULARY),
    ):
        lines = [("", *head), *((name, *row) for name, row in zip(names, rows, strict=True))]
        parts += [_markdown(lines) if style == "markdown" else _plain(lines), legend, ""]
    return "\n".join(parts)


def _names(audits: Sequence[Audit]) -> list[str]:
    """The last part of each path, where that tells them apart."""
    short = [audit.path.rsplit("/", 1)[-1] for audit in audits]
    return short if len(set(short)) == len(short) else [audit.path for audit in audits]


def _cost(audits: Sequence[Audit]) -> tuple[Row, list[Row]]:
    sources = sorted({name for audit in audits for name in audit.sources})
    languages = sorted({name for audit in audits for name in audit.languages})
    parts = [*sources, *(languages if len(languages) > 1 else [])]
    head = (
        "kind", "pieces", "bytes/token", *parts, "bytes", "unknown", "back", "match", "GGUF", "MB/s"
    )  # fmt: skip
    rows: list[Row] = []
    for audit in audits:
        costs = audit.sources | audit.languages
        rows.append(
            (
                audit.kind,
                f"{audit.vocab_size}",
                f"{audit.total.bytes_per_token:.3f}",
                *(f"{costs[part].bytes_per_token:.3f}" for part in parts),
                f"{audit.total.byte_fallback_rate - audit.total.line_break_rate:.3%}",
                f"{audit.total.unknown_rate:.3%}",
                f"{audit.line_round_trip_rate:.2%}",
                _rate(audit.match_rate),
                _rate(audit.gguf_match_rate),
                f"{audit.encode_mb_per_second:.0f}",
            )
        )
    return head, rows


def _fertility(audits: Sequence[Audit]) -> tuple[Row, list[Row]]:
    head = tuple(audits[0].fertility)
    return head, [
        tuple(
            f"{item.tokens_per_item:.2f}"
            + (f" ({item.items_with_unknown:.0%})" if item.items_with_unknown else "")
            for item in audit.fertility.values()
        )
        for audit in audits
    ]


def _vocabulary(audits: Sequence[Audit]) -> tuple[Row, list[Row]]:
    head = ("not produced", "unreachable", "twice", "such as")
    rows: list[Row] = []
    for audit in audits:
        found = audit.vocabulary
        examples = (found.duplicates.examples + found.unreachable.examples)[:3]
        rows.append(
            (
                f"{found.never_produced.count} of {found.never_produced.of}",
                f"{found.unreachable.count}",
                f"{found.duplicates.count}",
                " ".join(examples) or "-",
            )
        )
    return head, rows


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _plain(lines: Sequence[Row]) -> str:
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _markdown(lines: Sequence[Row]) -> str:
    head, *rows = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    ]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rows, ""])
