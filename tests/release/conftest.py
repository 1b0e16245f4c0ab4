"""One toy chain, its report, and the release of both, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.toy_chain import Chain, make_chain

from minna.evaluate import REFERENCES, EvaluateSettings, evaluate
from minna.release import ReleaseSettings, release


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return make_chain(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def report(chain: Chain) -> Path:
    settings = EvaluateSettings(references=REFERENCES)
    return evaluate(
        chain.model, corpus=chain.corpus, out=chain.model.parent / "report", settings=settings
    )


@pytest.fixture(scope="session")
def released(chain: Chain, report: Path) -> Path:
    settings = ReleaseSettings(name="toy-ja", author="国立おもちゃ研究所", legal="confirmed")
    return release(
        chain.model, reports=[report], out=chain.model.parent / "released", settings=settings
    )
