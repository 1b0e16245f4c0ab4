"""Run every arm and seed of settings.toml, and say of each claim whether it was shown.

python -m experiments.ppo_proof.run [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from experiments.ppo_proof.world import Course, arms, base_model, parts_of, run, settings

_COLUMNS = {
    "objective/scores": "score",
    "objective/kl": "KL",
    "answers/tokens": "tokens",
    "answers/different": "different",
    "policy/entropy": "entropy",
    "val/explained_variance": "explained",
}
_FIRST, _LAST = slice(0, 5), slice(-5, None)


def main() -> None:
    """Run it and print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path)
    out: Path | None = asked.parse_args().out
    torch.set_num_threads(1)
    said = settings()
    courses: dict[tuple[str, int], Course] = {}
    print(f"| arm | seed | score, first 5 | {' | '.join(_COLUMNS.values())} | seconds |")
    print(f"|---|---|---|{'---|' * (len(_COLUMNS) + 1)}")
    for seed in said["seeds"]:
        base = base_model(said, seed=seed)
        for name, arm in arms(said):
            start = time.monotonic()
            course = run(parts_of(base, said, arm, seed=seed), said, iterations=said["iterations"])
            courses[name, seed] = course
            last = " | ".join(f"{course.mean(key, _LAST):.3f}" for key in _COLUMNS)
            first = course.mean("objective/scores", _FIRST)
            print(
                f"| {name} | {seed} | {first:.3f} | {last} | {time.monotonic() - start:.0f} |",
                flush=True,
            )
    claims = judge(courses, said)
    print()
    for claim, holds in claims.items():
        print(f"- {'shown' if holds else 'NOT shown'}: {claim}")
    worst = max(one["val/first_ratio_error"] for c in courses.values() for one in c.figures)
    print(f"- largest |ratio - 1| in a first update: {worst:g}")
    if out is not None:
        content = {f"{name}/{seed}": course.figures for (name, seed), course in courses.items()}
        out.write_text(json.dumps({"claims": claims, "courses": content}), encoding="utf-8")


def judge(courses: dict[tuple[str, int], Course], said: dict[str, Any]) -> dict[str, bool]:
    """Each claim of settings.toml, of every seed."""
    seeds, limits = said["seeds"], said["claims"]
    target = said["arms"]["adaptive"]["kl_target"]

    def last(arm: str, seed: int, name: str) -> float:
        return courses[arm, seed].mean(name, _LAST)

    def rise(seed: int) -> float:
        course = courses["adaptive", seed]
        return course.mean("objective/scores", _LAST) - course.mean("objective/scores", _FIRST)

    kl, tokens = "objective/kl", "answers/tokens"
    return {
        f"adaptive: the score rises by more than {limits['rise']} (every seed)": all(
            rise(seed) > limits["rise"] for seed in seeds
        ),
        f"adaptive: KL ends at or under {limits['kl_over_target']} x {target} (every seed)": all(
            last("adaptive", seed, kl) <= limits["kl_over_target"] * target for seed in seeds
        ),
        f"pinned: KL ends at or under {limits['pinned_kl']} (every seed)": all(
            last("pinned", seed, kl) <= limits["pinned_kl"] for seed in seeds
        ),
        "free: KL ends above adaptive's (every seed)": all(
            last("free", seed, kl) > last("adaptive", seed, kl) for seed in seeds
        ),
        "free: answers end shorter than those of the pinned arm (every seed)": all(
            last("free", seed, tokens) < last("pinned", seed, tokens) for seed in seeds
        ),
    }


if __name__ == "__main__":
    main()
