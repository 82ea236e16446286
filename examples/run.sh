#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh [SCALE] - build libmp and its examples, and run them all, one after the other.
#
#   sh examples/run.sh        with the sleeps as they are: about a minute
#   sh examples/run.sh 0.1    ten times as fast
#
# On Debian, and what is made from it, a missing compiler or cmake is installed first,
# as root or through sudo.  If both are there nothing is installed and no network is
# needed.  Everything is built in build/examples.  Ends with 1 if anything fails.

set -u
scale=${1:-1}
cd "$(dirname "$0")/.." || exit 1
build=build/examples

die() {
    echo "run.sh: $*" >&2
    exit 1
}

# Whether a program can be compiled and linked: a compiler alone, without the headers
# of libc, is of no use.
can_compile() {
    probe=$(mktemp -d) || die "no temporary directory"
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' \
        >"$probe/probe.c"
    # shellcheck disable=SC2086 # CC may be a compiler with options.
    ${CC:-cc} -o "$probe/probe" "$probe/probe.c" 2>/dev/null
    compiled=$?
    rm -rf "$probe"
    return $compiled
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

install_missing() {
    missing=
    can_compile || missing="gcc libc6-dev"
    command -v make >/dev/null || missing="$missing make"
    command -v cmake >/dev/null || missing="$missing cmake"
    [ -n "$missing" ] || return 0

    echo "Installing what is missing: ${missing# }"
    command -v apt-get >/dev/null || die "please install it: there is no apt-get here"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        die "please install it, or run this as root: there is no sudo here"
    as_root apt-get update -q || echo "run.sh: the lists of packages are old" >&2
    # shellcheck disable=SC2086 # Several words are meant to be several packages.
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $missing </dev/null ||
        die "it could not be installed"
    can_compile || die "there is still no working compiler"
}

build_examples() {
    cmake -S . -B "$build" -DMP_BUILD_TESTS=OFF -DMP_BUILD_EXAMPLES=ON ||
        die "cmake could not configure"
    cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)" ||
        die "it could not be built"
}

failed=

# show NAME ARGUMENT...: run an example under a heading.
show() {
    echo
    echo "==== $*"
    example=$1
    shift
    "$build/examples/$example" "$@" || failed="$failed $example"
}

# The examples with a half in Python, which on Debian is in the package python3.
show_with_python() {
    echo
    if ! python3 -c 'import multiprocessing.shared_memory' 2>/dev/null; then
        echo "==== LEFT OUT, for there is no Python 3.8 or later here:" \
            "connection_server connection_client shared_array"
        return
    fi
    echo "==== connection_server | python3 connection_client.py"
    "$build/examples/connection_server" | python3 examples/connection_client.py ||
        failed="$failed connection_server"
    echo
    echo "==== python3 connection_server.py | connection_client"
    python3 examples/connection_server.py | "$build/examples/connection_client" ||
        failed="$failed connection_client"
    echo
    echo "==== python3 shared_array.py shared_array"
    python3 examples/shared_array.py "$build/examples/shared_array" ||
        failed="$failed shared_array"
}

case $scale in
    '' | *[!0-9.]*) die "usage: sh examples/run.sh [SCALE]" ;;
esac
install_missing
build_examples
for example in process active_children process_class daemon daemon_join; do
    show "$example" "--scale=$scale"
done
show lock "--scale=$scale"
show lock "--scale=$scale" --no-lock
show lock "--scale=$scale" --kill
show shared_counter "--scale=$scale"
for example in pool_apply_async pool_apply pool_close_terminate_join pool_map \
    pool_imap pool_reduce pool_progress; do
    show "$example" "--scale=$scale"
done
for example in queue pipeline joinable_queue pipe wait; do
    show "$example" "--scale=$scale"
done
show_with_python
show wordcount include src examples

echo
[ -z "$failed" ] || die "failed:$failed"
echo "All examples have run."
