"""A bundle's folder: made whole or not at all, its index, and what is checked when tools open it.

Everything is written into a hidden folder beside the target, which takes the target's name at the
very end. Whatever interrupts that, the target is what it was before.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..runtime.bundle import Bundle
from ..runtime.bundle import Section as StoredSection
from .errors import ExportError, Unfinished
from .full_disk import full_disk_told
from .index_writer import sha256_file, sync_folder, write_index
from .manifest import FileRecord, Manifest, core_config
from .sections import INSIDE, Kind, Section, file_section

MANIFEST = "bundle.json"
INDEX = "index.vlj"
GOLDEN = "golden.npz"
# Inside a folder that is being exported to: what is wanted, and what is ready.
WORK = ".work"
JOB = "job.json"


@contextmanager
def staged(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write a bundle in; on leaving it without an error it becomes `output`.

    ExportError when `output` exists and may not be replaced: without `overwrite`, or because it
    holds something that is no bundle; and when the disk is full.
    """
    output = output.absolute()
    check_replaceable(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(
        tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    )
    try:
        with full_disk_told(output):
            staging.chmod(0o777 & ~_umask())
            yield staging
            check_replaceable(output, overwrite)
            _publish(staging, output)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def resumable(output: Path, job: str, *, overwrite: bool = False) -> Iterator[Path]:
    """As `staged`, in a folder that an interruption leaves for the next call with the same `job`.

    What an error of the export's own ends is removed: it would end the same way again. The folder
    holds no index before all else is in it, so that nothing opens it as a bundle.
    """
    output = output.absolute()
    check_replaceable(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = output.with_name(f".{output.name}.export")
    with _locked(output.with_name(f".{output.name}.lock"), output):
        told = staging / WORK / JOB
        if not told.is_file() or told.read_text(encoding="utf-8") != job:
            shutil.rmtree(staging, ignore_errors=True)
            told.parent.mkdir(parents=True)
            partial = told.with_suffix(".partial")
            partial.write_text(job, encoding="utf-8")
            partial.replace(told)
        for late in (staging / INDEX, staging / MANIFEST):
            late.unlink(missing_ok=True)
        try:
            with full_disk_told(output):
                yield staging
                check_replaceable(output, overwrite)
                _publish(staging, output)
        except Unfinished:
            raise
        except Exception:
            shutil.rmtree(staging, ignore_errors=True)
            raise


@contextmanager
def _locked(path: Path, output: Path) -> Iterator[None]:
    """Two exports to one place would take each other's files."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ExportError(
                f"{output}: another export to it is running", "wait, or choose another output"
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_replaceable(output: Path, overwrite: bool) -> None:
    """ExportError unless `output` is free, an empty folder, or a bundle that may be replaced."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / MANIFEST).is_file():
        raise ExportError(f"{output} exists and is no bundle", "choose another output")
    if not overwrite:
        raise ExportError(f"{output} exists", "choose another output, or overwrite it")


def _publish(staging: Path, output: Path) -> None:
    if not output.exists():
        staging.rename(output)
    else:
        old = output.with_name(f".{output.name}.replaced-{os.getpid()}")
        output.rename(old)
        try:
            staging.rename(output)
        except BaseException:
            old.rename(output)
            raise
        shutil.rmtree(old)
    sync_folder(output.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def record(path: Path) -> FileRecord:
    """Name, size and digest of a file."""
    return FileRecord(path.name, path.stat().st_size, sha256_file(path))


def finish(folder: Path, manifest: Manifest, inner: Sequence[Section]) -> str:
    """Writes bundle.json and, last, index.vlj; then opens the result with the core's own reader.

    `inner`: QUERY, PHRASE_BANK, VOCABULARY and TOKEN_EMBEDDINGS sections. CONFIG and the file
    sections follow from the manifest. Returns the digest that identifies the bundle.
    """
    _write_synced(folder / MANIFEST, manifest.to_json())
    sections = [core_config(manifest).section()]
    for name, component in manifest.components.items():
        sections.append(file_section(Kind.ENGINE, folder / component.file, name))
        for external in component.external_data:
            sections.append(file_section(Kind.ENGINE_DATA, folder / external.file))
    sections += inner
    for name in dict.fromkeys(t.file for t in manifest.tokenizers.values()):
        sections.append(file_section(Kind.TOKENIZER, folder / name))
    if manifest.golden is not None:
        sections.append(file_section(Kind.GOLDEN, folder / manifest.golden.file))
    sections.append(file_section(Kind.MANIFEST, folder / MANIFEST))
    digest = write_index(folder / INDEX, sections)
    check_folder(folder)
    return digest


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def check_folder(folder: Path) -> Manifest:
    """Opens all of a bundle: manifest, sizes and digests of files, index against manifest.

    Returns the manifest. ExportError or the runtime's BundleError say what is wrong and what to do.
    """
    manifest = Manifest.read(folder / MANIFEST)
    hint = "copy or export the bundle again"
    for name, expected in manifest.files().items():
        path = folder / name
        if not path.is_file():
            raise ExportError(f"{path}: missing, but {MANIFEST} names it", hint)
        if path.stat().st_size != expected.bytes:
            raise ExportError(
                f"{path}: {path.stat().st_size} bytes, {MANIFEST} says {expected.bytes}", hint
            )
        if sha256_file(path) != expected.sha256:
            raise ExportError(f"{path}: its SHA-256 is not the one in {MANIFEST}", hint)
    with Bundle(folder, verify_hashes=True) as bundle:
        _compare(folder, manifest, bundle)
    return manifest


def _compare(folder: Path, manifest: Manifest, bundle: Bundle) -> None:
    """ExportError where the index tells other facts than the manifest."""

    def names(kind: Kind) -> list[str]:
        return [section.name for section in bundle if section.kind == kind.name.lower()]

    facts: list[tuple[str, object, object]] = [
        ("engines", names(Kind.ENGINE), list(manifest.components)),
        ("queries", len(names(Kind.QUERY)), len(manifest.queries)),
        ("phrase banks", names(Kind.PHRASE_BANK), [b.name for b in manifest.phrase_banks]),
        ("token embeddings", names(Kind.TOKEN_EMBEDDINGS), list(manifest.token_embeddings)),
        (MANIFEST, bundle.read("manifest"), (folder / MANIFEST).read_bytes()),
        ("CONFIG", bundle.read("config"), core_config(manifest).section().content),
    ]
    for what, indexed, told in facts:
        if indexed != told:
            both = "" if isinstance(told, bytes) else f": {indexed} against {told}"
            raise ExportError(
                f"{folder}: {INDEX} and {MANIFEST} disagree on {what}{both}", "export it again"
            )


def stored_sections(folder: Path, bundle: Bundle, kinds: frozenset[Kind] = INSIDE) -> list[Section]:
    """Sections of an opened bundle in the form that the writer takes; files stay files."""
    sections = []
    for stored in bundle:
        kind = kind_of(stored)
        if kind in kinds:
            content = folder / stored.file if stored.file else bundle.read(stored.kind, stored.name)
            sections.append(Section(kind, stored.name, content))
    return sections


def kind_of(stored: StoredSection) -> Kind:
    """The section kind that the runtime's reader tells by name."""
    try:
        return Kind[stored.kind.upper()]
    except KeyError as error:
        raise ExportError(
            f"section {stored.name!r} is of {stored.kind}, unknown here", "update vljepa-edge"
        ) from error
