#!/bin/sh
# SPDX-License-Identifier: MIT
# check_readme.sh SOURCE - the program in README.md is examples/pool_map.c, to the letter.
set -u
cd "$1" || exit 2
[ -f README.md ] || { echo "there is no README.md"; exit 1; }
[ -f examples/pool_map.c ] || { echo "there is no examples/pool_map.c"; exit 1; }

awk '/^```c$/ && !seen { seen = 1; inside = 1; next } /^```/ { inside = 0 } inside' README.md |
    diff - examples/pool_map.c || {
    echo "README.md (<) and examples/pool_map.c (>) differ"
    exit 1
}
