"""docs/weights.md as a new user follows it: commands that exist, Python that runs.

Small models in the same layouts stand in for its downloads; at full size: test_export_full_size.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from hub_models import save_embedding_gemma, save_llama, save_vjepa2

from vljepa_edge.cli import group

PAGES = [Path(__file__).parent.parent / "docs" / name for name in ("weights.md", "export.md")]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every `vljepa` command of a page, its lines joined, without comments."""
    found = []
    for language in ("console", "sh", ""):
        for block in blocks(page, language):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("vljepa "):
                    found.append(shlex.split(line, comments=True)[1:])
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_can_be_parsed(page: Path) -> None:
    named = commands(page)
    assert len(named) >= 4
    for words in named:
        command: click.Command = group
        context = click.Context(group, info_name="vljepa")
        while isinstance(command, click.Group):
            name, command_found, words = command.resolve_command(context, words)
            assert command_found is not None, name
            command = command_found
        command.make_context(str(command.name), list(words), parent=context)


def test_backbones_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's second snippet, over folders where its downloads lie."""
    pytest.importorskip("transformers")
    save_vjepa2(tmp_path / "weights/vjepa2-vitl")
    save_llama(tmp_path / "weights/llama", layers=9)
    save_embedding_gemma(tmp_path / "weights/gemma")
    save_llama(tmp_path / "weights/smollm2", layers=2)
    monkeypatch.chdir(tmp_path)
    snippets = [one for one in blocks(PAGES[0], "python") if "assemble" in one]
    assert len(snippets) == 1
    names: dict[str, Any] = {}
    exec(snippets[0], names)
    model = names["model"]
    assert model.config.frames == 16 and model.config.predictor.transformer.layers == 8
    assert model.y_decoder is not None and not any(p.is_meta for p in model.parameters())
