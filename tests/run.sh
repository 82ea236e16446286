#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh - build libmp and run its tests: sh tests/run.sh
#
# On Debian and its relatives, what is missing of compiler, CMake, pkg-config and cmocka is
# installed first (as root, or with sudo), and spin if it can be had.  Everything is built
# in build/tests.  Further arguments are given to ctest; the exit status is ctest's.
set -eu
cd "$(dirname "$0")/.."

missing=
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
command -v make >/dev/null || missing="$missing make"
command -v cmake >/dev/null || missing="$missing cmake"
command -v pkg-config >/dev/null || missing="$missing pkg-config"
# The compiler knows best whether it finds a header.
if command -v cc >/dev/null; then
    echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 || missing="$missing libc6-dev"
fi
if ! command -v pkg-config >/dev/null || ! pkg-config --exists cmocka; then
    missing="$missing libcmocka-dev"
fi

if [ -n "$missing" ]; then
    echo "run.sh: missing, and now installed:$missing"
    command -v apt-get >/dev/null || { echo "run.sh: no apt-get here: install them"; exit 1; }
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { echo "run.sh: that takes root, or sudo"; exit 1; }
        sudo=sudo
    fi
    # An old list of packages may do, so a failing update is not the end.
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q || true
    # shellcheck disable=SC2086 # the names are words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends $missing
fi

# Only the models in tests/model need spin, and only where it can be had without a question.
if ! command -v spin >/dev/null && command -v apt-get >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends spin || echo "run.sh: without spin: models are not proved"
fi

jobs=$(getconf _NPROCESSORS_ONLN)
[ "$jobs" -ge 2 ] || jobs=2
cmake -S . -B build/tests -DCMAKE_BUILD_TYPE=Release
cmake --build build/tests -j "$jobs"

# Tests measure time and use all processors themselves: not more than two at once.
cd build/tests
exec ctest --output-on-failure -j 2 "$@"
