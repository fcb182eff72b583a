"""The house: layers, imports, the command line's speed, and that the documents are true."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli

ROOT = Path(__file__).resolve().parent.parent
# A layer imports only from those before it.
LAYERS = (
    "kernels",
    "runtime",
    "world",
    "model",
    "export",
    "calibration",
    "assistant",
    "bench",
    "vljepa_edge",
)
HEAVY = ("torch", "transformers", "onnx", "onnxscript", "matplotlib", "sklearn", "scipy")


def python_files(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Absolute names of all that a file imports, at its top or inside a function."""
    relative = path.relative_to(ROOT)
    own = (
        "vljepa_edge" if relative.parts[0] == "vljepa_edge" else f"vljepa_edge.{relative.parts[0]}"
    )
    package = [*own.split("."), *relative.parts[1:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def layer_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] != "vljepa_edge":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "vljepa_edge"


def test_imports_point_one_way() -> None:
    wrong = []
    for position, layer in enumerate(LAYERS):
        for path in python_files(layer):
            for name in imported(path):
                target = layer_of(name)
                if name == "vljepa_edge" or target is None:
                    continue
                if LAYERS.index(target) > position:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_runtime_and_world_are_light() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for layer in ("runtime", "world")
        for path in python_files(layer)
        for name in imported(path)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_importing_is_cheap() -> None:
    loaded = modules_after("import vljepa_edge")
    assert not {"numpy", "cv2", "cffi", "torch", "vljepa_edge.runtime._core"} & loaded


def test_watching_needs_no_torch(tiny_bundle: Path, clip: Path) -> None:
    code = f"""
import vljepa_edge as vlj
model = vlj.load({str(tiny_bundle)!r})
events = list(model.stream({str(clip)!r}, queries=["a new query"]))
model.classify({str(clip)!r}, ["one", "two"])
assert events[-1].type == "end"
"""
    loaded = modules_after(code)
    # onnxruntime's library is loaded by the core; its Python package is not imported.
    assert not {*HEAVY, "onnxruntime", "PIL"} & {name.split(".")[0] for name in loaded}


def test_help_is_fast(cli: Cli) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert cli("--help").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.3


def test_help_tells_every_verb_as_its_module_does() -> None:
    from vljepa_edge.cli import COMMANDS, group

    files = {path.stem for path in (ROOT / "vljepa_edge" / "cli").glob("*.py")}
    assert set(COMMANDS) <= files
    for verb in COMMANDS:
        command = group.get_command(None, verb)  # type: ignore[arg-type]
        assert command is not None and command.name == verb


def test_binding_has_all_of_the_header() -> None:
    from vljepa_edge.runtime._core import ffi, lib
    from vljepa_edge.runtime.build_ffi import declarations

    header = (ROOT / "runtime" / "include" / "vljepa.h").read_text()
    functions = set(re.findall(r"VLJ_API[^;]*?\b(vlj_\w+)\(", header))
    assert len(functions) > 30
    assert not [name for name in functions if not hasattr(lib, name)]
    structs = set(re.findall(r"^} (vlj_\w+);", header, flags=re.MULTILINE))
    assert not [name for name in structs if ffi.sizeof(name) == 0]
    assert "/*" not in declarations(header) and "VLJ_API" not in declarations(header)


def test_wheel_holds_what_the_runtime_needs(tmp_path: Path) -> None:
    """Package data, without compiling: header, atlas, schema, type marker, bundles."""
    import zipfile

    script = "import setuptools.build_meta as b, sys; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=ROOT,
        env={"VLJEPA_WITHOUT_CORE": "1", "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "vljepa_edge/py.typed",
        "vljepa_edge/runtime/include/vljepa.h",
        "vljepa_edge/runtime/_core.pyi",
        "vljepa_edge/world/atlas/atlas.json",
        "vljepa_edge/export/bundle.schema.json",
        "vljepa_edge/cli/run.py",
        "vljepa_edge/assistant/server/page/index.html",
    ):
        assert name in names
    nano = ROOT / "vljepa_edge" / "bundles" / "nano"
    for file in nano.glob("*"):
        assert f"vljepa_edge/bundles/nano/{file.name}" in names


def code_blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def test_readme_commands_exist() -> None:
    from vljepa_edge.cli import COMMANDS, group

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = [
        line.split("#")[0].strip()
        for block in code_blocks("(?:sh|bash)")
        for line in block.splitlines()
        if line.strip()
    ]
    assert {"make demo", "make test"} <= set(commands)
    for command in commands:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, flags=re.MULTILINE), command
        elif words[0] == "vljepa":
            assert words[1] in COMMANDS, command
            verb = group.get_command(None, words[1])  # type: ignore[arg-type]
            assert verb is not None
            told = {option for parameter in verb.params for option in parameter.opts}
            if words[1] != "query":
                assert {word for word in words if word.startswith("-")} <= told, command


def test_readme_python_is_python() -> None:
    blocks = code_blocks("python")
    assert blocks
    for block in blocks:
        ast.parse(block)


@pytest.mark.parametrize("name", ["LICENSE", "THIRD_PARTY_NOTICES.md", "CHANGELOG.md"])
def test_papers_are_there(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8")) > 200


def test_one_version() -> None:
    from vljepa_edge.runtime._core import ffi, lib

    from vljepa_edge import __version__

    version = (ROOT / "VERSION").read_text().strip()
    assert ffi.string(lib.vlj_version()).decode() == version == __version__
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
