"""The results file: conditions, raw samples, summaries and verdicts, as JSON with a version."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .statistics import Summary, Validity, summarize

SCHEMA = "vljepa-bench"
SCHEMA_VERSION = 1


class ResultsError(ValueError):
    """A file that holds no results of ours; the message says what was expected and found."""


@dataclass
class Run:
    """One scenario with one setting, in one process.

    `samples` are raw, in milliseconds, warm-up apart (it lies in `warmup`). `headline` names the
    samples that a table shows first.
    """

    scenario: str
    subject: str  # what was measured: a bundle's name and precision, or a peer's
    settings: dict[str, Any]
    headline: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    warmup: dict[str, list[float]] = field(default_factory=dict)
    counters: dict[str, float | None] = field(default_factory=dict)
    timeline: list[dict[str, float | None]] = field(default_factory=list)
    conditions: dict[str, Any] = field(default_factory=dict)
    energy: dict[str, Any] = field(default_factory=dict)
    validity: Validity = field(default_factory=Validity)

    def summary(self, name: str | None = None) -> Summary:
        """Of one kind of samples, by default the headline's."""
        return summarize(self.samples.get(name or self.headline, []))


@dataclass
class Results:
    """Everything that one command measured."""

    created_utc: str
    command: list[str]
    machine: dict[str, Any]
    bundles: list[dict[str, Any]] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    host_model: dict[str, Any] | None = None
    decode_curve: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)  # what could not be measured, and why
    interrupted: bool = False

    def to_json(self) -> str:
        """The file's content; summaries are written beside the samples that they come from."""
        content: dict[str, Any] = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION}
        content |= dataclasses.asdict(self)
        for row, run in zip(content["runs"], self.runs, strict=True):
            row["validity"] = {"valid": run.validity.valid, "reasons": run.validity.reasons}
            row["summary"] = {
                name: dataclasses.asdict(run.summary(name)) for name in sorted(run.samples)
            }
        return json.dumps(_finite(content), ensure_ascii=False, indent=1) + "\n"

    def write(self, path: Path) -> None:
        """The file appears whole or not at all."""
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(self.to_json(), encoding="utf-8")
        temporary.replace(path)


def read_results(path: Path) -> Results:
    """Reads a results file. ResultsError for another schema or version, OSError without a file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON ({error})") from error
    found = content.get("schema") if isinstance(content, dict) else type(content).__name__
    if found != SCHEMA:
        raise ResultsError(f"{path}: schema {found!r}, wanted {SCHEMA!r} (from `vljepa bench`)")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise ResultsError(
            f"{path}: schema version {content.get('schema_version')!r}, this program reads "
            f"{SCHEMA_VERSION}; measure again or use the version that wrote it"
        )
    try:
        runs = [_run(row) for row in content["runs"]]
        known = {name: content[name] for name in Results.__dataclass_fields__ if name in content}
        return Results(**{**known, "runs": runs})
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path}: a field is missing or wrong: {error}") from error


def _run(row: dict[str, Any]) -> Run:
    known = {name: row[name] for name in Run.__dataclass_fields__ if name in row}
    return Run(**{**known, "validity": Validity(list(row["validity"]["reasons"]))})


def _finite(value: Any) -> Any:
    """JSON has no NaN; times are kept to a nanosecond."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
