#!/usr/bin/env bash
# Builds the whole core, its example and its tests for AArch64 and runs them under QEMU, NEON kernels included. Skipped,
# with the reason, where gcc-aarch64-linux-gnu or qemu-user isn't installed.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in aarch64-linux-gnu-gcc qemu-aarch64 cmake; do
    if ! command -v "$program" >/dev/null; then
        echo "== C tests on AArch64: skipped, there is no $program (Debian: gcc-aarch64-linux-gnu, qemu-user)"
        exit 0
    fi
done

echo "== C tests on AArch64: build/c-aarch64"
generator=()
if command -v ninja >/dev/null; then
    generator=(-G Ninja)
fi
# No Python: the ONNX Runtime of this machine is for another processor, so test_ort skips itself.
cmake -S . -B build/c-aarch64 "${generator[@]}" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu" \
    -DCMAKE_DISABLE_FIND_PACKAGE_Python3=ON >/dev/null
cmake --build build/c-aarch64 -j "${VLJ_JOBS:-2}"
# check_* look at and run files of this machine's own kind; test_steady_state measures resident memory, which is QEMU's
# own here.
ctest --test-dir build/c-aarch64 --output-on-failure -E '^(check_|test_steady_state$)'
