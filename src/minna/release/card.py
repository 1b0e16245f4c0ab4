"""README.md: the card, in Japanese and then in English, with the metadata the Hub reads.

The Japanese stands first, since the people the model is for read Japanese. The weights' licence,
the data's licences and the legal basis of training stand in three sections: they are three
questions with three different people to answer them.
"""

from __future__ import annotations

import re
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from minna.corpus import japanese
from minna.release import rows
from minna.release.check import Check
from minna.release.evaluations import Evaluation, Metric, Task
from minna.release.facts import UNSTATED, Facts
from minna.release.licences import base_notices, base_weights

_REFERENCE_NAMES = {
    "kneser-ney": ("Kneser-Ney n-gram", "Kneser-Ney n-gram"),
    "xz": ("xz(学習テキストを前置)", "xz (training text in front)"),
}
_METRIC_NAMES = {
    "bits_per_byte": ("ビット/バイト", "bits per byte"),
    "bits_per_character": ("ビット/文字", "bits per character"),
    "perplexity_per_token": ("パープレキシティ/トークン", "perplexity per token"),
    "tokens_per_byte": ("トークン/バイト", "tokens per byte"),
    "acc": ("正解率", "accuracy"),
    "acc_norm": ("正解率(文字数で正規化)", "accuracy per character"),
    "acc_bytes": ("正解率(バイト数で正規化)", "accuracy per byte"),
    "balanced_acc": ("平均再現率", "balanced accuracy"),
    "macro_f1": ("マクロ F1", "macro F1"),
    "mcc": ("マシューズ相関係数", "Matthews correlation"),
    "exact_match": ("完全一致", "exact match"),
    "f1": ("F1", "F1"),
    "char_f1": ("文字 F1", "character F1"),
    "number_match": ("数値の正解率", "right numbers"),
    "rouge2": ("ROUGE-2", "ROUGE-2"),
    "rouge2_lm": ("ROUGE-2(モデルのトークン)", "ROUGE-2, model's tokens"),
    "rouge2_mecab": ("ROUGE-2(MeCab)", "ROUGE-2, MeCab words"),
    "bleu": ("BLEU", "BLEU"),
    "chrf": ("chrF", "chrF"),
}
_MODES = {
    "compat": ("compat(論文の評価ハーネスの再現)", "compat (the paper's harness, replayed)"),
    "fixed": ("fixed(minna の規則)", "fixed (minna's own rules)"),
}
_LARGE_PARAMETERS = 1_000_000_000
_NEW_TOKENS = 64
_FOUR_DECIMALS = 10


def card_text(facts: Facts, *, check: Check | None) -> str:
    """The whole of README.md."""
    environment = Environment(
        loader=PackageLoader("minna.release"),
        autoescape=False,  # noqa: S701 - markdown; values pass `cell`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = rows.cell
    context = _context(facts, check)
    body = environment.get_template("card.md").render(**context)
    body = re.sub(r"\n{3,}", "\n\n", body.strip())
    return f"---\n{metadata(facts).to_yaml()}\n---\n\n{body}\n"


def metadata(facts: Facts) -> ModelCardData:
    """The YAML at the head of the card, with every figure of the reports as model-index."""
    known = facts.licence.hub_id != "other"
    family = facts.family.model_type
    return ModelCardData(
        language="ja",
        license=facts.licence.hub_id,
        license_name=None if known else re.sub(r"[^a-z0-9.]+", "-", facts.licence.id),
        license_link=None if known else "LICENSE",
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=facts.settings.base_model or None,
        tags=["japanese", "causal-lm", family, "minna"],
        model_name=facts.name,
        eval_results=_results(facts) or None,
    )


def notice_text(facts: Facts) -> str:
    """NOTICE: whom to credit for the data, which the licence of the weights does not say."""
    lines = [facts.name]
    if facts.settings.author:
        lines.append(f"Copyright {facts.model.manifest.created[:4]} {facts.settings.author}")
    if facts.settings.base_model:
        lines.append(f"Training began with the weights of {facts.settings.base_model}.")
    lines += ["", "This model was trained on data from:"]
    for licence in facts.data_licences:
        terms = "terms not stated" if licence.licence.lower() in UNSTATED else licence.licence
        lines.append(f"- {licence.source}: {terms}")
        lines += [f"  {text}" for text in (licence.attribution, licence.url) if text]
    if not facts.data_licences:
        lines.append("- (no source is recorded)")
    lines += ["", "The data itself is not part of this distribution.", ""]
    for text in base_notices(facts.terms):
        lines += ["The weights that training began with ask for this notice:", "", text, ""]
    return "\n".join(lines)


def _results(facts: Facts) -> list[EvalResult]:
    results: list[EvalResult] = []
    for evaluation in facts.evaluations:
        for task in evaluation.tasks:
            judged = task in evaluation.judged
            title = f"{_title(task)[1]} ({evaluation.mode})" if judged else "Language modelling"
            rules = f"{_rules(task)}, {task.shots}-shot" if judged else f"v{task.version}"
            results += [
                EvalResult(
                    task_type="text-generation",
                    task_name=title,
                    dataset_type=_slug(task.name if judged else task.data.title),
                    dataset_name=f"{task.data.title} ({task.data.split})",
                    dataset_split=task.data.split,
                    metric_type=name,
                    metric_name=f"{_metric_name(name)[1]} ({task.name} {rules})",
                    metric_value=metric.value,
                )
                for name, metric in task.metrics.items()
            ]
    return results


def _context(facts: Facts, check: Check | None) -> dict[str, Any]:
    causal = _section_kind(facts, "objective") in (None, "causal_lm")
    return {
        "name": facts.name,
        "repo": facts.settings.repo,
        "family": rows.family_name(facts),
        "parameters": f"{facts.parameters:,}",
        "context": f"{facts.config.context:,}",
        "vocab": f"{facts.config.vocab:,}",
        "base_model": facts.settings.base_model,
        "base": causal and not base_weights(facts.run),
        "architecture": rows.architecture(facts),
        "licences": facts.data_licences,
        "unstated": UNSTATED,
        "corpora": [(corpus, rows.corpus_sizes(corpus)) for corpus in facts.corpora],
        "normalised": any("normalisation" in corpus.settings for corpus in facts.corpora),
        "rules": japanese.RULES,
        "procedure": rows.procedure(facts),
        "evaluations": [_evaluation(item) for item in facts.evaluations],
        "tokenizer": rows.tokenizer(facts),
        "byte_fallback": facts.words.byte_fallback,
        "new_tokens": min(_NEW_TOKENS, facts.config.context // 2),
        "sampling": bool(facts.generation.get("do_sample")),
        "small": facts.parameters < _LARGE_PARAMETERS,
        "confirmed": facts.settings.legal == "confirmed",
        "licence": facts.licence,
        "author": facts.settings.author,
        "year": facts.model.manifest.created[:4],
        "key": _slug(facts.name).replace("/", "-"),
        "check": check,
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    ja, en = _MODES.get(evaluation.mode, (evaluation.mode, evaluation.mode))
    average = evaluation.average
    return {
        "mode": evaluation.mode,
        "mode_ja": ja,
        "mode_en": en,
        "unseen": evaluation.unseen,
        "suite": evaluation.suite,
        "average": _score(average) if average else None,
        "tasks": [
            {"task": task, "metrics": _figures(task), "references": _references(task)}
            for task in evaluation.on_text
        ],
        "judged": [_judged(task) for task in evaluation.judged],
    }


def _judged(task: Task) -> dict[str, Any]:
    ja, en = _title(task)
    metric_ja, metric_en = _metric_name(task.main)
    return {
        "ja": ja,
        "en": en,
        "rules": _rules(task),
        "shots": task.shots,
        "n": task.n,
        "metric_ja": metric_ja,
        "metric_en": metric_en,
        "score": _score(task.metrics[task.main]),
    }


def _title(task: Task) -> tuple[str, str]:
    english = task.title.get("en", task.name)
    return task.title.get("ja", english), english


def _rules(task: Task) -> str:
    """VERSION-PROMPT of a task."""
    return f"{task.version}-{task.prompt}" if task.prompt else task.version


def _score(metric: Metric) -> str:
    """A score of a task with its interval: shares are percent."""
    digits = 3 if metric.unit == "coefficient" else 2
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} ({metric.low:.{digits}f} – {metric.high:.{digits}f})"


def _figures(task: Task) -> list[dict[str, str]]:
    return [
        {
            "ja": _metric_name(name)[0],
            "en": _metric_name(name)[1],
            "value": _number(metric.value),
            "span": _span(metric),
        }
        for name, metric in task.metrics.items()
    ]


def _references(task: Task) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name, reference in task.references.items():
        metric = reference.metrics.get(task.name)
        if metric is None:
            continue
        ja, en = _REFERENCE_NAMES.get(name, (name, name))
        found.append({"ja": ja, "en": en, "value": _number(metric.value), "span": _span(metric)})
    return found


def _span(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return "-"
    return f"{_number(metric.low)} – {_number(metric.high)}"


def _number(value: float) -> str:
    return f"{value:.4f}" if value < _FOUR_DECIMALS else f"{value:,.1f}"


def _metric_name(name: str) -> tuple[str, str]:
    return _METRIC_NAMES.get(name, (name, name))


def _section_kind(facts: Facts, name: str) -> str | None:
    section = facts.run.settings.get(name)
    return section.get("kind") if isinstance(section, dict) else None


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9/._-]+", "-", text.lower()).strip("-") or "unnamed"
