"""A release is whole, traceable and checked, or it is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.toy_chain import Chain, make_chain, make_model, make_run, run_settings
from typer.testing import CliRunner

from minna import artifact
from minna.artifact.verify import verify
from minna.cli.main import app
from minna.cli.verbs import register
from minna.errors import ArtifactError
from minna.evaluate import EvaluateSettings, evaluate
from minna.release import PushError, PushSettings, ReleaseSettings, plan, push, release
from minna.release.licences import LicenceError
from minna.runtime.load import LoadedModel, load_model


@pytest.fixture
def no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minna.release.check.transformers_is_there", lambda: False)


def provenance_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "provenance.json").read_text(encoding="utf-8"))


def test_the_folder_is_complete_intact_and_loads(released: Path, chain: Chain) -> None:
    manifest = verify(released)
    assert manifest.kind == "release"
    names = set(artifact.read_manifest(chain.model).files)
    written = {"README.md", "LICENSE", "NOTICE", "provenance.json", "SHA256SUMS"}
    assert set(manifest.files) == names | written
    ours, theirs = load_model(released), load_model(chain.model)
    assert ours.config == theirs.config
    assert ours.tokenizer.encode("私は") == theirs.tokenizer.encode("私は")


def test_checksums_cover_every_file_in_the_form_sha256sum_reads(released: Path) -> None:
    lines = (released / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    assert all(line[64:66] == "  " for line in lines)
    files = {file.name for file in released.iterdir()} - {"SHA256SUMS", "minna.json"}
    assert set(sums) == files
    for name, digest in sums.items():
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == digest


def test_provenance_goes_back_to_the_text(released: Path, chain: Chain, report: Path) -> None:
    content = provenance_of(released)
    assert [link["kind"] for link in content["chain"]] == ["model", "run", "corpus", "tokenizer"]
    assert [link["kind"] for link in content["evaluation"]] == ["report"]
    by_kind = {link["kind"]: link for link in [*content["chain"], *content["evaluation"]]}
    places = {"model": chain.model, "run": chain.run, "corpus": chain.corpus, "report": report}
    for kind, place in places.items():
        digest = hashlib.sha256((place / "minna.json").read_bytes()).hexdigest()
        assert by_kind[kind]["sha256"] == digest
    run = by_kind["run"]
    assert {p["sha256"] for p in run["parents"]} == {
        by_kind["corpus"]["sha256"],
        by_kind["tokenizer"]["sha256"],
    }
    assert run["settings"]["optim"]["lr"] == 0.004
    assert run["counts"]["tokens"] == {"value": 5734400.0, "unit": "tokens"}
    assert by_kind["corpus"]["licences"][0]["licence"] == "CC0-1.0"


def test_nothing_published_names_a_place_on_this_machine(released: Path, chain: Chain) -> None:
    for file in released.iterdir():
        assert chain.model.parent.as_posix().encode() not in file.read_bytes(), file.name


def test_it_is_checked_against_transformers_and_says_so(released: Path) -> None:
    pytest.importorskip("transformers")
    assert artifact.read_manifest(released).counts["checked_strings"].value == 6
    check = provenance_of(released)["checked_with_transformers"]
    assert check["ids_equal"] == check["strings"] == 6
    assert check["largest_difference"] < 1e-4
    assert f"transformers {check['version']}" in (released / "README.md").read_text("utf-8")


def test_a_folder_that_transformers_reads_differently_is_refused(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")

    def slightly_wrong(*words: Any, **settings: Any) -> LoadedModel:
        model = load_model(*words, **settings)
        model.decoder.embed.weight.mul_(1.05)
        return model

    monkeypatch.setattr("minna.release.check.load_model", slightly_wrong)
    with pytest.raises(ArtifactError, match="other logits"):
        release(chain.model, reports=[], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_transformers_reads_differently_is_refused(
    chain: Chain, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    parents = [artifact.parent_of(chain.run, role="run")]
    with artifact.writing(tmp_path / "m", kind="model", settings={}, parents=parents) as draft:
        for name in artifact.read_manifest(chain.model).files:
            shutil.copyfile(chain.model / name, draft.path / name)
        file = draft.path / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["model"]["merges"] = content["model"]["merges"][:5]
        file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ArtifactError, match="transformers reads"):
        release(tmp_path / "m", reports=[], out=tmp_path / "out")


@pytest.mark.usefixtures("no_check")
def test_without_transformers_it_says_that_nothing_was_checked(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(chain.model, reports=[], out=tmp_path / "out")
    assert "minna[transformers]" in capsys.readouterr().err
    assert artifact.read_manifest(tmp_path / "out").counts["checked_strings"].value == 0
    assert "transformers での動作は確認していません" in (tmp_path / "out" / "README.md").read_text(
        "utf-8"
    )


@pytest.mark.usefixtures("no_check")
def test_the_same_release_is_not_made_twice_and_another_name_is(
    chain: Chain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    release(chain.model, reports=[], out=out)
    before = (out / "minna.json").read_bytes()
    release(chain.model, reports=[], out=out)
    assert (out / "minna.json").read_bytes() == before
    assert "already" in capsys.readouterr().err
    release(chain.model, reports=[], out=out, settings=ReleaseSettings(name="other"))
    assert "# other" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_check")
def test_writing_a_card_never_touches_the_model_dir(chain: Chain, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in chain.model.iterdir()}
    release(chain.model, reports=[], out=tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text("{}", encoding="utf-8")
    assert {file.name: file.read_bytes() for file in chain.model.iterdir()} == before


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    (chain.model / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged"):
        release(chain.model, reports=[], out=tmp_path / "out")


def test_a_lost_or_rebuilt_ancestor_is_refused(tmp_path: Path) -> None:
    chain = make_chain(tmp_path)
    chain.corpus.rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"provenance .* is broken.*corpus"):
        release(chain.model, reports=[], out=tmp_path / "out")
    manifest = artifact.read_manifest(tmp_path / "elsewhere")
    artifact.write_manifest(
        tmp_path / "elsewhere", manifest.model_copy(update={"created": "2020-01-01"})
    )
    (tmp_path / "elsewhere").rename(chain.corpus)
    with pytest.raises(ArtifactError, match="made again"):
        release(chain.model, reports=[], out=tmp_path / "out")


def test_a_report_of_another_model_is_refused(chain: Chain, tmp_path: Path) -> None:
    other = make_model(
        tmp_path / "other", run=chain.run, tokenizer=chain.tokenizer, family="gpt2", seed=4
    )
    theirs = evaluate(
        other,
        corpus=chain.corpus,
        out=tmp_path / "theirs",
        settings=EvaluateSettings(limit=5, resamples=10),
    )
    with pytest.raises(ArtifactError, match="another model"):
        release(chain.model, reports=[theirs], out=tmp_path / "out")


def test_a_changed_report_is_refused(chain: Chain, report: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(report, forged)
    file = forged / "report.json"
    file.write_text(file.read_text("utf-8").replace("1.", "0.", 1), encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged"):
        release(chain.model, reports=[forged], out=tmp_path / "out")


def test_what_is_no_model_is_refused(chain: Chain, report: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="minna export"):
        release(chain.run, reports=[], out=tmp_path / "out")
    with pytest.raises(ArtifactError, match="a report is needed"):
        release(chain.model, reports=[chain.corpus], out=tmp_path / "out")


def model_with(chain: Chain, root: Path, changes: dict[str, Any]) -> Path:
    run = make_run(
        root / "run",
        corpus=chain.corpus,
        tokenizer=chain.tokenizer,
        settings=run_settings() | changes,
    )
    return make_model(root / "model", run=run, tokenizer=chain.tokenizer, family="gpt_neox")


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"licence": ""}, {}, "not known"),
        ({}, {"licence": "llama2"}, "--licence-file"),
        ({"licence": "apache-2"}, {}, "did you mean 'apache-2.0'"),
        ({"init": {"from": "base"}}, {}, "inherited"),
        ({"init": {"from": "base"}, "licence": "llama2"}, {"licence": "apache-2.0"}, "stay under"),
        ({"init": {"from": "base"}, "licence": "llama2"}, {}, "text of the licence 'llama2'"),
        ({}, {"licence": "x", "licence_file": "missing.txt"}, "cannot be read"),
    ],
)
def test_a_licence_that_is_not_known_is_refused_with_a_remedy(
    chain: Chain,
    tmp_path: Path,
    changes: dict[str, Any],
    settings: dict[str, Any],
    said: str,
) -> None:
    model = model_with(chain, tmp_path, changes)
    with pytest.raises(LicenceError, match=said) as caught:
        release(model, reports=[], out=tmp_path / "out", settings=ReleaseSettings(**settings))
    assert "--licence" in caught.value.remedy or caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_check")
def test_the_bundled_licences_are_whole(chain: Chain, released: Path, tmp_path: Path) -> None:
    apache = (released / "LICENSE").read_text(encoding="utf-8")
    assert "END OF TERMS AND CONDITIONS" in apache
    settings = ReleaseSettings(licence="MIT", author="山田花子")
    release(chain.model, reports=[], out=tmp_path / "out", settings=settings)
    mit = (tmp_path / "out" / "LICENSE").read_text(encoding="utf-8")
    year = artifact.read_manifest(chain.model).created[:4]
    assert f"Copyright (c) {year} 山田花子" in mit and "@" not in mit
    assert mit.rstrip().endswith("SOFTWARE.")


class Hub:
    """A stand-in for HfApi that remembers."""

    def __init__(self, *, refuses: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refuses = refuses

    def create_repo(self, repo_id: str, **rest: Any) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.calls.append(("create_repo", {"repo_id": repo_id, **rest}))
        return repo_id

    def upload_folder(self, **rest: Any) -> str:
        self.calls.append(("upload_folder", rest))
        return "commit 1"


def test_pushing_creates_a_private_repository_and_uploads_the_folder(released: Path) -> None:
    hub = Hub()
    done = push(released, settings=PushSettings(repo="someone/toy-ja"), api=hub)
    (first, made), (second, sent) = hub.calls
    assert (first, second) == ("create_repo", "upload_folder")
    assert made == {"repo_id": "someone/toy-ja", "private": True, "exist_ok": True}
    assert sent["folder_path"] == released and sent["create_pr"] is False
    assert sent["commit_message"] == "Release toy-ja"
    assert done.answer == "commit 1"
    hub = Hub()
    settings = PushSettings(repo="a/b", visibility="public", way="pull-request")
    push(released, settings=settings, api=hub)
    assert hub.calls[0][1]["private"] is False and hub.calls[1][1]["create_pr"] is True


def test_the_double_and_the_real_api_take_the_same_words() -> None:
    import inspect

    from huggingface_hub import HfApi

    upload = inspect.signature(HfApi.upload_folder).parameters
    wanted = {"repo_id", "folder_path", "commit_message", "create_pr", "ignore_patterns"}
    assert wanted <= set(upload)
    assert {"repo_id", "private", "exist_ok"} <= set(
        inspect.signature(HfApi.create_repo).parameters
    )


def test_what_the_hub_refuses_is_an_error_with_a_remedy(released: Path) -> None:
    hub = Hub(refuses=OSError("no token"))
    with pytest.raises(PushError, match="no token") as caught:
        push(released, settings=PushSettings(repo="a/b"), api=hub)
    assert "hf auth login" in caught.value.remedy


def test_only_an_intact_release_is_pushed(chain: Chain, released: Path, tmp_path: Path) -> None:
    hub = Hub()
    with pytest.raises(ArtifactError, match="a release is needed"):
        push(chain.model, settings=PushSettings(repo="a/b"), api=hub)
    copy = tmp_path / "copy"
    shutil.copytree(released, copy)
    (copy / "README.md").write_text("changed", encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged"):
        push(copy, settings=PushSettings(repo="a/b"), api=hub)
    assert hub.calls == []
    with pytest.raises(ValueError, match="repo"):
        PushSettings(repo="no-owner")


def test_the_plan_is_what_is_then_written(chain: Chain, report: Path, released: Path) -> None:
    files = plan(
        chain.model, reports=[report], out=released.parent / "x", settings=ReleaseSettings()
    )
    assert {file.name for file in files} == {file.name for file in released.iterdir()}
    assert not (released.parent / "x").exists()


def test_the_command_line_plans_and_releases(
    chain: Chain, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minna.release.check.transformers_is_there", lambda: False)
    hub = Hub()
    monkeypatch.setattr("minna.release.hub._api", lambda: hub)
    if not app.registered_commands:
        register(app)

    def program(*words: object) -> Any:
        return CliRunner().invoke(app, [str(word) for word in words])

    out = tmp_path / "out"
    call = ["release", chain.model, "--report", report, "--out", out, "--confirm-legal"]
    planned = program(*call, "--push", "someone/toy", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "model.safetensors" in planned.stdout and "private" in planned.stdout
    assert not out.exists() and hub.calls == []
    done = program(*call, "--push", "someone/toy", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pushed"] == {"repo": "someone/toy", "answer": "commit 1"}
    assert 'name = "someone/toy"' in (out / "README.md").read_text(encoding="utf-8")
    assert len(hub.calls) == 2
    wrong = program(*call, "--push", "toy")
    assert "--repo" in str(wrong.exception) and wrong.exit_code != 0


def test_the_modern_family_is_released_with_its_shape_on_the_card(
    chain: Chain, tmp_path: Path
) -> None:
    model = make_model(tmp_path / "model", run=chain.run, tokenizer=chain.tokenizer, family="qwen3")
    out = release(model, reports=[], out=tmp_path / "out")
    card = (out / "README.md").read_text(encoding="utf-8")
    for row in ("| architecture | Qwen3 |", "| key-value heads | 2 |", "| head size | 16 |"):
        assert row in card
    assert "| activation | SwiGLU |" in card
    checked = provenance_of(out)
    assert checked["chain"][0]["kind"] == "model"
