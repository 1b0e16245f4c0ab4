"""One toy chain and its report, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.toy_chain import Chain, make_chain

from minna.evaluate import REFERENCES, EvaluateSettings, evaluate


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return make_chain(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="session")
def report(chain: Chain) -> Path:
    settings = EvaluateSettings(references=REFERENCES)
    return evaluate(
        chain.model, corpus=chain.corpus, out=chain.model.parent / "report", settings=settings
    )
