"""The loops that bench_speech.py compares with: transformers' models, clips padded to the longest.

What people write: a permutation of clips (or clips sorted by length, batches of neighbours drawn in
any order), a padded batch with its attention mask, masks by transformers' own function, bf16
autocast over fp32 weights, fused AdamW. HuBERT's objective is no part of transformers: frames that
are hidden (and the others, where the recipe says so) go through a projection, cosines with cluster
vectors are divided by 0.1, cross-entropy. wav2vec 2.0's is Wav2Vec2ForPreTraining with negatives by
transformers' own function.

Both add the penalty of loud features, and the factor on the gradient of the convolutions, by a
hook: transformers has neither. Samples are decoded already, 16 bits each, mapped from a file. Runs
in the peer's environment, which knows nothing of minna.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import HubertModel, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2 import modeling_wav2vec2

from machine import peak_bytes

theirs: Any = modeling_wav2vec2
RATE, FIELD, HOP = 16_000, 400, 320
UNKNOWN = -100
HEAD = "head.safetensors"


class Clips:
    """Samples and labels that bench_speech.py wrote for both sides."""

    def __init__(self, folder: Path, *, longest: int) -> None:
        self.samples = np.load(folder / "samples.npy", mmap_mode="r")
        self.starts = np.load(folder / "starts.npy")
        self.labels = np.load(folder / "labels.npy", mmap_mode="r")
        self.label_starts = np.load(folder / "label-starts.npy")
        self.lengths = np.minimum(np.diff(self.starts), longest)

    def batch(self, numbers: Any) -> dict[str, Tensor]:
        """Clips padded to the longest of them, where they are there, labels (-100 behind)."""
        lengths = self.lengths[numbers]
        samples = np.zeros((len(numbers), lengths.max()), np.float32)
        there = np.zeros(samples.shape, np.int64)
        labels = np.full((len(numbers), frames_of(lengths.max())), UNKNOWN, np.int64)
        for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            start, first = self.starts[number], self.label_starts[number]
            samples[row, :length] = self.samples[start : start + length].astype(np.float32) / 32768
            there[row, :length] = 1
            frames = frames_of(length)
            labels[row, :frames] = self.labels[first : first + frames]
        arrays = {"samples": samples, "there": there, "labels": labels}
        return {name: torch.from_numpy(one) for name, one in arrays.items()}


def frames_of(samples: int) -> int:
    """Frames that so many samples have."""
    return int((samples - FIELD) // HOP + 1)


def batches_of(lengths: Any, *, rows: int, order: str, seed: int) -> Iterator[Any]:
    """Numbers of the clips of each batch, without end: "random", or "sorted" by length."""
    generator = np.random.default_rng(seed)
    while True:
        clips = generator.permutation(len(lengths))
        if order == "sorted":
            clips = clips[np.argsort(lengths[clips], kind="stable")]
        batches = [clips[at : at + rows] for at in range(0, len(clips) - rows + 1, rows)]
        if order == "sorted":
            generator.shuffle(batches)
        yield from batches


class Peer(nn.Module):
    """A model of transformers and what stands around it in a loop.

    Args:
        plan: what both sides were told.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__()
        self.plan = plan
        self.loud: Tensor | None = None
        self.hub: Any = None

    def listen(self, extractor: nn.Module) -> None:
        """Scale the gradient of what convolutions say, and note how loud it is."""

        def hook(_: nn.Module, __: Any, said: Tensor) -> None:
            if said.requires_grad:
                said.register_hook(lambda gradient: gradient * self.plan["feature_gradient"])
            self.loud = said.float().square().mean(1)

        extractor.register_forward_hook(hook)

    def loudness(self, there: Tensor) -> Tensor:
        """Mean square of what the convolutions said, over the frames that are there."""
        assert self.loud is not None, "the model was run"
        return (self.loud * there).sum() / there.sum()

    def hide(self, frames_there: Tensor) -> Any:
        """Draw which frames are hidden."""
        return theirs._compute_mask_indices(  # noqa: SLF001 - as its own examples do
            tuple(frames_there.shape),
            mask_prob=self.plan["start_probability"] * self.plan["span"],
            mask_length=self.plan["span"],
            attention_mask=frames_there.long(),
            min_masks=self.plan["least"],
        )

    def before_step(self, step: int) -> None:
        """What changes from step to step."""


class Hubert(Peer):
    """HuBERT: which cluster does a hidden frame belong to."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        super().__init__(plan)
        from safetensors.torch import load_file

        self.hub = HubertModel.from_pretrained(folder)
        head = load_file(folder / HEAD)
        projected, width = head["final_proj.weight"].shape
        self.final_proj = nn.Linear(width, projected)
        self.label_embs_concat = nn.Parameter(torch.empty_like(head["label_embs_concat"]))
        self.load_state_dict(head, strict=False)
        self.listen(self.hub.feature_extractor)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss."""
        labels, there = batch["labels"], batch["labels"] != UNKNOWN
        masked = torch.from_numpy(self.hide(there))
        hidden = self.hub(
            batch["samples"], attention_mask=batch["there"], mask_time_indices=masked
        ).last_hidden_state
        asked, others = masked & there, ~masked & there
        nats = self.nats(hidden[asked], labels[asked])
        if self.plan["unmasked_weight"]:
            nats = nats + self.plan["unmasked_weight"] * self.nats(hidden[others], labels[others])
        return nats / asked.sum() + self.plan["features_weight"] * self.loudness(there)

    def nats(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Summed loss of some frames."""
        said = F.normalize(self.final_proj(hidden).float(), dim=1)
        with torch.autocast("cpu", enabled=False):
            cosines = said @ F.normalize(self.label_embs_concat, dim=1).T
            return F.cross_entropy(cosines / self.plan["temperature"], labels, reduction="sum")


class Wav2Vec2(Peer):
    """wav2vec 2.0: which code does a hidden frame have."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        super().__init__(plan)
        self.hub = Wav2Vec2ForPreTraining.from_pretrained(folder)
        self.listen(self.hub.wav2vec2.feature_extractor)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean loss."""
        there = batch["labels"] != UNKNOWN
        masked = self.hide(there)
        negatives = theirs._sample_negative_indices(  # noqa: SLF001
            masked.shape, self.plan["negatives"], mask_time_indices=masked
        )
        said = self.hub(
            batch["samples"],
            attention_mask=batch["there"],
            mask_time_indices=torch.from_numpy(masked),
            sampled_negative_indices=torch.from_numpy(negatives),
        )
        return said.loss / masked.sum() + self.plan["features_weight"] * self.loudness(there)

    def before_step(self, step: int) -> None:
        """Cool the choice of codes."""
        now = self.plan["code_temperature"] * self.plan["temperature_decay"] ** step
        self.hub.set_gumbel_temperature(max(now, self.plan["temperature_end"]))


def optimiser_of(model: nn.Module, plan: dict[str, Any]) -> torch.optim.Optimizer:
    """AdamW, whose decay acts on matrices."""
    learn = [one for one in model.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in learn if one.ndim > 1], "weight_decay": plan["decay"]},
        {"params": [one for one in learn if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=tuple(plan["betas"]), eps=plan["eps"], fused=True)


def run(folder: Path, *, family: str, order: str, seed: int, trained: Path) -> dict[str, Any]:
    """Train the steps of the plan, write the weights; figures of every step."""
    from safetensors.torch import save_file

    plan = json.loads((folder / family / "plan.json").read_text(encoding="utf-8"))
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - transformers draws from it
    clips = Clips(folder / "clips", longest=plan["longest"])
    model = {"hubert": Hubert, "wav2vec2": Wav2Vec2}[family](folder / family, plan).train()
    optimiser = optimiser_of(model, plan)
    numbers = batches_of(clips.lengths, rows=plan["rows"], order=order, seed=seed)
    bf16 = plan["precision"] == "bf16"
    ends = [(time.perf_counter(), time.process_time())]
    heard: list[float] = []
    computed: list[float] = []
    losses: list[float] = []
    for step, rate in enumerate(plan["rates"]):
        model.before_step(step)
        heard.append(0.0)
        computed.append(0.0)
        loss = torch.zeros(())
        for _ in range(plan["accumulation"]):
            batch = clips.batch(next(numbers))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = model(batch)
            (loss / plan["accumulation"]).backward()
            heard[-1] += float(batch["there"].sum()) / RATE
            computed[-1] += batch["there"].numel() / RATE
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan["clip"])
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        ends.append((time.perf_counter(), time.process_time()))
    peak = peak_bytes()
    trained.mkdir(parents=True, exist_ok=True)
    state = {name.removeprefix("hub."): one for name, one in model.state_dict().items()}
    save_file({name: one.contiguous() for name, one in state.items()}, trained / "all.safetensors")
    return {
        "ends": ends,
        "heard": heard,
        "computed": computed,
        "losses": losses,
        "peak": peak,
        "settings": {
            "precision": "bf16 autocast" if bf16 else "fp32",
            "attention": model.hub.config._attn_implementation,  # noqa: SLF001 - only place
            "clips of a batch": f"{plan['rows']} x {plan['accumulation']}",
        },
    }


def main() -> None:
    """Be one measurement; the last line is what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("worker")
    for name in ("folder", "trained"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--family", choices=["hubert", "wav2vec2"], required=True)
    parser.add_argument("--order", choices=["random", "sorted"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    found = run(
        options.folder,
        family=options.family,
        order=options.order,
        seed=options.seed,
        trained=options.trained,
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
