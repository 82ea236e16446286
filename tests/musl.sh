#!/bin/sh
# SPDX-License-Identifier: MIT
# musl.sh - run the tests with musl as the C library: sh tests/musl.sh
#
# On Debian and its relatives, what is missing of musl-gcc, CMake and pkg-config is
# installed first (as root, or with sudo).  No package has cmocka for musl: it is built
# from the source that the machine's own package sources offer.  Everything is built in
# build/musl, the programs statically.  Further arguments are given to ctest (-C nightly
# -L nightly: for hours); the exit status is ctest's, or 77 where what is missing can't be
# had.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/build/musl
cmocka=$build/cmocka

give_up()
{
    echo "musl.sh: SKIPPED, AND NOTHING WAS TESTED: $1"
    exit 77
}

install_missing()
{
    missing=
    command -v musl-gcc >/dev/null || missing="$missing musl-tools"
    command -v make >/dev/null || missing="$missing make"
    command -v cmake >/dev/null || missing="$missing cmake"
    command -v pkg-config >/dev/null || missing="$missing pkg-config"
    if [ ! -f "$cmocka/lib/libcmocka.a" ]; then
        command -v dpkg-source >/dev/null || missing="$missing dpkg-dev"
    fi
    [ -n "$missing" ] || return 0

    echo "musl.sh: missing, and now installed:$missing"
    command -v apt-get >/dev/null || give_up "there is no apt-get here"
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || give_up "that takes root, or sudo"
        sudo="sudo -n"
    fi
    # An old list of packages may do, so a failing update is not the end.
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q || true
    # shellcheck disable=SC2086 # the names are words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
        --no-install-recommends $missing || give_up "apt-get can't install them"
}

# From where apt has libcmocka-dev it may have the source: those entries of the machine's
# package sources once more, for sources, in the directory given.
source_entries()
{
    uri=$(apt-cache madison libcmocka-dev | awk 'NR == 1 { print $5 }')
    list='' parts=''
    eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
    for file in "$list" "$parts"/*.list; do
        [ ! -f "$file" ] || grep -hF "$uri" "$file" || true
    done | sed -n 's/^deb\(-src\)\{0,1\}[[:space:]]/deb-src /p' | sort -u >"$1/own.list"
    for file in "$parts"/*.sources; do
        [ ! -f "$file" ] || uri=$uri awk 'BEGIN { RS = ""; ORS = "\n\n" }
            index($0, ENVIRON["uri"])' "$file"
    done | sed 's/^Types:.*/Types: deb-src/' >"$1/own.sources"
}

# apt-get with package sources, lists and files of its own, in the directory given: the
# machine's do not change, and any user may.
apt_get_in()
{
    dir=$1
    shift
    (cd "$dir" && apt-get -q -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$dir/entries" -o Dir::State::lists="$dir/lists" \
        -o Dir::Cache="$dir/cache" "$@")
}

build_cmocka()
{
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    chmod 755 "$work" # apt reads as a user of its own
    command -v apt-get >/dev/null || give_up "there is no apt-get here"
    mkdir "$work/entries" "$work/lists" "$work/cache"
    source_entries "$work/entries"
    apt_get_in "$work" update || true
    apt_get_in "$work" source cmocka || give_up "apt-get has no source of cmocka"
    cmake -S "$work"/cmocka-*/ -B "$work/build" -DCMAKE_C_COMPILER=musl-gcc \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$cmocka" \
        -DCMAKE_INSTALL_LIBDIR=lib -DBUILD_SHARED_LIBS=OFF -DWITH_STATIC_LIB=ON \
        -DWITH_EXAMPLES=OFF
    cmake --build "$work/build"
    cmake --install "$work/build"
    # Some versions make both kinds whatever they are told, and give this one its own name.
    [ ! -f "$cmocka/lib/libcmocka-static.a" ] ||
        mv "$cmocka/lib/libcmocka-static.a" "$cmocka/lib/libcmocka.a"
    rm -f "$cmocka"/lib/libcmocka.so*
    rm -rf "$work"
    trap - EXIT HUP INT TERM
}

install_missing
[ -f "$cmocka/lib/libcmocka.a" ] || build_cmocka

# Nothing that pkg-config finds elsewhere is for musl, nor is the OpenMP that gcc brings.
PKG_CONFIG_LIBDIR=$cmocka/lib/pkgconfig cmake -S . -B "$build" \
    -DCMAKE_C_COMPILER=musl-gcc -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \
    -DCMAKE_EXE_LINKER_FLAGS=-static -DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON \
    -DMP_BUILD_EXAMPLES=OFF
jobs=$(getconf _NPROCESSORS_ONLN)
cmake --build "$build" -j "$jobs"

# Tests measure time and use all processors themselves.
cd "$build"
exec ctest --output-on-failure -j 1 -L '^(api|unit|crash|nightly)$' "$@"
