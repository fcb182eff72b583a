"""Prints how many layers TensorRT makes of each component, before and after the rewrites.

python -m vljepa_edge.export.tensorrt_report --frames 16           # the paper's layers, narrow
python -m vljepa_edge.export.tensorrt_report --bundle out/paper    # what was exported
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import onnx_ir as ir
import torch

from ..model.config import paper
from ..model.vl_jepa import VLJEPA
from .components import component_names
from .graph_report import narrow, plain_program
from .manifest import Manifest
from .onnx_export import export_component
from .tensorrt_graph import for_tensorrt
from .tensorrt_network import find_tensorrt, parse

FORMS = {
    "float32": {},
    "float16": {"half": True},
    "float16, Attention": {"half": True, "attention": True},
}


def count(path: Path, folder: Path, half: bool = False, attention: bool = False) -> str:
    """Layers of a file once adapted, or why it is not taken."""
    trt = find_tensorrt(rtx=True)
    adapted = folder / f"adapted-{path.name}"
    model = for_tensorrt(ir.load(path), half=half, attention=attention)
    ir.save(model, adapted, external_data=f"{adapted.name}.data", size_threshold_bytes=1024)
    return str(parse(adapted, trt).layers)


def plain_layers(name: str, model: VLJEPA, folder: Path) -> str:
    """Layers of the plain export, its bytes cast first, as nothing else of it is changed."""
    from .tensorrt_graph import cast_bytes_first

    network = plain_program(name, model)
    cast_bytes_first(network)
    path = folder / f"plain-{name}.onnx"
    ir.save(network, path)
    try:
        return str(parse(path, find_tensorrt(rtx=True)).layers)
    except Exception as error:
        return f"refused: {str(error)[:60]}"


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--plain", action="store_true", help="The plain export's layers too.")
    parser.add_argument("--components", nargs="*")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = {}
        model = None
        if arguments.bundle is not None:
            manifest = Manifest.read(arguments.bundle / "bundle.json")
            paths = {n: arguments.bundle / c.file for n, c in manifest.components.items()}
        else:
            torch.manual_seed(0)
            config = dataclasses.replace(narrow(paper()), frames=arguments.frames)
            model = VLJEPA(config).eval()
            for name in arguments.components or component_names(config):
                paths[name] = export_component(name, model, folder).path
        plain = " plain export |" if arguments.plain and model is not None else ""
        print(f"| component |{plain} " + " | ".join(FORMS) + " |")
        print("|---" * (len(FORMS) + 1 + bool(plain)) + "|")
        for name, path in paths.items():
            if arguments.components and name not in arguments.components:
                continue
            cells = [plain_layers(name, model, folder)] if plain and model is not None else []
            cells += [count(path, folder, **form) for form in FORMS.values()]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
