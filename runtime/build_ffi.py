"""Builds `vljepa_edge.runtime._core`: the C core and its binding in one abi3 extension (cffi).

The declarations come from include/vljepa.h itself, so the binding cannot drift from the header.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
INCLUDES = ("runtime/include", "runtime/core", "runtime/backends", "kernels", "kernels/ort")
HEADER = ROOT / "runtime" / "include" / "vljepa.h"

# Functions that Python supplies to the core, reached through `user_data`: engines of backend
# "callback", and hooks.
PYTHON_CALLBACKS = """
extern "Python" vlj_status vljpy_engine_run(
    void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
    vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes);
extern "Python" void vljpy_log(void *user_data, vlj_log_level level, const char *message);
extern "Python" int64_t vljpy_clock_ns(void *user_data);
"""

# Of kernels/resize.h and yuv.h: tables and colours that the GPU's kernels take (runtime/cuda.py).
INTERNALS = """
typedef struct vlj_resize_axis {
    uint32_t out_count, in_first, in_count, taps, shift;
    uint32_t *first, *count;
    int16_t *weights;
    ...;
} vlj_resize_axis;
size_t vlj_resize_axis_bytes(uint32_t out_count, double max_scale);
void vlj_resize_axis_init(vlj_resize_axis *axis, void *memory, uint32_t in_size,
    uint32_t resized_size, uint32_t crop_first, uint32_t out_count, uint32_t max_shift);
void vlj_resize_axis_init_chroma(vlj_resize_axis *axis, void *memory, uint32_t in_size,
    uint32_t resized_size, uint32_t crop_first, uint32_t out_count, uint32_t max_shift);
typedef struct vlj_yuv_matrix {
    int16_t offset, luma, red_v, green_u, green_v, blue_u;
    ...;
} vlj_yuv_matrix;
const vlj_yuv_matrix *vlj_yuv_matrix_of(unsigned index);
"""


def declarations(header: str) -> str:
    """A C header as cffi's parser takes it: no comments, directives, linkage blocks, attributes."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"\\\n", " ", text)
    text = re.sub(r'#ifdef __cplusplus\s+extern "C" \{\s+#endif', "", text)
    text = re.sub(r"#ifdef __cplusplus\s+\}\s+#endif", "", text)
    constants = re.findall(r"^#define (VLJ_\w+) +(?:0x)?\d+u?\s*$", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\bVLJ_API\b", "", text)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return "".join(f"#define {name} ...\n" for name in constants) + text.strip() + "\n"


def sources() -> list[str]:
    """The C files of the core, relative to the repository's root."""
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in INCLUDES[1:]
        for path in (ROOT / folder).glob("*.c")
    )


def compile_flags() -> tuple[list[str], list[str]]:
    """(compile, link) flags, steered by the environment switches that setup.py lists."""
    debug = os.environ.get("VLJEPA_DEBUG") == "1"
    compile_args = [
        "-std=gnu11",
        "-ffp-contract=off",  # products are fused where a kernel says so
        "-O0" if debug else "-O3",
        "-g",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
    ]
    link_args: list[str] = []
    sanitizers = os.environ.get("VLJEPA_SANITIZE")
    if sanitizers:
        compile_args += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer"]
        link_args += [f"-fsanitize={sanitizers}"]
    return compile_args, link_args


def make_builder() -> FFI:
    """The extension, ready for `cffi_modules` of setup.py."""
    builder = FFI()
    builder.cdef(declarations(HEADER.read_text(encoding="utf-8")) + PYTHON_CALLBACKS + INTERNALS)
    compile_args, link_args = compile_flags()
    version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    builder.set_source(
        "vljepa_edge.runtime._core",
        '#include "vljepa.h"\n#include "yuv.h"\n',
        sources=sources(),
        include_dirs=list(INCLUDES),
        # Everything that a change of must rebuild the extension.
        depends=sorted(
            path.relative_to(ROOT).as_posix()
            for folder in INCLUDES
            for path in (ROOT / folder).glob("*.[hc]")
        ),
        define_macros=[("VLJ_VERSION", f'"{version}"')],
        libraries=["m", "dl", "pthread"],
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )
    return builder


ffibuilder = make_builder()
