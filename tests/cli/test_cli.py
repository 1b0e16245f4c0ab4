"""The command line: fast to start, clear when it is called wrongly, true to the README."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from tests.cli.toy_track import write_track
from tests.conftest import ROOT
from tests.evaluate.made_data import write_all
from tests.test_chain import FAST
from tests.toy_chain import sentences
from tests.toy_pictures import make_pairs, make_tower
from tests.toy_speech import speak

from minna.cli.main import main
from minna.corpus.audio import store_clip

CLIP = " init.image=TOWER model.pixels=0 stream.sources=[] stream.views=1 train.tokens_per_step=384 train.micro_batch_rows=16"
SPEECH = [
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "model.ffn=48",
    "model.conv_widths=[12,12,12,12,12,12,12]",
    "model.position_groups=4",
    "stream.row_tokens=500",
    "stream.longest=8.0",
    "train.steps=4",
    "train.tokens_per_step=500",
    "train.compile=off",
    "train.device=cpu",
    "train.evaluate_every=4",
    "train.save_every=4",
    "evaluate.valid_documents=4",
]
SPOKEN = " ".join(
    [
        *(
            "corpus.limit=24",
            "corpus.valid=0.2",
            "corpus.test=0.2",
            "corpus.workers=1",
            "corpus.speakers=6",
        ),
        *("labels-1.clusters=8", "labels-1.sample=2000", "labels-2.layer=1", "labels-2.clusters=8"),
        *(
            "labels-2.sample=1000",
            "hubert-1-run.objective.clusters=8",
            "hubert-run.objective.clusters=8",
        ),
        *(f"{run}.schedule.warmup=1" for run in ("hubert-1-run", "hubert-run")),
        *(
            f"{run}.{one}"
            for run in ("hubert-1-run", "hubert-run", "recogniser-run")
            for one in SPEECH
        ),
    ]
)
PPO = " stream.row_tokens=96 train.tokens_per_step=768"
VERBS = [
    "corpus mix", "corpus join", "corpus filter", "label translate", "label caption", "label clip-score", "duel",
    "classify", "search", "embed",
    "quickstart", "pipeline", "corpus build", "corpus cat", "tokenizer train", "tokenizer audit",
    "list", "speedrun", "plan", "train", "export", "evaluate", "compare", "requests", "release", "generate", "chat", "inspect",
]  # fmt: skip


def run(command, monkeypatch, capsys):
    """Call `minna ...` in this process; return (exit status, stdout, stderr)."""
    monkeypatch.setenv("MINNA_ALLOCATOR", "system")
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    status = 0
    try:
        main()
    except SystemExit as error:
        status = error.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_importing_minna_and_asking_for_help_load_nothing_heavy():
    heavy = ("torch", "numpy", "pyarrow", "transformers", "matplotlib", "sentencepiece", "pydantic")
    code = (
        "import sys, contextlib, io, minna, minna.cli.main as m\n"
        "sys.argv = ['minna', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit): m.main()\n"
        "assert 'quickstart' in out.getvalue()\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_a_real_example(verb, monkeypatch, capsys):
    status, out, _ = run(f"minna {verb} --help", monkeypatch, capsys)
    assert status == 0
    assert f"minna {verb}" in re.sub(r"\s+", " ", out).partition("Example")[2]


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("minna train nosuch --corpus a --tokenizer b --out c", 2, "no recipe 'nosuch'"),
        (
            "minna train toy-gptneox --corpus a --tokenizer b --out c",
            2,
            "did you mean 'toy-gpt-neox'",
        ),
        (
            "minna train toy-gpt2 --corpus a --tokenizer b --out c train.stps=1",
            2,
            "did you mean 'steps'",
        ),
        ("minna train toy-gpt2 --corpus nosuch --tokenizer b --out c", 1, "does not exist"),
        ("minna inspect nosuch", 1, "does not exist"),
        ("minna export nosuch --out x", 1, "does not exist"),
        ("minna pipeline nosuch --out x", 2, "no pipeline 'nosuch'"),
        ("minna generate nosuch 私は", 1, "nosuch"),
        ("minna list cakes", 2, "lists: recipes, pipelines"),
        ("minna nosuchverb", 2, "No such command"),
        ("minna train toy-gpt2", 2, "training needs --corpus and --out"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_without_a_traceback(
    command, status, words, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(command, monkeypatch, capsys)
    assert code == status
    assert words in out + err
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_list_prints_recipes_for_people_and_for_machines(monkeypatch, capsys):
    status, out, _ = run("minna list --json", monkeypatch, capsys)
    assert status == 0 and "toy-gpt-neox" in json.loads(out)
    _, out, _ = run("minna list recipes toy-gpt-neox", monkeypatch, capsys)
    assert 'name = "toy-gpt-neox"' in out and "[model]" in out
    _, out, _ = run("minna list pipelines quickstart --json", monkeypatch, capsys)
    assert json.loads(out)["name"] == "quickstart"


def commands(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_both_readmes_give_the_same_commands_and_every_link_leads_somewhere():
    assert commands("README.md") == commands("README.ja.md")
    for readme in ("README.md", "README.ja.md"):
        text = (ROOT / readme).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / target).exists(), f"{readme} -> {target}"


def test_the_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands("README.md"):
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in makefile


def test_the_commands_of_the_readme_do_what_it_says(tmp_path, monkeypatch, capsys):
    """Each in its order, at toy size: only the source of the text and the steps are made small."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TEXTS").mkdir()
    write_all(tmp_path / "DATA", scored=3)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "TEXTS" / "a.txt").write_text("\n".join(sentences(1500, seed=1)), encoding="utf-8")
    work = (
        "題\n作者\n\n"
        "吾輩《わがはい》は猫である。名前はまだ無い［＃「無い」に傍点］。\n"
        + "".join(f"{line}\n" for line in sentences(30, seed=2))
        + "\n底本：「本」\n"
    )
    (tmp_path / "work.txt").write_bytes(work.encode("cp932"))
    subprocess.run([sys.executable, "-m", "tarfile", "-c", "aozora.tar.xz", "work.txt"], check=True)
    write_track(tmp_path, name="tiny")
    make_pairs(tmp_path / "shapes")
    (tmp_path / "shapes" / "pictures").rename(tmp_path / "PICTURES")
    make_tower(tmp_path / "shapes").rename(tmp_path / "TOWER")
    (tmp_path / "RECORDINGS").mkdir()
    (tmp_path / "RECORDINGS" / "talk.flac").write_bytes(store_clip(speak(["カサ", "ミ"])[0]))
    small = " ".join(FAST)
    replaced = {
        "corpus build emoji": "corpus build pictures --from PICTURES --licence CC0-1.0 --valid 0.2 --test 0.2 near=off",
        "--vocab-size 2048": "--vocab-size 350",
        "corpus build tatoeba": "corpus build local --from TEXTS --documents line",
        "corpus build local --from TEXTS ": "corpus build local --from TEXTS --documents line ",
        "--vocab-size 4096": "--vocab-size 420",
        "--track cpu-10min-tatoeba": "--track tiny.toml",
        "corpus.path=TEXTS": f"corpus.path=TEXTS {SPOKEN}",
    }
    done = 0
    for line in commands("README.md"):
        command = line.replace(".venv/bin/", "")
        for old, new in replaced.items():
            command = command.replace(old, new)
        if command.startswith("torchrun"):
            start_ranks(
                re.sub(r" train\.steps=\d+", "", command) + f" {small} train.micro_batch_rows=4"
            )
            continue
        if not command.startswith("minna ") or "quickstart" in command:
            continue
        if command.startswith("minna train"):
            own = " ".join(SPEECH) if "laptop-ctc" in command else small
            command = re.sub(r" train\.steps=\d+", "", command) + " " + own
            # rows of pairs are twice as long; in twelve steps no reward model learns anything
            command += " train.micro_batch_rows=4" * ("toy-reward" in command)
            command += PPO * ("toy-ppo" in command)
            command += CLIP * ("emoji-clip" in command)
        status, out, err = run(command, monkeypatch, capsys)
        assert status == 0, f"{command}\n{err}"
        assert out.strip()
        done += 1
    assert done >= 20
    text = run("minna corpus cat build/aozora --limit 1", monkeypatch, capsys)[1]
    assert "吾輩は猫である。" in text and "底本" not in text


def start_ranks(command):
    arguments = [sys.executable, "-m", "torch.distributed.run", *command.split()[1:]]
    environment = {**os.environ, "MINNA_ALLOCATOR": "system", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), environment.get("PYTHONPATH", "")]
    )
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained:") == 1


@pytest.mark.full
def test_the_quickstart_runs_for_real(tmp_path):
    """Needs the package index (67 MB) and about ten minutes."""
    command = [
        sys.executable,
        "-m",
        "minna.cli.main",
        "quickstart",
        "--out",
        str(tmp_path / "q"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    figures = result["bits_per_byte"]
    assert figures["this model"] < figures["kneser-ney"] < figures["xz"]
    assert len(result["samples"]) == 3 and all(result["samples"].values())
