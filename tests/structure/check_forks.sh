#!/bin/sh
# SPDX-License-Identifier: MIT
# check_forks.sh SOURCE - tests fork through tests/support/child_guard.h only: a child that
# is not guarded runs the tests that follow, and its failures are not seen.
set -u
cd "$1" || exit 2

found=$(find tests -name '*.[ch]' ! -path 'tests/support/*' ! -path 'tests/bench/*' \
    ! -path tests/crash/stepkill.c -exec \
    grep -nE '(^|[^A-Za-z0-9_])v?fork[ ]*\(' /dev/null {} +)
[ -z "$found" ] || { echo "$found"; exit 1; }
