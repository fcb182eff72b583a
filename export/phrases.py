"""Builds phrase banks: texts embedded in advance, so that naming is a nearest neighbour."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import Bundle
from .bundle import check_folder, stored_sections
from .errors import ExportError
from .manifest import PhraseBankRecord
from .queries import open_tokenizer, rewrite, tokenize
from .sections import INSIDE, NAME_BYTES, Kind, Section, phrase_bank_section

Progress = Callable[[str, int, int], None]


class TextEmbedder:
    """The exported Y-Encoder on ONNX Runtime: texts to unit embeddings."""

    def __init__(self, onnx_path: Path, tokenizer: Tokenizer, template: str, most: int) -> None:
        self.tokenizer, self.template, self.most = tokenizer, template, most
        self._session = onnxruntime.InferenceSession(
            str(onnx_path), providers=["CPUExecutionProvider"]
        )

    def __call__(self, text: str) -> NDArray[np.float32]:
        """One text, not empty and of at most `most` tokens -> [E]."""
        ids = tokenize(text, self.tokenizer, self.template, self.most, "phrase")
        (rows,) = self._session.run(["text_embedding"], {"token_ids": ids[None]})
        row: NDArray[np.float32] = rows[0]
        return row


def distinct(name: str, phrases: Sequence[str]) -> list[str]:
    """The texts without repeats. ExportError where there are none, or the name is too long."""
    if not 0 < len(name.encode()) <= NAME_BYTES or not name.isprintable():
        raise ExportError(f"phrase bank name {name!r} is not 1 to {NAME_BYTES} printable bytes")
    unique = list(dict.fromkeys(phrases))
    if not unique:
        raise ExportError(f"phrase bank {name!r} has no phrases")
    return unique


def compile_phrases(
    name: str,
    phrases: Sequence[str],
    embed: TextEmbedder,
    progress: Progress | None = None,
    *,
    int8: bool = False,
) -> Section:
    """The PHRASE_BANK section of the texts, in their order and without repeats."""
    unique = distinct(name, phrases)
    rows = []
    for i, phrase in enumerate(unique):
        rows.append(embed(phrase))
        if progress is not None:
            progress(f"phrases {name}", i + 1, len(unique))
    return phrase_bank_section(name, unique, np.stack(rows), int8=int8)


def add_phrases(
    folder: Path,
    name: str,
    phrases: Sequence[str],
    progress: Progress | None = None,
    *,
    int8: bool = False,
) -> int:
    """Embeds `phrases` into a bundle as bank `name`, or in place of that bank. Returns how many.

    `int8` stores a quarter of the bytes, to be searched in a quarter of the time.

    The bundle is replaced whole, or stays as it was.
    """
    manifest = check_folder(folder)
    record = manifest.tokenizers.get("y_encoder")
    if record is None:
        raise ExportError(f"{folder} carries no tokenizer for the Y-Encoder", "export it with one")
    embed = TextEmbedder(
        folder / manifest.components["y_encoder"].file,
        open_tokenizer(folder / record.file),
        record.template,
        manifest.model.text_max_tokens,
    )
    bank = compile_phrases(name, phrases, embed, progress, int8=int8)
    with Bundle(folder) as bundle:
        inner = stored_sections(folder, bundle, INSIDE - {Kind.CONFIG})
    same = [i for i, s in enumerate(inner) if s.kind == Kind.PHRASE_BANK and s.name == name]
    if same:
        inner[same[0]] = bank
    else:
        inner.append(bank)
    count = len(distinct(name, phrases))
    banks = {b.name: b for b in manifest.phrase_banks} | {name: PhraseBankRecord(name, count)}
    rewrite(folder, dataclasses.replace(manifest, phrase_banks=tuple(banks.values())), inner)
    return count
