#!/bin/sh
# SPDX-License-Identifier: MIT
# sanitized.sh SOURCE CC CMAKE [OPTION...] - test_sync_threads, and the library with it,
# under ThreadSanitizer, which must find nothing in it; and must find the race that is
# planted.  The options are given to cmake.  The exit status is 77 where there is no such
# sanitizer.
set -u
source=$1 cc=$2 cmake=$3
shift 3
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

echo 'int main(void) { return 0; }' >"$work/empty.c"
"$cc" -fsanitize=thread -o "$work/empty" "$work/empty.c" && "$work/empty" || {
    echo "$cc has no ThreadSanitizer, or it does not run here"
    exit 77
}

# Fences, which ThreadSanitizer does not know, are not what makes the code right where it
# looks; gcc warns of each.
"$cmake" -S "$source" -B "$work/build" -DCMAKE_C_COMPILER="$cc" -DMP_SANITIZE=thread \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMP_BUILD_EXAMPLES=OFF \
    -DCMAKE_C_FLAGS="-Wno-tsan -Wno-unknown-warning-option" "$@" >"$work/log" 2>&1 &&
    "$cmake" --build "$work/build" -j 2 --target test_sync_threads >>"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}

program=$work/build/tests/test_sync_threads
TSAN_OPTIONS="halt_on_error=0 exitcode=66" "$program" || {
    echo "ThreadSanitizer complains"
    exit 1
}
TSAN_OPTIONS="exitcode=66" "$program" unguarded >"$work/planted" 2>&1
if [ $? != 66 ] || ! grep -q 'data race' "$work/planted"; then
    cat "$work/planted"
    echo "the planted race was not found"
    exit 1
fi
echo "the planted race was found"
