#!/bin/sh
# SPDX-License-Identifier: MIT
# build.sh SOURCE CLANG CMAKE BUILD [OPTION...] - the fuzzers, and the library with them,
# with libFuzzer, AddressSanitizer and UBSan, in the directory BUILD.  The options are given
# to cmake.
set -u
source=$1 clang=$2 cmake=$3 build=$4
shift 4

"$cmake" -S "$source" -B "$build" -DCMAKE_C_COMPILER="$clang" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DMP_SANITIZE=fuzzer-no-link,address,undefined -DMP_BUILD_EXAMPLES=OFF "$@" \
    >"$build.log" 2>&1 &&
    "$cmake" --build "$build" -j 2 --target fuzzers >>"$build.log" 2>&1 || {
    cat "$build.log"
    exit 1
}
