#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh PROGRAM CORPUS SECONDS - let a fuzzer of build.sh run, from the inputs in CORPUS.
# What it finds besides is forgotten; but an input that fails is told, in base64.
set -u
program=$1 corpus=$2 seconds=$3
work=$(mktemp -d) || exit 2
pid=
trap 'rm -rf "$work"' EXIT
trap 'kill $pid 2>/dev/null; exit 1' HUP INT TERM

mkdir "$work/new"
ASAN_OPTIONS=allocator_may_return_null=1:quarantine_size_mb=16:detect_leaks=1 \
    "$program" -max_total_time="$seconds" -max_len=2048 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$work/" "$work/new" "$corpus" \
    >"$work/log" 2>&1 &
pid=$!
wait "$pid"
status=$?
grep -E '^(INFO: Seed|stat::(number|average|peak)|#[0-9]+.(INITED|DONE))' "$work/log"
[ "$status" != 0 ] || exit 0

grep -vE '^#[0-9]+.(NEW|REDUCE|RELOAD|pulse)' "$work/log"
for input in "$work"/*-*; do
    [ -f "$input" ] || continue
    echo "the input ($(basename "$input")), in base64:"
    base64 "$input"
done
exit 1
