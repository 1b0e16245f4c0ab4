"""From a request to token ids, as the two modes read it.

`compat` encodes context and continuation apart, as the paper's harness does: on SentencePiece the
continuation then begins with a space of its own, a token the model never saw there. `fixed` encodes
them as one text and pays for what the choices do not share. When it is too long, both keep the end.

A tokenizer that puts a bos token in front of every text (Llama, Gemma) does so in `fixed`, and the
token stays there when the prompt is cut; the harness asks without, and so does `compat`. A chat
template decides for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minna.errors import DataError, UsageError
from minna.evaluate.asking import answer_room
from minna.evaluate.records import Candidate, Encoded, Mode, Request
from minna.evaluate.task import Chosen
from minna.tokenizer.coder import Coder


def encode_request(
    request: Request, *, chosen: Chosen, mode: Mode, coder: Coder, max_length: int
) -> Encoded:
    """Token ids of a request, cut to what the model reads.

    Args:
        request: as `build_requests` made it.
        chosen: its task.
        mode: the mode it was built in.
        coder: the model's tokenizer.
        max_length: tokens the model reads.

    Raises:
        DataError: a text that is no token, or a continuation longer than the model reads.
        UsageError: the tokenizer has no end-of-text token where one is needed, or an answer's cap
            leaves no room for the prompt.
    """
    if request.kind == "loglikelihood":
        if mode == "compat":
            pairs = _apart(request, chosen=chosen, coder=coder)
            return _likelihood(request, pairs, mode=mode, max_length=max_length)
        bos = _bos(request, chosen=chosen, coder=coder)
        pairs = _together(request, bos=bos, chosen=chosen, coder=coder)
        return _likelihood(request, pairs, mode=mode, max_length=max_length, head=len(bos))
    if mode == "fixed":
        return _fixed_prompt(request, chosen=chosen, coder=coder, max_length=max_length)
    ids = coder.encode(request.context) if request.context else [_eos(coder, chosen=chosen)]
    if not ids:
        raise _no_tokens(request, "its prompt")
    cap = request.max_new_tokens or 0
    return _compat_prompt(request, ids, cap=cap, coder=coder, max_length=max_length)


def answer_text(ids: Iterable[int], *, coder: Coder, mode: Mode, until: Sequence[str]) -> str:
    """The answer in `ids` (its stop token included), cut at the first of `until`.

    `compat` keeps special tokens as text, so that one that is not in `until` stays in the answer,
    as in the harness; `fixed` leaves them out, and white space around the answer too: in front
    before it cuts, so that a first empty line is no answer.
    """
    text = coder.decode_all(ids) if mode == "compat" else coder.decode(ids).lstrip()
    for stop in until:
        text = text.split(stop, maxsplit=1)[0]
    return text if mode == "compat" else text.strip()


def _fixed_prompt(request: Request, *, chosen: Chosen, coder: Coder, max_length: int) -> Encoded:
    bos = _bos(request, chosen=chosen, coder=coder)
    ids = coder.encode(request.context) if request.context else []
    if request.context and not ids:
        raise _no_tokens(request, "its prompt")
    behind = ids[len(bos) :] if bos and ids[: len(bos)] == bos else ids
    if not bos and not behind:
        behind = [_eos(coder, chosen=chosen)]
    cap = request.max_new_tokens or 0
    keep = max_length - answer_room(cap, max_length=max_length) - len(bos)
    kept = behind[max(0, len(behind) - keep) :]
    return Encoded(
        prompt=(*bos, *kept),
        max_new_tokens=min(cap, max_length - len(bos) - len(kept)),
        stop_ids=(coder.eos_id,) if coder.eos_id >= 0 else (),
        stop_texts=request.until,
        truncated=len(kept) < len(behind),
    )


def _compat_prompt(
    request: Request, ids: list[int], *, cap: int, coder: Coder, max_length: int
) -> Encoded:
    if cap >= max_length:
        raise UsageError(
            f"{request.task}: an answer may have {cap} tokens in mode compat, and the model reads "
            f"{max_length} (document {request.doc_id!r})",
            remedy="use a model with a longer context, or --mode fixed",
        )
    prompt = ids[cap - max_length :]
    # the harness stops at one id only, and that is end of text only where it comes first in `until`
    stop = coder.encode(request.until[0]) if request.until else []
    last = stop[-1] if stop else coder.eos_id
    return Encoded(
        prompt=tuple(prompt),
        max_new_tokens=cap,
        stop_ids=(last,) if last >= 0 else (),
        stop_texts=request.until,
        truncated=len(prompt) < len(ids),
    )


def _apart(request: Request, *, chosen: Chosen, coder: Coder) -> list[tuple[list[int], int]]:
    """Per continuation: all ids, and where those that are paid for begin."""
    context = coder.encode(request.context) if request.context else [_eos(coder, chosen=chosen)]
    if not context:
        raise _no_tokens(request, "its prompt")
    pairs: list[tuple[list[int], int]] = []
    for text in request.continuations:
        continuation = coder.encode(text)
        if not continuation:
            raise _no_tokens(request, f"the choice {text!r}")
        pairs.append((context + continuation, len(context)))
    return pairs


def _together(
    request: Request, *, bos: list[int], chosen: Chosen, coder: Coder
) -> list[tuple[list[int], int]]:
    """As `_apart`, with context and continuation encoded as one text.

    What is paid for begins where the first of the choices leaves the context's own tokens, at one
    place for all: a token that covers the seam belongs to every choice's price. `bos` is in front,
    once: a prompt may begin with it as text.
    """
    rows = [coder.encode(request.context + text) for text in request.continuations]
    context = coder.encode(request.context) if request.context else []
    for text, row in zip(request.continuations, rows, strict=True):
        if not text or not row or row == context:
            raise _no_tokens(request, f"the choice {text!r}")
    low, high = min([context, *rows]), max([context, *rows])
    shared = next(
        (place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low)
    )
    start = min(shared, *(len(row) - 1 for row in rows))
    if bos and any(row[: len(bos)] != bos for row in rows):
        return [(bos + row, len(bos) + start) for row in rows]
    if start == 0:  # the first token too must be given something
        eos = _eos(coder, chosen=chosen)
        return [([eos, *row], 1) for row in rows]
    return [(row, start) for row in rows]


def _likelihood(
    request: Request,
    pairs: list[tuple[list[int], int]],
    *,
    mode: Mode,
    max_length: int,
    head: int = 0,
) -> Encoded:
    """Cut what is too long, behind the first `head` tokens."""
    for text, (ids, start) in zip(request.continuations, pairs, strict=True):
        if len(ids) - start > max_length:
            raise DataError(
                f"{request.task}: choice {text[:30]!r} of document {request.doc_id!r} has "
                f"{len(ids) - start} tokens, and the model reads {max_length}",
                remedy="leave the document out, or use a model with a longer context",
            )
    candidates: list[Candidate] = []
    # in `fixed`, what is too much for the longest goes from all, so that they keep one context
    longest = max(len(ids) for ids, _ in pairs)
    for ids, start in pairs:
        over = max(0, (longest if mode == "fixed" else len(ids)) - (max_length + 1))
        candidates.append(Candidate(ids=(*ids[:head], *ids[head + over :]), start=start - over))
    return Encoded(
        candidates=tuple(candidates),
        truncated=longest > max_length + 1,
    )


def _bos(request: Request, *, chosen: Chosen, coder: Coder) -> list[int]:
    """What stands in front in `fixed`; a chat template writes its own, or means none."""
    rendered = chosen.prompt.style == "chat" and request.context
    return [] if rendered else list(coder.bos_ids)


def _eos(coder: Coder, *, chosen: Chosen) -> int:
    if coder.eos_id < 0:
        raise UsageError(
            f"{chosen.name} has no text in front of what is scored; the end-of-text token stands "
            "there, and the tokenizer has none",
            remedy="name an eos_token in the tokenizer's tokenizer_config.json",
        )
    return coder.eos_id


def _no_tokens(request: Request, what: str) -> DataError:
    return DataError(
        f"{request.task}: {what} of document {request.doc_id!r} is no token",
        remedy="mend that row of the data file, or check that the tokenizer knows Japanese",
    )
