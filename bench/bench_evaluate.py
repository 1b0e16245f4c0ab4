"""Evaluation beside lm-eval: same model, same prompts, and whether the answers are the same.

The model is a GPT-NeoX of 23 M parameters (evaluate.toml beside this file), trained by our own
verbs on novels, once, into build/bench-evaluate/model. The prompts are those of `minna requests`;
lm-eval gets them ready-made, as tasks whose rows hold context, choices and right answer. Every
variant is a process of its own that loads the model once and waits; rounds are interleaved, so that
a busy minute hits all. Clocked is all between the loaded model and the figures: on both sides
tokenising, asking and scoring, on ours the building of the prompts and the intervals too.

    python bench/bench_evaluate.py --peer-python PATH [--rounds 3] [--items 200] [--answers 64]

The peer's environment: `pip install -r bench/env/evaluate.txt`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import peak_bytes

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
WORK = HERE.parent / "build" / "bench-evaluate"
CHOICE = ("jcommonsenseqa", "jnli", "xwinograd_ja")
ANSWER = ("jsquad", "mgsm")
TASKS = (*CHOICE[:2], ANSWER[0], CHOICE[2], ANSWER[1])
HELD_APART = 400
NOVELS = 1500
VARIANTS = {
    "minna fp32": ("minna", "fp32", "shared"),
    "minna bf16": ("minna", "bf16", "shared"),
    "minna --plain fp32": ("minna", "fp32", "plain"),
    "lm-eval fp32": ("lm-eval", "fp32", ""),
    "lm-eval bf16": ("lm-eval", "bf16", ""),
}
TARGETS = {
    ("compat", "jcommonsenseqa", "fp32"): 4,
    ("compat", "jcommonsenseqa", "bf16"): 3,
    ("compat", "jnli", "fp32"): 2.5,
    ("compat", "jnli", "bf16"): 2.5,
    **{("fixed", task, dtype): 15 for task in CHOICE[:2] for dtype in ("fp32", "bf16")},
    **{
        (mode, task, dtype): 10
        for mode in ("compat", "fixed")
        for task in ANSWER
        for dtype in ("fp32", "bf16")
    },
}
Run = dict[str, Any]
Case = tuple[str, str]


def main() -> None:
    """Prepare what is not there yet, run the rounds, print the tables."""
    options = arguments()
    if options.worker:
        worker = {"minna": work_minna, "lm-eval": work_peer}[options.worker]
        worker(options)
        return
    prepare_model(options.work)
    prepare_data(options.data, options.work / "data")
    cases = [(mode, task) for mode in options.modes for task in options.tasks]
    for case in cases:
        write_prompts(options, case)
    print(setting(options), flush=True)
    workers = {name: Worker(name, options) for name in VARIANTS}
    first = {(mode, task in CHOICE): (mode, task) for mode, task in cases}
    for worker in workers.values():  # not counted: first calls are slow on both sides
        for case in first.values():
            worker.ask(case, 8, limit=2)
    results = Results(cases)
    for number in range(options.rounds):
        for case in cases:
            for name, batch in asked(case, options.batches):
                shown = f"{name}, batch {batch}" if batch else name
                if number and shown not in results.variants(case):
                    continue  # the slower batch size of lm-eval, known from the first round
                run = workers[name].ask(case, batch)
                results.runs.setdefault((case, shown), []).append(run)
                told = f"round {number + 1} {' '.join(case)} {shown}: {run['wall']:.2f} s"
                print(told, file=sys.stderr, flush=True)
    for worker in workers.values():
        worker.process.communicate()
    print("\n".join([*speeds(results), "", *answers(results), ""]))
    for name, worker in workers.items():
        print(f"- {name}: {', '.join(f'{k} {v}' for k, v in worker.settings.items())}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluation, us against lm-eval.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=200, help="of a task with choices")
    parser.add_argument("--answers", type=int, default=64, help="items of a task that generates")
    parser.add_argument("--tasks", type=commas, default=TASKS)
    parser.add_argument("--modes", type=commas, default=("compat", "fixed"))
    parser.add_argument(
        "--batches",
        type=numbers,
        default=(1, 8),
        help="of lm-eval: the first round finds the faster",
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, default=WORK, help="model, data and prompts, kept")
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--worker", choices=["minna", "lm-eval"], help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    return parser.parse_args()


def commas(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def asked(case: Case, batches: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Who is asked in a round; the plain way is compat's reference."""
    for name, (side, _, way) in VARIANTS.items():
        if way != "plain" or case[0] == "compat":
            yield from ((name, batch) for batch in (batches if side == "lm-eval" else (0,)))


def setting(options: argparse.Namespace) -> str:
    held = [task for task in ("jnli", "jsquad") if task in options.tasks]
    apart = f"; shots of {' and '.join(held)} are {HELD_APART} items of valid, held apart"
    return (
        "GPT-NeoX 6 layers x 384, vocabulary 16,384, context 1,024; "
        f"{options.items} items of a task with choices, {options.answers} of one that generates"
        f"{apart if held else ''}; {options.rounds} interleaved rounds, {options.threads} threads\n"
    )


# --- what is measured on ---------------------------------------------------------------------


def minna(*words: object) -> None:
    """A verb of ours; what is done already is skipped by the verb itself."""
    command = [sys.executable, "-m", "minna.cli.main", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def prepare_model(work: Path) -> None:
    """Train the model, unless it is there."""
    model = work / "model"
    if (model / "minna.json").is_file():
        return
    archive, recipe = SHARED / "aozora" / "aozora.tar.xz", HERE / "evaluate.toml"
    corpus, words, run = work / "corpus", work / "tokenizer", work / "run"
    minna("corpus", "build", "aozora", "--from", archive, "--limit", NOVELS, "--out", corpus)
    minna("tokenizer", "train", corpus, "--vocab-size", "16384", "--out", words)
    minna("train", recipe, "--corpus", corpus, "--tokenizer", words, "--out", run)
    minna("export", run, "--out", model)


def prepare_data(shared: Path, data: Path) -> None:
    """The official layout, with a train split for the two tasks whose own is not there."""
    for name in (
        "jglue/jcommonsenseqa-v1.1/train-v1.1.json",
        "jglue/jcommonsenseqa-v1.1/valid-v1.1.json",
        "mgsm/exemplars.ja.json",
        "mgsm/mgsm_ja.tsv",
        "xwinograd/jp.tsv",
    ):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared / name, data / name)
    lines = read(shared / "jglue" / "jnli-v1.1" / "valid-v1.1.json").splitlines(keepends=True)
    write_split(data / "jnli-v1.1", "".join(lines[:HELD_APART]), "".join(lines[HELD_APART:]))
    whole = json.loads(read(shared / "jglue" / "jsquad-v1.1" / "valid-v1.1.json"))["data"]
    cut, questions = 0, 0
    while questions < HELD_APART:  # whole articles: no paragraph is on both sides
        questions += sum(len(paragraph["qas"]) for paragraph in whole[cut]["paragraphs"])
        cut += 1
    parts = [json.dumps({"data": part}, ensure_ascii=False) for part in (whole[:cut], whole[cut:])]
    write_split(data / "jsquad-v1.1", *parts)


def write_split(folder: Path, train: str, valid: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train-v1.1.json").write_text(train, encoding="utf-8")
    (folder / "valid-v1.1.json").write_text(valid, encoding="utf-8")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def limit_of(task: str, options: argparse.Namespace) -> int:
    return options.items if task in CHOICE else options.answers


def folder_of(case: Case, options: argparse.Namespace) -> Path:
    """Where a case's prompts are, as lm-eval reads them."""
    mode, task = case
    return options.work / "peer" / f"{mode}-{task}-{limit_of(task, options)}"


def write_prompts(options: argparse.Namespace, case: Case) -> None:
    """`minna requests`, then one task file of lm-eval over them.

    A task of lm-eval has one longest answer, and compat one per question (the right answer's
    length): one file for each length, all asked in one call, where it groups by length itself.
    """
    mode, task = case
    limit = limit_of(task, options)
    out = options.work / "requests" / f"{mode}-{task}-{limit}"
    given = ("--data", options.work / "data", "--tokenizer", options.work / "model")
    minna(
        "requests",
        task,
        "--mode",
        mode,
        "--limit",
        limit,
        *given,
        "--max-length",
        1024,
        "--out",
        out,
    )
    rows = [json.loads(line) for line in read(out / "requests.jsonl").splitlines()]
    folder = folder_of(case, options)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for cap in sorted({row["max_new_tokens"] or 0 for row in rows}):
        name = f"{mode}_{task}_{cap:03d}"
        part = [row for row in rows if (row["max_new_tokens"] or 0) == cap]
        (folder / f"{name}.jsonl").write_text("".join(map(peer_row, part)), encoding="utf-8")
        content = peer_task(name, folder / f"{name}.jsonl", part[0])
        # JSON is YAML
        (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")


def peer_row(row: dict[str, Any]) -> str:
    gold = row["gold"] if row["continuations"] else row["gold"][0]
    kept = {"id": row["doc_id"], "context": row["context"], "gold": gold}
    kept |= {"continuations": row["continuations"]} if row["continuations"] else {}
    return json.dumps(kept, ensure_ascii=False) + "\n"


def peer_task(name: str, rows: Path, first: dict[str, Any]) -> dict[str, Any]:
    metric = "acc" if first["continuations"] else "exact_match"
    common = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
        "num_fewshot": 0,
        "target_delimiter": "",
        "doc_to_text": "context",
        "doc_to_target": "gold",
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
    }
    if first["continuations"]:
        return common | {"output_type": "multiple_choice", "doc_to_choice": "continuations"}
    kwargs = {
        "until": first["until"],
        "max_gen_toks": first["max_new_tokens"],
        "do_sample": False,
    }
    return common | {"output_type": "generate_until", "generation_kwargs": kwargs}


# --- the processes ---------------------------------------------------------------------------


class Worker:
    """A variant in its own process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        side, dtype, way = VARIANTS[name]
        python = sys.executable if side == "minna" else options.peer_python
        command = [python, __file__, "--worker", side, "--dtype", dtype, "--way", way]
        for key in ("items", "answers", "threads", "work"):
            command += [f"--{key}", str(getattr(options, key))]
        apart = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(options.work / "hf")}
        self.log = options.work / f"{side}-{dtype}{f'-{way}' if way else ''}.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=os.environ | apart,
            )
        self.settings = self.read()

    def read(self) -> Run:
        """One line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a process ended with {self.process.wait()}: see {self.log}")
        return json.loads(line)

    def ask(self, case: Case, batch: int, *, limit: int | None = None) -> Run:
        """Let it answer a task."""
        assert self.process.stdin is not None
        order = {"mode": case[0], "task": case[1], "batch": batch, "limit": limit}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.read()


def serve(settings: Run, answer: Callable[[Run], Run]) -> None:
    """Answer orders, one JSON line each; nothing else may reach the parent's pipe."""
    pipe, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(settings), file=pipe, flush=True)
    for line in sys.stdin:
        forget_peak()
        done = answer(json.loads(line))
        print(json.dumps(done | {"peak": peak_bytes() / 2**20}), file=pipe, flush=True)


class Spent:
    """Seconds since it was made, on the wall and of the processor."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def now(self) -> Run:
        """Both."""
        return {"wall": time.perf_counter() - self.wall, "cpu": time.process_time() - self.cpu}


def work_minna(options: argparse.Namespace) -> None:
    """Our side: what `minna evaluate` does between loading the model and writing the report."""
    import torch

    from minna.evaluate.judge import judge, prepare
    from minna.evaluate.plan import plan
    from minna.evaluate.settings import EvaluateSettings
    from minna.evaluate.store import Store
    from minna.evaluate.subject import open_subject

    torch.set_num_threads(options.threads)
    ways = {"device": "cpu", "dtype": options.dtype, "way": options.way}
    backend = open_subject(options.work / "model").backend(EvaluateSettings(**ways))

    def answer(order: Run) -> Run:
        mode, limit = order["mode"], order["limit"] or limit_of(order["task"], options)
        settings = EvaluateSettings(tasks=(order["task"],), mode=mode, limit=limit, **ways)
        planned = plan(settings, data=options.work / "data").tasks[0]
        spent = Spent()
        prepared = prepare(planned, backend=backend, mode=mode, settings=settings, asked="")
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "answers") as store:
            judged = judge(prepared, backend=backend, mode=mode, settings=settings, store=store)
        times = spent.now()
        items = {
            item.id: kept(item.text, item.logprobs) | {"same_tokens": same}
            for item, same in zip(judged.scores.items, same_tokens(prepared, backend), strict=True)
        }
        return times | {"items": items}

    serve({"torch": torch.__version__, **backend.conditions()}, answer)


def same_tokens(prepared: Any, backend: Any) -> Iterator[bool]:
    """Per item, whether our ids are those that lm-eval makes of context and choice together."""
    coder, most = backend.coder, backend.max_length
    for request, encoded in zip(prepared.requests, prepared.encoded, strict=True):
        before = coder.encode(request.context) if request.context else [coder.eos_id]
        if not encoded.candidates:
            yield list(encoded.prompt) == before[-(most - encoded.max_new_tokens) :]
            continue
        joint = [coder.encode(request.context + text) for text in request.continuations]
        if not request.context:
            joint = [[*before, *ids] for ids in joint]
        yield all(
            list(ours.ids) == (before + ids[len(before) :])[-most - 1 :]
            and len(ours.ids) - ours.start == len(ids) - len(before)
            for ours, ids in zip(encoded.candidates, joint, strict=True)
        )


def work_peer(options: argparse.Namespace) -> None:
    """lm-eval's side: HFLM, and `evaluate` over tasks whose prompts are ready."""
    import logging

    import lm_eval
    import torch
    import transformers
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    words = transformers.AutoTokenizer.from_pretrained(options.work / "model")
    lm = HFLM(
        pretrained=str(options.work / "model"),
        tokenizer=words,
        device="cpu",
        dtype={"fp32": "float32", "bf16": "bfloat16"}[options.dtype],
        prefix_token_id=words.eos_token_id,  # what the paper's harness puts before a bare sentence
    )

    def answer(order: Run) -> Run:
        folder = folder_of((order["mode"], order["task"]), options)
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        tasks = manager.load(sorted(file.stem for file in folder.glob("*.yaml")))
        lm.batch_size_per_gpu = order["batch"]
        spent = Spent()
        found = lm_eval.evaluate(lm, tasks, limit=order["limit"], bootstrap_iters=0)
        times, items = spent.now(), {}
        for samples in found["samples"].values():
            for sample in samples:
                heard = [reply[0] for reply in sample["resps"]]
                is_text = isinstance(heard[0], str)
                logprobs = [] if is_text else [score for score, _ in heard]
                items[sample["doc"]["id"]] = kept(heard[0] if is_text else "", logprobs)
        return times | {"items": items}

    told = {"lm_eval": lm_eval.__version__, "transformers": transformers.__version__}
    attention = lm.model.config._attn_implementation  # noqa: SLF001 - the only place that tells
    serve({"torch": torch.__version__, **told, "attention": attention}, answer)


def kept(text: str, logprobs: Any) -> Run:
    """What an item was answered: which choice, or the words up to the end of text."""
    if not logprobs:
        return {"prediction": text.split("</s>", maxsplit=1)[0].strip(), "logprobs": []}
    return {"prediction": logprobs.index(max(logprobs)), "logprobs": logprobs}


def forget_peak() -> None:
    """From here on the peak is that of the task at hand, where the system can do that."""
    if Path("/proc/self/clear_refs").is_file():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


# --- the tables ------------------------------------------------------------------------------


class Results:
    """All runs, by case and variant."""

    def __init__(self, cases: list[Case]) -> None:
        self.runs: dict[tuple[Case, str], list[Run]] = {}
        self.cases = cases

    def variants(self, case: Case) -> list[str]:
        """Who was asked, of lm-eval's batch sizes only the faster."""
        names = [name for found, name in self.runs if found == case]
        for dtype in ("fp32", "bf16"):
            rivals = [name for name in names if name.startswith(f"lm-eval {dtype}")]
            rivals.sort(key=lambda name: (-len(self.runs[case, name]), self.middle(case, name)))
            names = [name for name in names if name not in rivals[1:]]
        return names

    def peer(self, case: Case, dtype: str) -> str:
        """lm-eval in that type."""
        return next(n for n in self.variants(case) if n.startswith(f"lm-eval {dtype}"))

    def middle(self, case: Case, name: str, what: str = "wall") -> float:
        """Median over rounds."""
        return statistics.median(run[what] for run in self.runs[case, name])

    def ratios(self, case: Case, name: str) -> list[float]:
        """How many times as long lm-eval took in the same type, by round."""
        dtype = "bf16" if "bf16" in name else "fp32"
        both = zip(self.runs[case, self.peer(case, dtype)], self.runs[case, name], strict=True)
        return [theirs["wall"] / ours["wall"] for theirs, ours in both]

    def items(self, case: Case, name: str) -> dict[str, Run]:
        """Answers, which are the same in every round."""
        return self.runs[case, name][-1]["items"]


def speeds(results: Results) -> list[str]:
    """Medians, ranges, ratios by round, memory."""
    head = (
        "| rules | task | n | variant | s, median (range) | CPU s | lm-eval / it (range) "
        "| aim | peak MB |"
    )
    lines = [head, "|---" * 9 + "|"]
    for case in results.cases:
        for name in results.variants(case):
            runs = results.runs[case, name]
            spent = [run["wall"] for run in runs]
            ratios = results.ratios(case, name)
            ours = name in ("minna fp32", "minna bf16")
            aim = TARGETS.get((*case, name.removeprefix("minna "))) if ours else None
            lines.append(
                f"| {' | '.join(case)} | {len(runs[0]['items'])} | {name} "
                f"| {statistics.median(spent):.2f} ({min(spent):.2f}-{max(spent):.2f}) "
                f"| {results.middle(case, name, 'cpu'):.2f} "
                f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) "
                f"| {'' if aim is None else f'{aim:g}'} "
                f"| {max(run['peak'] for run in runs):.0f} |"
            )
    return lines


def answers(results: Results) -> list[str]:
    """Whose answers are whose: the fast way and the plain, ours and lm-eval's, fp32 and bf16."""
    head = (
        "| rules | task | n | fp32 as --plain | fp32 as lm-eval | of same tokens "
        "| bf16 not as fp32: minna | lm-eval | largest logprob change: minna | lm-eval |"
    )
    lines = [head, "|---" * 10 + "|"]
    for case in results.cases:
        ours, half = (results.items(case, f"minna {dtype}") for dtype in ("fp32", "bf16"))
        peer, peer_half = (results.items(case, results.peer(case, d)) for d in ("fp32", "bf16"))
        plain = results.items(case, "minna --plain fp32") if case[0] == "compat" else None
        alike = {name: item for name, item in ours.items() if item["same_tokens"]}
        lines.append(
            f"| {' | '.join(case)} | {len(ours)} "
            f"| {'' if plain is None else agreeing(ours, plain)} | {agreeing(ours, peer)} "
            f"| {agreeing(alike, peer)} of {len(alike)} "
            f"| {len(ours) - agreeing(ours, half)} | {len(peer) - agreeing(peer, peer_half)} "
            f"| {largest(ours, half)} | {largest(peer, peer_half)} |"
        )
    return lines


def agreeing(ones: dict[str, Run], others: dict[str, Run]) -> int:
    return sum(item["prediction"] == others[name]["prediction"] for name, item in ones.items())


def largest(ones: dict[str, Run], others: dict[str, Run]) -> str:
    """Largest difference of a log-probability, "" where there are none."""
    pairs = ((item["logprobs"], others[name]["logprobs"]) for name, item in ones.items())
    gaps = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return f"{max(gaps):.3f}" if gaps else ""


if __name__ == "__main__":
    main()
