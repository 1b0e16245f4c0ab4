"""A task's data set as the Hugging Face Hub keeps it: parquet files, never a repository's code.

Several of the harness's data sets were Python scripts that the Hub no longer runs; what it made of
them is kept as parquet on the branch `refs/convert/parquet`, under CONFIG/SPLIT/0000.parquet, and
that is all that is read here. The branch is resolved to its commit, which stands in the report.
Tested against recorded answers only: no machine that built minna has spoken to the Hub itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from minna.corpus.sources.hub import Hub, fetch_file
from minna.errors import DataError
from minna.evaluate.task import Chosen

REVISION = "refs/convert/parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Files of the Hub in the user's own cache.

    Attributes:
        scored: of the split that is scored.
        shots: of the split for examples; empty where the data set has none.
        base: the folder of the commit in the cache.
        prefix: what a report puts in front of their names: repository and commit.
    """

    scored: list[Path]
    shots: list[Path]
    base: Path
    prefix: str


def fetch(chosen: Chosen) -> Fetched:
    """Download a task's data set, or find it in the cache.

    Raises:
        DataError: it is not there, or cannot be had.
    """
    source = chosen.task.source
    hub = Hub(
        source.hub,
        revision=REVISION,
        files=f"{source.hub_config}/*.parquet",
        field="text",
        documents="line",
        licence=source.licence,
        attribution=source.title,
    )
    commit = str(hub.identity()["commit"])
    names = [shard.name for shard in hub.shards()]
    scored = _of_split(names, split=f"{source.hub_config}/{source.hub_scored}")
    shots = _of_split(names, split=f"{source.hub_config}/{source.hub_shots}")
    if not scored:
        raise DataError(
            f"{chosen.task.name}: hub:{source.hub} has no split {source.hub_scored!r} of "
            f"{source.hub_config!r} (it has {', '.join(names)})",
            remedy=f"get {source.title} from {source.url} and give its folder with --data",
        )
    paths = {name: fetch_file(source.hub, name=name, commit=commit) for name in [*scored, *shots]}
    first = paths[scored[0]]
    return Fetched(
        scored=[paths[name] for name in scored],
        shots=[paths[name] for name in shots],
        base=first.parents[len(PurePosixPath(scored[0]).parts) - 1],
        prefix=f"hub:{source.hub}@{commit[:12]}/",
    )


def _of_split(names: list[str], *, split: str) -> list[str]:
    return [name for name in names if PurePosixPath(name).parent == PurePosixPath(split)]
