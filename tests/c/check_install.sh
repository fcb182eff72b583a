#!/bin/sh
# check_install.sh BUILD SOURCE CC CMAKE [TEST_ORT LIBONNXRUNTIME MODELS]: installs the library into a scratch prefix and
# builds examples/c/run_image.c against it, by pkg-config and by find_package; with the last three it also runs it on an image.
set -eu
build=$1 source=$2 cc=$3 cmake=$4
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

"$cmake" --install "$build" --prefix "$prefix" >/dev/null
library=$(dirname "$(find "$prefix" -name libvljepa.so)")
test -f "$prefix/include/vljepa.h"

# pkg-config, relocated to the scratch prefix; shared, then static
program=$scratch/run_image
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH="$library/pkgconfig"
    flags=$(pkg-config --define-variable=prefix="$prefix" --cflags --libs vljepa)
    "$cc" -std=c11 -Wall -Wextra -Werror "$source/examples/c/run_image.c" -o "$program" $flags
    libs=$(pkg-config --define-variable=prefix="$prefix" --static --libs vljepa | sed 's/-lvljepa/-l:libvljepa.a/')
    "$cc" "$source/examples/c/run_image.c" -o "$program.static" -I"$prefix/include" $libs
fi

mkdir "$scratch/consumer"
cat >"$scratch/consumer/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.18)
project(consumer C)
find_package(vljepa REQUIRED)
foreach(kind vljepa vljepa_static)
    add_executable(with_${kind} ${SOURCE}/examples/c/run_image.c)
    target_link_libraries(with_${kind} PRIVATE vljepa::${kind})
endforeach()
EOF
"$cmake" -S "$scratch/consumer" -B "$scratch/consumer/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
    -DSOURCE="$source" >/dev/null
"$cmake" --build "$scratch/consumer/build" >/dev/null

if [ $# -eq 7 ]; then
    test_ort=$5 ort=$6 models=$7
    "$test_ort" "$ort" "$models" "$scratch/fixture.vlj"
    # 6 s of black, then 6 s of white, 40 x 36 at 10 frames a second: a text for each (and one between them, in mixed windows)
    { head -c $((3 * 40 * 36 * 60)) /dev/zero; head -c $((3 * 40 * 36 * 60)) /dev/zero | tr '\0' '\377'; } >"$scratch/frames.rgb"
    for run in with_vljepa with_vljepa_static; do
        LD_LIBRARY_PATH=$library "$scratch/consumer/build/$run" "$scratch/fixture.vlj" 40 36 10 "$scratch/frames.rgb" "$ort" >"$scratch/$run"
        cat "$scratch/$run"
        test "$(grep -c " word" "$scratch/$run")" -ge 2
    done
    "$scratch/consumer/build/with_vljepa_static" "$scratch/fixture.vlj" 40 36 10 - "$ort" <"$scratch/frames.rgb" | cmp - "$scratch/with_vljepa"
    # a cut image, and no such file: one line and exit code 2
    head -c 5000 "$scratch/fixture.vlj" >"$scratch/cut.vlj"
    for image in cut.vlj missing.vlj; do
        code=0
        "$scratch/consumer/build/with_vljepa_static" "$scratch/$image" 40 36 10 - "$ort" </dev/null 2>"$scratch/said" || code=$?
        cat "$scratch/said"
        test "$code" -eq 2
        test "$(wc -l <"$scratch/said")" -eq 1
        grep -q "$image" "$scratch/said"
    done
fi
