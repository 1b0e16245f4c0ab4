"""Any architecture that transformers knows, for folders our engine does not: slower, as exact.

Every choice is read whole here (no cache is shared between choices, whose form differs by
architecture), but in batches of a token budget, longest first, equal sequences once, and only the
positions before a scored token go through the head: of a 32,000-word vocabulary that is 128 kB of
fp32 per position that is not made. Padding stands on the right of what is scored and on the left of
what is gone on from, and is masked; a model that takes no mask gets batches of equal lengths.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minna.console import warn
from minna.errors import ArtifactError, MissingExtraError, UsageError
from minna.evaluate.backends.base import Generated, Generation, Likelihood, Reading
from minna.evaluate.backends.scored import Scored, batches, pick, share_out
from minna.evaluate.backends.stops import continue_greedily
from minna.evaluate.records import Candidate
from minna.runtime.load import Device, Dtype, choose_device, choose_dtype
from minna.tokenizer.coder import Coder, load_coder

_BATCH_TOKENS = {"cpu": 4096, "cuda": 32768, "mps": 8192}
_LOGITS = 1 << 28  # numbers of one batch's logits: 1 GiB in fp32
_MOST_ROWS = 64
_CONTEXT = 2048  # of a model that names none (state-space models have no limit)
_CONTEXT_KEYS = ("n_ctx", "max_position_embeddings", "n_positions", "seq_length", "max_seq_len")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TransformersBackend:
    """A model dir opened by transformers, without remote code and without the network.

    Args:
        path: the folder, with its tokenizer.
        device: auto, cpu, cuda or mps.
        dtype: of the weights; auto as for our engine.
        batch_tokens: tokens (padding included) read in one call; None chooses by device.

    Raises:
        MissingExtraError: transformers is not installed.
        ArtifactError: not a causal language model that transformers can open.
    """

    name = "transformers"

    def __init__(
        self,
        path: Path,
        *,
        device: Device = "auto",
        dtype: Dtype = "auto",
        batch_tokens: int | None = None,
    ) -> None:
        self._device = choose_device(device)
        self._model = _open(path, device=self._device, dtype=dtype)
        self.coder: Coder | None = load_coder(path)
        config = self._model.config.get_text_config()
        known = [value for key in _CONTEXT_KEYS if (value := getattr(config, key, None))]
        if not known:
            warn(f"{path.name} names no longest context; prompts are cut to {_CONTEXT} tokens")
        self.max_length: int = known[0] if known else _CONTEXT
        ends: Any = self._model.generation_config.eos_token_id
        ends = config.eos_token_id if ends is None else ends
        ends = ends if isinstance(ends, list) else [self.coder.eos_id if ends is None else ends]
        self.eos_ids: tuple[int, ...] = tuple(number for number in ends if number >= 0)
        rows: Any = self._model.get_input_embeddings()
        self.id_limit: int | None = int(rows.weight.shape[0])
        self.reading = Reading()
        self._batch_tokens = batch_tokens or _BATCH_TOKENS[self._device.type]
        accepted = inspect.signature(self._model.forward).parameters
        self._masks = "attention_mask" in accepted
        self._keeps = "logits_to_keep" in accepted
        self._reset_generation()

    def _reset_generation(self) -> None:
        """Forget what generation_config.json asks for: an evaluation is greedy and nothing else."""
        from transformers import GenerationConfig

        self._model.generation_config = GenerationConfig()

    def conditions(self) -> dict[str, Any]:
        """Device, type and versions."""
        import transformers

        return {
            "backend": self.name,
            "device": self._device.type,
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def likelihoods(
        self, groups: Sequence[Sequence[Candidate]]
    ) -> Iterator[tuple[int, list[Likelihood]]]:
        """Score groups; see `base.Backend`.

        Raises:
            UsageError: a sequence does not fit into the device's memory.
        """
        wanted, missing = share_out(groups)
        found: dict[Scored, Likelihood] = {}
        done = [not group for group in groups]
        yield from ((number, []) for number, empty in enumerate(done) if empty)
        positions = max(1, _LOGITS // self._model.config.get_text_config().vocab_size)
        tokens = self._batch_tokens if self._keeps else min(self._batch_tokens, positions)
        for batch in batches(list(wanted), tokens=tokens, positions=positions, padded=self._masks):
            for entry, likelihood in zip(batch, self._score(batch), strict=True):
                found[entry] = likelihood
                for number in wanted[entry]:
                    missing[number] -= 1
                    if missing[number] == 0:
                        yield number, [found[Scored.of(c)] for c in groups[number]]

    def _score(self, batch: Sequence[Scored]) -> list[Likelihood]:
        try:
            likelihoods = self._score_at_once(batch)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise _too_large(len(batch[0].ids), self._device) from error
            half = len(batch) // 2
            likelihoods = []
        else:
            return likelihoods
        # outside of the handler, which would hold the tensors that did not fit
        torch.cuda.empty_cache()
        return self._score(batch[:half]) + self._score(batch[half:])

    @torch.inference_mode()
    def _score_at_once(self, batch: Sequence[Scored]) -> list[Likelihood]:
        longest = max(len(entry.ids) - 1 for entry in batch)
        rows = [[*entry.ids[:-1], *[0] * (longest + 1 - len(entry.ids))] for entry in batch]
        inputs: dict[str, Any] = {"input_ids": self._tensor(rows)}
        if self._masks:
            sizes = self._tensor([len(entry.ids) - 1 for entry in batch])
            inputs["attention_mask"] = (
                torch.arange(longest, device=self._device) < sizes[:, None]
            ).long()
        # one range for all rows, from the first position that any of them asks for
        first = min(entry.start for entry in batch) - 1 if self._keeps else 0
        if self._keeps:
            inputs["logits_to_keep"] = longest - first
        logits_BSV = self._model(**inputs, use_cache=False).logits
        self.reading.tokens += sum(len(entry.ids) - 1 for entry in batch)
        return [pick(logits_BSV[row], entry, first=first) for row, entry in enumerate(batch)]

    def generate(self, jobs: Sequence[Generation]) -> Iterator[tuple[int, Generated]]:
        """Answer jobs greedily in batches of similar lengths; see `base.Backend`.

        Raises:
            UsageError: a prompt does not fit into the device's memory.
        """
        order = sorted(range(len(jobs)), key=lambda n: (-len(jobs[n].prompt), n))
        while order:
            batch = self._next_batch(jobs, order)
            taken = set(batch)
            order = [number for number in order if number not in taken]
            yield from zip(batch, self._answer([jobs[n] for n in batch]), strict=True)

    def _next_batch(self, jobs: Sequence[Generation], order: Sequence[int]) -> list[int]:
        """The longest prompt, and neighbours that can stand beside it.

        All rows of a batch are padded to its longest prompt and fed until its largest cap, so both
        together must fit into the context.
        """
        longest = len(jobs[order[0]].prompt)
        rows = max(1, min(_MOST_ROWS, self._batch_tokens // longest))
        beside = [
            number
            for number in order[1:_MOST_ROWS]
            if longest + jobs[number].max_new_tokens <= self.max_length
            and (self._masks or len(jobs[number].prompt) == longest)
        ]
        return [order[0], *beside[: rows - 1]]

    def _answer(self, jobs: Sequence[Generation]) -> list[Generated]:
        assert self.coder is not None
        try:
            answers = continue_greedily(self._model, jobs, coder=self.coder, device=self._device)
        except torch.OutOfMemoryError as error:
            if len(jobs) == 1:
                raise _too_large(len(jobs[0].prompt), self._device) from error
            half = len(jobs) // 2
        else:
            self.reading.tokens += sum(len(job.prompt) for job in jobs)
            self.reading.tokens += sum(len(answer.ids) for answer in answers)
            return answers
        torch.cuda.empty_cache()
        return self._answer(jobs[:half]) + self._answer(jobs[half:])

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, device=self._device)


def _open(path: Path, *, device: torch.device, dtype: Dtype) -> Any:
    """Load the model, and refuse weights that transformers would draw at random."""
    if dtype not in ("auto", *_DTYPES):
        raise UsageError(
            f"the transformers backend has no {dtype} weights",
            remedy="use --backend minna, or --dtype bf16",
        )
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtraError("transformers", extra="transformers") from error
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(path, **local)
        kind = _DTYPES.get(dtype)
        if kind is None:
            with torch.device("meta"):
                size = AutoModelForCausalLM.from_config(config).num_parameters()
            kind = choose_dtype(device, parameters=size)
        opened: Any = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=kind, output_loading_info=True, **local
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = str(error).strip().split("\n", maxsplit=1)[0]
        raise ArtifactError(
            f"transformers cannot open {path}: {first}",
            remedy="give a whole model dir of an architecture that transformers itself knows "
            "(code that comes with a model is never run)",
        ) from error
    model, report = opened
    wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if wrong:
        raise ArtifactError(
            f"{path}: {len(wrong)} weights are missing or of another shape than config.json says, "
            f"the first is {wrong[0]}",
            remedy="fetch the folder again; weights are never drawn at random here",
        )
    return model.to(device).eval().requires_grad_(requires_grad=False)


def _too_large(tokens: int, device: torch.device) -> UsageError:
    return UsageError(
        f"one sequence of {tokens} tokens does not fit into the memory of {device}",
        remedy="use a larger device, --dtype bf16, or a shorter context",
    )
