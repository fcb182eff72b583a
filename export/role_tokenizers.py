"""The tokenizers of a model by role: one for queries, one for texts, one for what is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from .errors import ExportError
from .index_writer import sha256_file
from .manifest import TOKENIZER_ROLES, TokenizerRecord
from .queries import open_tokenizer

TEMPLATE = "{text}"
FILE = "tokenizer.json"


@dataclass(frozen=True)
class RoleTokenizer:
    """A tokenizer without padding or truncation, and the template that texts are put in."""

    tokenizer: Tokenizer
    template: str = TEMPLATE


RoleTokenizers = Mapping[str, RoleTokenizer]
Given = Tokenizer | Path | Mapping[str, Tokenizer | Path]


def open_roles(
    given: Given, roles: tuple[str, ...], templates: Mapping[str, str] | None = None
) -> dict[str, RoleTokenizer]:
    """One tokenizer for all roles, or one per role; each opened once.

    ExportError for a role that has none, an unknown role, a template without {text}.
    """
    templates = templates or {}
    told = set(templates) | (set(given) if isinstance(given, Mapping) else set())
    if unknown := sorted(told - set(TOKENIZER_ROLES)):
        raise ExportError(
            f"tokenizer role {unknown[0]!r} is unknown", f"choose of {', '.join(TOKENIZER_ROLES)}"
        )
    opened: dict[int, Tokenizer] = {}
    found = {}
    for role in roles:
        one = given.get(role) if isinstance(given, Mapping) else given
        if one is None:
            raise ExportError(f"no tokenizer for the role {role}", "name its tokenizer.json")
        template = templates.get(role, TEMPLATE)
        if TEMPLATE not in template:
            raise ExportError(f"the template of {role} is {template!r}", "it must hold {text}")
        if id(one) not in opened:
            opened[id(one)] = _own(one)
        found[role] = RoleTokenizer(opened[id(one)], template)
    return found


def _own(given: Tokenizer | Path) -> Tokenizer:
    """A copy without padding and truncation: the caller's keeps its settings."""
    if isinstance(given, Path):
        return open_tokenizer(given)
    own = Tokenizer.from_str(given.to_str())
    own.no_padding()
    own.no_truncation()
    return own


def folder_tokenizers(folder: Path) -> Path | dict[str, Path]:
    """What a checkpoint folder has: `tokenizer.json` for all roles, or `tokenizer.<role>.json`."""
    own = {role: folder / f"tokenizer.{role}.json" for role in TOKENIZER_ROLES}
    if not any(path.is_file() for path in own.values()):
        return folder / FILE
    return {role: path if path.is_file() else folder / FILE for role, path in own.items()}


def write_tokenizers(tokenizers: RoleTokenizers, folder: Path) -> dict[str, TokenizerRecord]:
    """Writes each distinct tokenizer once; returns the manifest's records by role."""
    names: dict[str, str] = {}  # content -> file
    shared = len({t.tokenizer.to_str() for t in tokenizers.values()}) == 1
    records = {}
    for role, one in tokenizers.items():
        content = one.tokenizer.to_str()
        name = names.setdefault(content, FILE if shared else f"tokenizer.{role}.json")
        path = folder / name
        if not path.exists():
            path.write_text(content, encoding="utf-8")
        records[role] = TokenizerRecord(name, path.stat().st_size, sha256_file(path), one.template)
    return records
