#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh PROGRAM - run one example and look at what it prints.
#
# Sleeps are scaled down.  What is compared is what the example promises: a fixed text
# where the order is fixed, counts and the order within each process where it is not.
# Nothing may be printed on standard error, and the exit status must be 0.

LC_ALL=C
export LC_ALL
program=$1
name=${program##*/}
examples=$(dirname "$0")
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
out=$dir/out

fail() {
    echo "$name: $*" >&2
    echo "--- standard output" >&2
    head -n 150 "$out" >&2
    echo "--- standard error" >&2
    head -n 50 "$dir/err" >&2
    exit 1
}

# run ARGUMENT...: run the example; afterwards nothing of it may be left over.
run() {
    "$program" "$@" >"$out" 2>"$dir/err" || fail "exit status $?"
    [ ! -s "$dir/err" ] || fail "something on standard error"
}

# lines COUNT PATTERN: so many lines are what the pattern says, from end to end.
lines() {
    found=$(grep -c -x -E -e "$2" "$out")
    [ "$found" = "$1" ] || fail "$found lines are \"$2\", and not $1"
}

# exactly TEXT: it has printed this and nothing else.
exactly() {
    printf '%s\n' "$1" | cmp -s - "$out" || fail "expected: $1"
}

# counts LIST: for each process the lines count from 0 on; LIST has the numbers of
# lines of all processes, sorted.
counts() {
    found=$(awk '$4 != n[$2]++ { print "process " $2 " skips to " $4 }
                 END { for (pid in n) print n[pid] }' "$out" | sort -n | tr '\n' ' ')
    [ "$found" = "$1 " ] || fail "processes have printed $found lines, and not $1"
}

numbered='Pid: [0-9]+ LoopCount: [0-9]+'

check_process() {
    run
    for i in 0 1 2 3 4; do
        lines 1 "Process: $i"
    done
    lines 5 '.*'
}

check_active_children() {
    run --scale=0.1
    lines 1 'CPU number:[1-9][0-9]*'
    lines 1 'Process Ended'
    lines 100 'Process: [0-9]+'
    lines 0 'Child process name: .* id: 0'
    for i in 0 1 49 99; do
        lines 1 "Process: $i"
    done
    awk '
        /^Child process name: Process-[0-9]+ id: [0-9]+$/ {
            sub("Process-", "", $4)
            if ($4 + 0 <= last || seen[$6]++) exit 1
            last = $4 + 0
            n++
        }
        /^CPU number:/ { cpus = NR }
        /^Process Ended$/ { ended = NR }
        END { if (last > 100 || n < 1 || cpus >= ended || NR != n + 102) exit 1 }
    ' "$out" || fail "the list of children is wrong"
}

check_process_class() {
    run --scale=0.02
    lines 9 "$numbered"
    lines 9 '.*'
    counts '2 3 4'
}

# Not scaled: none of the daemons gets as far as its first line, a second later.  The
# pipe into cat stays open for as long as one of them lives.
check_daemon() {
    "$program" 2>"$dir/err" | cat >"$out"
    exactly 'Main process Ended!'
}

check_daemon_join() {
    run --scale=0.02
    lines 9 "$numbered"
    found=$(awk '/^Pid/ { printf "%s ", $4 } END { print }' "$out")
    [ "$found" = '0 1 0 1 2 0 1 2 3 Main process Ended!' ] || fail "order: $found"
}

check_lock() {
    run --scale=0.05
    lines 60 "$numbered"
    lines 60 '.*'
    counts '10 11 12 13 14'

    run --scale=0.05 --kill
    lines 1 'Pid: [0-9]+ \(killed\)'
    lines 52 "$numbered"
    lines 53 '.*'

    run --scale=0.05 --no-lock
    whole=$(grep -c -x -E -e "$numbered" "$out")
    [ "$whole" -lt 60 ] || fail "no line is mixed up without the lock"
}

check_shared_counter() {
    run
    lines 1 'in one step:    400000'
    lines 1 'under the lock: 400000'
    lines 1 'with a race:    [0-9]+'
    for i in 0 1 2 3; do
        lines 1 "process $i:      100000"
    done
    lines 7 '.*'
}

# tasks RUNNING: each of the four tasks starts once and ends once, after its start,
# and never are more than RUNNING under way.
tasks() {
    awk -v most="$1" '
        /^Start process: [0-3]$/ { if (started[$3]++ || ++open > most) exit 1; n++ }
        /^End process [0-3]$/ { if (!started[$3] || ended[$3]++) exit 1; open--; n++ }
        END { if (n != 8 || open != 0) exit 1 }' "$out" || fail "tasks out of order"
}

check_pool_apply_async() {
    run --scale=0.1
    tasks 3
    lines 1 'Started processes'
    lines 10 '.*'
    [ "$(tail -n 1 "$out")" = 'Subprocess done.' ] || fail "it did not wait"
    [ "$(tail -n 2 "$out" | head -n 1)" != 'Started processes' ] ||
        fail "apply_async waited for the tasks"
}

check_pool_apply() {
    run --scale=0.01
    exactly 'Start process: 0
End process 0
Start process: 1
End process 1
Start process: 2
End process 2
Start process: 3
End process 3
Started processes
Subprocess done.'
}

check_pool_close_terminate_join() {
    run --scale=0.02
    lines 1 'join before close: .+'
    lines 1 'a task after close: .+'
    lines 4 '  task [0-3]: done'
    lines 4 '  task [0-3]: .*cancel.*'
    lines 12 '.*'
}

check_pool_imap() {
    run --scale=0.1
    exactly 'imap: 0 1 4 9 16 25 36 49 64 81
imap_unordered: 1 3 5
the first ten primes: 2 3 5 7 11 13 17 19 23 29'
}

check_pool_map() {
    run
    exactly '[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]'
}

check_pool_poll() {
    seq 1 100 | "$program" >"$out" 2>"$dir/err" || fail "exit status $?"
    [ ! -s "$dir/err" ] || fail "something on standard error"
    lines 100 '[0-9]+ is (not )?prime'
    lines 1 '97 is prime'
    lines 1 '99 is not prime'
    [ "$(tail -n 1 "$out")" = '25 primes' ] || fail "wrong number of primes"

    # An answer comes while the input is still open.
    { echo 7; until grep -q -x '7 is prime' "$out"; do sleep 0.01; done; printf 8; } |
        "$program" >"$out" 2>"$dir/err" || fail "exit status $?"
    lines 1 '8 is not prime'
}

check_pool_progress() {
    run --scale=0.01
    exactly '8 of 400 failed'

    # A terminal of its own, where script(1) is there to make one.
    script -qec true /dev/null >/dev/null 2>&1 </dev/null || return 0
    COLUMNS=60 script -qec "$program --scale=0.01" /dev/null >"$out" 2>"$dir/err" \
        </dev/null || fail "exit status $? on a terminal"
    grep -q 'naps 100% \[#*\] 400/400 .*8 failed' "$out" || fail "no bar"
}

check_pool_reduce() {
    run
    lines 1 '3\.14159265[0-9]*'
    for i in 0 1 2 3 4 5 6 7 8 9; do
        lines 1 "$i: 1000000"
    done
    lines 11 '.*'
}

# as_wc ARGUMENT...: wordcount prints what wc prints, and exits as wc does.
as_wc() {
    wc "$@" >"$dir/wc" 2>"$dir/wcerr"
    expected=$?
    # shellcheck disable=SC2086 # $bytes is an option or nothing.
    "$program" $bytes -j 3 "$@" >"$out" 2>"$dir/err"
    status=$?
    [ $status -eq $expected ] || fail "exit status $status for $*, and not $expected"
    cmp "$dir/wc" "$out" || fail "not what wc prints for $*"
    sed "s/^wc:/$name:/" "$dir/wcerr" | cmp - "$dir/err" || fail "other errors for $*"
}

# under DIRECTORY: what wordcount prints for it is what wc prints for all its files.
under() {
    find "$1" \( -type f -o -type l \) -print | sort >"$dir/found"
    while IFS= read -r file; do
        [ -d "$file" ] || printf '%s\0' "$file"
    done <"$dir/found" >"$dir/files"
    wc --files0-from="$dir/files" >"$dir/wc" 2>"$dir/wcerr"
    expected=$?
    # shellcheck disable=SC2086
    "$program" $bytes "$1" >"$out" 2>"$dir/err"
    status=$?
    [ $status -eq $expected ] || fail "exit status $status for $1, and not $expected"
    cmp "$dir/wc" "$out" || fail "not what wc prints for the files under $1"
    sed "s/^wc:/$name:/" "$dir/wcerr" | cmp - "$dir/err" || fail "other errors for $1"
}

# A word of nine million bytes, and text whose pieces begin and end anywhere.
make_large_files() {
    head -c 9000000 /dev/zero | tr '\0' x >"$dir/word"
    awk 'BEGIN { for (i = 0; i < 1000000; i++) printf "%d words\tand\n lines ", i }' \
        >"$dir/text"
}

# With one worker, which reads a pipe first, the rest waits until the pipe is closed.
# To open it for writing takes as long as the worker takes to open it for reading.
start_with_pipe() {
    [ -p "$dir/pipe" ] || mkfifo "$dir/pipe"
    "$program" -j 1 "$dir/pipe" "$@" >"$out" 2>"$dir/err" &
    pid=$!
    exec 3>"$dir/pipe"
}

# A large file loses its end after it has been cut into pieces.
check_shrinking() {
    head -c 9000000 /dev/zero >"$dir/large"
    start_with_pipe "$dir/large"
    head -c 5000000 /dev/zero >"$dir/large"
    exec 3>&-
    wait "$pid" && fail "exit status 0 for a file that became shorter"
    grep -q "^$name: $dir/large: " "$dir/err" || fail "no error line"
    lines 1 '      0       0       0 total'
    lines 2 '.*'
}

# The worker that reads the pipe is killed: the other file is counted all the same.
check_killed_worker() {
    start_with_pipe "$dir/small"
    supervisor=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
    supervisor=${supervisor%% *}
    worker=$(cat "/proc/$supervisor/task/$supervisor/children" 2>/dev/null)
    if [ -n "$worker" ]; then
        kill -KILL "${worker%% *}"
    fi
    exec 3>&-
    wait "$pid"
    status=$?
    lines 1 "      1       5      20 $dir/small"
    lines 1 '      1       5      20 total'
    [ -n "$worker" ] || return 0 # This system does not tell who the worker is.
    [ $status -eq 1 ] || fail "exit status $status after a worker was killed"
    grep -q "^$name: $dir/pipe: .*killed" "$dir/err" || fail "no error line"
    lines 2 '.*'
}

# killed: the example is killed at its first line.  The pipe into cat stays open for as
# long as a process of it lives, and it closes.
killed() {
    mkfifo "$dir/first"
    : >"$out"
    cat "$dir/first" >"$out" &
    reader=$!
    "$program" >"$dir/first" 2>"$dir/err" &
    pid=$!
    until [ -s "$out" ]; do sleep 0.01; done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    wait "$reader"
}

check_queue() {
    run --scale=0.1
    for i in 0 1 2 10 18 19; do
        lines 1 "consumer [12] takes $i"
    done
    lines 20 'consumer [12] takes [0-9]+'
    lines 21 '.*'
    [ "$(tail -n 1 "$out")" = 'all 20 numbers are taken' ] || fail "it did not wait"
    killed
}

check_pipeline() {
    run --scale=0.1
    exactly '1 4 9 16 25 36 49 64 81 100 sum: 385'
    killed
}

check_joinable_queue() {
    run --scale=0.1
    for i in 1 2 3 4 5 6; do
        lines 1 "job $i is done"
    done
    lines 7 '.*'
    [ "$(tail -n 1 "$out")" = 'all 6 jobs are done' ] || fail "it did not wait"
    killed
}

check_pipe() {
    run
    exactly 'hello -> HELLO
messages arrive whole -> MESSAGES ARRIVE WHOLE'
}

check_wait() {
    run --scale=0.1
    for i in 1 2 3; do
        found=$(awk -v name="$i," '$2 == name { printf "%s ", $4 }' "$out")
        [ "$found" = '1 2 3 ' ] || fail "process $i has said $found"
    done
    lines 10 '.*'
    [ "$(tail -n 1 "$out")" = 'all have ended' ] || fail "it did not wait for the ends"
    killed
}

# need_python: the example's other half is a Python program, which stands beside it.
need_python() {
    python3 -c 'import multiprocessing.shared_memory' 2>/dev/null && return
    echo "SKIPPED: $name is for Python 3.8 or later, and there is none here"
    exit 77
}

# start COMMAND...: run it meanwhile, until it has printed its first line, to $out.
start() {
    : >"$out"
    "$@" >"$out" 2>"$dir/err" &
    pid=$!
    until [ -s "$out" ]; do
        kill -0 "$pid" 2>/dev/null || fail "$1 has ended too early"
        sleep 0.01
    done
}

check_connection_server() {
    need_python
    "$program" 2>"$dir/err" |
        python3 "$examples/connection_client.py" >"$out" || fail "exit status $?"
    exactly 'primes below 10 are 4
primes below 1000 are 168
primes below 1000000 are 78498'
    [ ! -s "$dir/err" ] || fail "something on standard error"

    # The client is killed: the server ends too.
    start "$program"
    server=$pid
    address=$(cat "$out")
    start python3 -u "$examples/connection_client.py" "$address"
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    wait "$server"
    [ $? -le 1 ] || fail "the server did not end by itself"

    # And the other way round.
    start "$program"
    server=$pid
    address=$(cat "$out")
    start python3 -u "$examples/connection_client.py" "$address"
    kill -KILL "$server"
    wait "$server" 2>/dev/null
    wait "$pid"
    [ $? -le 1 ] || fail "the client did not end by itself"
}

check_connection_client() {
    need_python
    python3 "$examples/connection_server.py" 2>"$dir/err" |
        "$program" >"$out" || fail "exit status $?"
    exactly '2 ** 64 = 18446744073709551616
3 ** 100 = 515377520732011331036461129765621272702107522001
7 ** 7 = 823543'
    [ ! -s "$dir/err" ] || fail "something on standard error"
    "$program" nowhere:1x </dev/null >"$out" 2>"$dir/err" && fail "it went nowhere"
    grep -q "^$name: mp_client: " "$dir/err" || fail "no error line"
}

check_shared_array() {
    need_python
    python3 "$examples/shared_array.py" "$program" >"$out" 2>"$dir/err" ||
        fail "exit status $?"
    exactly 'first: 1.0 0.25 0.0625
pi is about 3.14159'
    [ ! -s "$dir/err" ] || fail "something on standard error"

    # Python is killed while it waits for the C half, here a sleep: the block goes too.
    printf '#!/bin/sh\necho "$1 $$"\nexec sleep 30\n' >"$dir/slow"
    chmod +x "$dir/slow"
    start python3 "$examples/shared_array.py" "$dir/slow"
    read -r block sleeper <"$out"
    [ ! -d /dev/shm ] || [ -e "/dev/shm/$block" ] || fail "there is no block $block"
    kill -KILL "$pid"
    kill -KILL "$sleeper"
    wait "$pid" 2>/dev/null
    while [ -e "/dev/shm/$block" ]; do sleep 0.01; done
}

check_wordcount() {
    printf 'two words\nand a line' >"$dir/small"
    run "$dir/small"
    exactly " 1  5 20 $dir/small"
    check_shrinking
    check_killed_worker

    if ! wc --version 2>/dev/null | grep -q GNU; then
        echo "$name: there is no GNU wc to compare with"
        return
    fi
    bytes= # Newer versions of wc take every byte that is no white space for a word.
    [ "$(printf '\001' | wc -w)" -eq 0 ] || bytes=-b

    make_large_files
    as_wc "$dir/small"
    as_wc "$dir/word"
    as_wc "$dir/text"
    as_wc /dev/null
    as_wc "$program" "$dir/word" /dev/null "$dir/missing" "$dir/text" "$dir/small"
    as_wc "$dir/missing"
    mkdir -p "$dir/tree/a/b" "$dir/tree/a-b"
    ln -s nowhere "$dir/tree/a/dangling"
    ln -s .. "$dir/tree/a/up"
    ln -s ../../small "$dir/tree/a/link"
    echo one >"$dir/tree/a/b/file"
    echo two >"$dir/tree/a-b/file"
    echo three >"$dir/tree/a/b.c"
    under "$dir/tree"
    if [ -d /usr/include ]; then
        under /usr/include
    fi
}

"check_$name"
