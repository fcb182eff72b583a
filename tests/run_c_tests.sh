#!/usr/bin/env bash
# Builds and runs the C tests: plain, and under ASan + UBSan; and the stream's under TSan. Needs a C compiler and cmake.
set -euo pipefail
cd "$(dirname "$0")/.."

generator=()
if command -v ninja >/dev/null; then
    generator=(-G Ninja)
fi

run() {
    local folder=$1
    shift
    echo "== C tests: $folder $*"
    # A build folder made with another generator or cmake cannot be reused. What isn't built, and why, is told.
    cmake -S . -B "$folder" "${generator[@]}" "$@" | sed -n 's/^-- \(libvljepa_tensorrt .*\)/\1/p' || {
        rm -rf "$folder"
        cmake -S . -B "$folder" "${generator[@]}" "$@" >/dev/null
    }
    cmake --build "$folder" -j 2
    ctest --test-dir "$folder" --output-on-failure
}

run build/c
run build/c-asan -DVLJ_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug
run build/c-tsan -DVLJ_SANITIZE=thread -DCMAKE_BUILD_TYPE=Debug
tests/run_aarch64_tests.sh
