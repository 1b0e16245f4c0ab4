"""The same vocabulary in GGUF, asked for its ids: llama.cpp reads SentencePiece pieces its own way.

A GGUF file holds pieces, scores and types, and llama.cpp has its own BPE ("llama") and its own
unigram ("t5"). So a file with this vocabulary and one empty layer of 32 numbers (4 MB) is written
and asked through xllamacpp: 2,000 lines take half a second. Both packages are optional; without
them nothing is measured, and that is what gets written down.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from minna.errors import MissingExtraError
from minna.tokenizer.load import Tokenizer

_WIDTH = 32
_CONTEXT = 64


def ids_in_gguf(tokenizer: Tokenizer, *, texts: Sequence[str]) -> list[list[int]]:
    """Ids that llama.cpp gives each text with this vocabulary, special tokens typed in it as text.

    Raises:
        MissingExtraError: gguf or xllamacpp is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, _server(tokenizer, Path(folder)) as address:
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        with contextlib.closing(connection):
            return [_ask(connection, text) for text in texts]


def write_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write a GGUF file with the vocabulary and a llama model of one layer of zeros.

    Raises:
        MissingExtraError: gguf is not installed.
    """
    try:
        from gguf import GGUFWriter  # pyright: ignore[reportMissingImports] - optional
    except ImportError as error:
        raise MissingExtraError("gguf", extra="gguf") from error
    fields = tokenizer.fields
    writer: Any = GGUFWriter(path, "llama")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH)
    writer.add_vocab_size(tokenizer.vocab_size)
    writer.add_tokenizer_model("llama" if fields.kind == "bpe" else "t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.text.encode() for piece in fields.pieces])
    writer.add_token_scores([piece.score for piece in fields.pieces])
    writer.add_token_types([int(piece.type) for piece in fields.pieces])
    for name in ("bos", "eos", "unk", "pad"):
        number: int = getattr(tokenizer, f"{name}_id")
        if number >= 0:
            getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(fields.dummy_prefix)
    writer.add_remove_extra_whitespaces(fields.fold_spaces)
    if fields.charsmap:
        writer.add_precompiled_charsmap(fields.charsmap)
    for name, shape in _shapes(tokenizer.vocab_size).items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(vocab_size: int) -> dict[str, tuple[int, ...]]:
    square, norm = (_WIDTH, _WIDTH), (_WIDTH,)
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return {
        "token_embd.weight": (vocab_size, _WIDTH),
        "output_norm.weight": norm,
        **{f"blk.0.{name}.weight": square for name in matrices},
        "blk.0.attn_norm.weight": norm,
        "blk.0.ffn_norm.weight": norm,
    }


@contextlib.contextmanager
def _server(tokenizer: Tokenizer, folder: Path) -> Generator[Any]:
    try:
        import xllamacpp  # pyright: ignore[reportMissingImports] - optional
    except ImportError as error:
        raise MissingExtraError("xllamacpp", extra="gguf") from error
    file = folder / "vocabulary.gguf"
    write_vocabulary(tokenizer, file)
    llama: Any = xllamacpp
    asked: Any = llama.CommonParams()
    asked.model.path = str(file)
    asked.n_ctx = _CONTEXT
    asked.n_gpu_layers = 0
    asked.verbosity = 0
    asked.warmup = asked.fit_params = asked.ui = False
    server: Any = llama.Server(asked)
    try:
        yield urlsplit(server.listening_address)
    finally:
        del server  # stops it, and lets go of the file, which Windows would not delete


def _ask(connection: http.client.HTTPConnection, text: str) -> list[int]:
    question = {"content": text, "add_special": False, "parse_special": False}
    body = json.dumps(question).encode()
    connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())["tokens"]
