#!/bin/sh
# SPDX-License-Identifier: MIT
# check_layers.sh SOURCE - a file in src/<floor>/ includes headers of its own floor or of
# lower ones, never of a higher one.
set -u
cd "$1" || exit 2

find src -name '*.[ch]' -exec awk '
BEGIN {
    count = split("base shm sync ipc proc pool", floors, " ")
    for (i = 1; i <= count; i++)
        height[floors[i]] = i
}
FNR == 1 {
    split(FILENAME, part, "/")
    own = part[2]
    if (!(own in height)) {
        print FILENAME ": " own " is no floor"
        bad = 1
    }
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    name = quoted[2]
    if (name !~ /\// || name ~ /^mp\//)
        next
    split(name, path, "/")
    if (!(path[1] in height)) {
        print FILENAME ":" FNR ": includes \"" name "\", which is on no floor"
        bad = 1
    } else if (height[path[1]] > height[own]) {
        print FILENAME ":" FNR ": " own " includes \"" name "\" of a higher floor"
        bad = 1
    }
}
END { exit bad }
' {} +
