#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh MODEL... - prove models with spin, and that spin can fail: sh run.sh lock
#
# A model says in its opening comment with which macros it is to be proved, ordinarily and,
# if MP_TEST_NIGHTLY is set, also then.  Each macro BUG_... that it asks for is a bug, which
# spin must find with the macros of that bug, or with those of all bugs.  The exit status is
# 77 where `spin` is something else.
set -u
spin -V 2>/dev/null | grep -q '^Spin Version' || {
    echo "there is no model checker that is called spin"
    exit 77
}
models=$(cd "$(dirname "$0")" && pwd) || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 2
failed=0

# The macros behind a word in the opening comment, a line for each run.
runs() {
    sed -n "s/^ \*   $2: *//p" "$models/$1.pml"
}

# check MODEL MACROS...: 0 proved, 1 an error found, 2 could not be examined to its end.
check() {
    model=$1
    shift
    rm -f pan* ./*.trail
    spin -a "$@" "$models/$model.pml" >spin.out 2>&1 &&
        "${CC:-cc}" -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c 2>>spin.out || {
        cat spin.out
        return 2
    }
    ./pan -m1000000 >pan.out 2>&1
    grep -q '^pan:1: \(invalid end state\|assertion violated\)' pan.out && return 1
    # Nothing was left out: no search that was too deep, no lack of memory.
    grep -q 'errors: 0$' pan.out &&
        ! grep -Eq 'too small|out of memory|truncated' pan.out && return 0
    cat pan.out
    return 2
}

prove() {
    check "$@" && {
        echo "ok    $*: $(awk '/states, stored/ { print $1 }' pan.out) states"
        return
    }
    failed=1
    echo "WRONG $*: $(sed -n 's/^pan:1: //p' pan.out)"
    [ -f "$1.pml.trail" ] || return
    trail=$1.pml.trail source=$models/$1.pml
    shift
    echo "The last steps that lead there:"
    spin -k "$trail" -p -g "$@" "$source" | tail -n 60
}

refute() {
    check "$@"
    case $? in
    1) echo "ok    $*: $(sed -n 's/^pan:1: //p' pan.out)" ;;
    *) echo "WRONG $*: not found" && failed=1 ;;
    esac
}

each_run() {
    runs "$1" "$2" | while read -r macros; do echo "$1 $macros"; done
}

for model in "$@"; do
    each_run "$model" ordinary >proofs
    [ -z "${MP_TEST_NIGHTLY:-}" ] || each_run "$model" nightly >>proofs
    [ -s proofs ] || { echo "WRONG $model: does not say how to prove it"; failed=1; }
    while read -r run; do
        # shellcheck disable=SC2086 # the macros are words
        prove $run
    done <proofs
    bugs=$(sed -n 's/^#if.*\(BUG_[A-Z_]*\).*/\1/p' "$models/$model.pml" | sort -u)
    [ -n "$bugs" ] || { echo "WRONG $model: has no bugs to find"; failed=1; }
    for bug in $bugs; do
        macros=$(runs "$model" "$bug")
        # shellcheck disable=SC2086
        refute "$model" -D"$bug" ${macros:-$(runs "$model" bugs)}
    done
done
exit $failed
