"""The tables of the card: labels in both languages, values from the facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minna.artifact import Manifest
from minna.release.facts import Facts
from minna.tokenizer.fast import FastTokenizer
from minna.units import format_bytes, format_seconds

_FAMILY_NAMES = {
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX",
    "llama": "Llama",
    "qwen": "Qwen",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
}
_ACTIVATIONS = {"gelu": "GELU", "gelu_tanh": "GELU (tanh)", "silu": "SiLU"}
_GATED = {"gelu": "GEGLU", "gelu_tanh": "GEGLU (tanh)", "silu": "SwiGLU"}
_NORMS = {"layer": "LayerNorm", "rms": "RMSNorm"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: a label and a value, in Japanese and in English."""

    ja: str
    en: str
    value_ja: str
    value_en: str


def row(ja: str, en: str, value: object, value_en: object = None) -> Row:
    """A line; whole numbers get thousands separators, `value_en` is for values that are words."""
    shown = _shown(value)
    return Row(ja=ja, en=en, value_ja=shown, value_en=shown if value_en is None else str(value_en))


def cell(value: object) -> str:
    """Text that cannot break out of a markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


def family_name(facts: Facts) -> str:
    """The architecture as people call it."""
    return _FAMILY_NAMES.get(facts.family.name, facts.family.name)


def architecture(facts: Facts) -> list[Row]:
    """The shape of the model, from config.json."""
    c = facts.config
    rotary = (
        f"RoPE(ヘッド次元の {c.rotary_fraction:.0%}、θ = {c.rotary_base:g})",
        f"RoPE ({c.rotary_fraction:.0%} of a head, θ = {c.rotary_base:g})",
    )
    learned = ("学習済み絶対位置埋め込み", "learned absolute positions")
    positions = rotary if c.positions == "rotary" else learned
    residual = {
        "sequential": ("逐次(sequential)", "sequential"),
        "parallel": ("並列(parallel)", "parallel"),
    }[c.residual]
    grouped: list[Row] = []
    if c.key_value_heads != c.heads:
        grouped.append(row("キー・バリューヘッド数", "key-value heads", c.key_value_heads))
    if c.attention_width != c.width:
        grouped.append(row("ヘッドの次元数", "head size", c.head_width))
    activation = (_GATED if c.mlp == "gated" else _ACTIVATIONS)[c.activation]
    tied = ("共有", "tied") if c.tied else ("共有しない", "not tied")
    return [
        row("アーキテクチャ", "architecture", family_name(facts)),
        row("パラメータ数", "parameters", facts.parameters),
        row("層数", "layers", c.layers),
        row("隠れ層の次元数", "hidden size", c.width),
        row("アテンションヘッド数", "attention heads", c.heads),
        *grouped,
        row("FFN の次元数", "feed-forward size", c.ffn),
        row("語彙数", "vocabulary", c.vocab),
        row("文脈長(トークン)", "context (tokens)", c.context),
        row("位置表現", "positions", *positions),
        row("活性化関数", "activation", activation),
        row("正規化", "normalisation", _NORMS[c.norm]),
        row("残差接続", "residual", *residual),
        row("入出力の埋め込み", "input and output embeddings", *tied),
        row("重みの型", "type of the weights", facts.dtype),
    ]


def corpus_sizes(corpus: Manifest) -> list[Row]:
    """How large a training corpus is."""
    counts = {name: count.value for name, count in corpus.counts.items()}
    labels = {
        "documents": ("文書数(全体)", "documents (all)"),
        "train": ("うち学習用", "for training"),
        "valid": ("うち検証用", "for validation"),
        "test": ("うち評価用", "for the final numbers"),
        "characters": ("文字数", "characters"),
    }
    found = [row(*labels[name], int(counts[name])) for name in labels if name in counts]
    if "text_bytes" in counts:
        found.append(row("サイズ(UTF-8)", "size in UTF-8", format_bytes(counts["text_bytes"])))
    return found


def procedure(facts: Facts) -> list[Row]:
    """How it was trained, from the manifest of the run."""
    run = facts.run
    settings = run.settings
    train, optim, schedule = (_section(settings, name) for name in ("train", "optim", "schedule"))
    counts = {name: int(count.value) for name, count in run.counts.items()}
    rates = ", ".join(f"{key} = {optim[key]:g}" for key in ("lr", "matrix_lr") if key in optim)
    known: list[tuple[str, str, object]] = [
        ("レシピ", "recipe", settings.get("name")),
        ("ステップ数", "steps", counts.get("steps")),
        ("学習トークン数(延べ)", "tokens seen", counts.get("tokens")),
        ("1 ステップのトークン数", "tokens per step", train.get("tokens_per_step")),
        ("最適化手法", "optimiser", " ".join(filter(None, [optim.get("kind"), f"({rates})"]))),
        ("学習率スケジュール", "schedule", schedule.get("kind")),
        ("乱数シード", "seed", train.get("seed")),
        ("学習時間", "training time", _time(run)),
        ("初期値とした重み", "first weights", facts.settings.base_model or None),
        ("minna のコミット", "commit of minna", run.commit),
        ("バージョン", "versions", ", ".join(f"{k} {v}" for k, v in run.versions.items())),
    ]
    return [row(ja, en, value) for ja, en, value in known if value not in (None, "", "()")]


def tokenizer(facts: Facts) -> list[Row]:
    """What the tokenizer does, read from its model file."""
    if isinstance(facts.words, FastTokenizer):
        whole = ("はい", "yes") if facts.words.byte_fallback else ("いいえ", "no")
        return [
            row("種類", "kind", f"tokenizer.json ({facts.words.kind})"),
            row("語彙数", "pieces", facts.words.vocab_size),
            row(
                "すべての文字を表せるか",
                "every text has tokens",
                *whole,
            ),
        ]
    fields = facts.words.fields
    fallback = ("あり", "yes") if fields.byte_fallback else ("なし", "no")
    normalised = ("あり", "yes") if fields.charsmap else ("なし(恒等)", "none (identity)")
    prefix = ("あり", "yes") if fields.dummy_prefix else ("なし", "no")
    rows = [
        row("種類", "kind", f"SentencePiece {fields.kind}"),
        row("語彙数", "pieces", facts.words.vocab_size),
        row("バイトフォールバック", "byte fallback", *fallback),
        row("トークナイザ内の正規化", "normalisation inside", *normalised),
        row("文頭の空白の付加", "space put in front", *prefix),
    ]
    if facts.match:
        rate = float(facts.match["rate"])
        total = int(facts.match["probes"]) + int(facts.match["lines"])
        rows.append(
            row(
                "tokenizer.json と tokenizer.model の ID の一致率",
                "strings with equal ids in tokenizer.json and tokenizer.model",
                f"{rate:.2%}({total:,} 文字列)",
                f"{rate:.2%} (of {total:,} strings)",
            )
        )
    return rows


def _section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _time(run: Manifest) -> str | None:
    return format_seconds(run.wall_seconds) if run.wall_seconds >= 1 else None


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else cell(value)
