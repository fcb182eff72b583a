"""A bundle's tokenizers: only needed to compile new queries and to embed texts, never to watch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vljepa_edge.runtime.bundle import Bundle
from vljepa_edge.runtime.errors import BundleError


@dataclass(frozen=True)
class BundleTokenizer:
    """A `tokenizer.json` and the template that texts are put in (at `{text}`)."""

    tokenizer: Any
    template: str

    def encode(self, text: str) -> list[int]:
        """Token ids, with whatever special tokens the tokenizer itself adds."""
        ids: list[int] = self.tokenizer.encode(self.template.replace("{text}", text)).ids
        return ids


def load_tokenizer(path: Path, role: str) -> BundleTokenizer:
    """The tokenizer that bundle.json names for a role; BundleError where it carries none."""
    from tokenizers import Tokenizer

    with Bundle(path) as bundle:
        if not bundle.has("tokenizer"):
            raise BundleError(
                f"{path}: carries no tokenizer, so it knows only its compiled queries; "
                "use one of those, or add it with `vljepa query add`"
            )
        roles = bundle.manifest().get("tokenizers", {})
        entry = roles.get(role, {})
        if roles and not entry:
            raise BundleError(
                f"{path}: carries no tokenizer for {role}, only for {', '.join(sorted(roles))}; "
                "export it with one"
            )
        content = bundle.read("tokenizer", entry.get("file"))
    try:
        tokenizer = Tokenizer.from_buffer(content)
        tokenizer.no_padding()
        tokenizer.no_truncation()  # too long is told, not cut
    except Exception as error:  # the library raises nothing narrower
        raise BundleError(f"{path}: its tokenizer for {role} cannot be read ({error})") from error
    return BundleTokenizer(tokenizer, entry.get("template", "{text}"))
