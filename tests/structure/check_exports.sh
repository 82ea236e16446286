#!/bin/sh
# SPDX-License-Identifier: MIT
# check_exports.sh SOURCE LIBRARY - libmp.so exports exactly what src/libmp.map lists, all
# of it named mp_*, and needs nothing but the C library.
set -u
source=$1
library=$2
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
bad=0

sed -n '/global:/,/local:/s/^ *\([A-Za-z_0-9]*\);.*/\1/p' "$source/src/libmp.map" |
    sort >"$dir/listed"
nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' |
    sort >"$dir/exported"
[ -s "$dir/listed" ] || { echo "src/libmp.map lists nothing"; bad=1; }
diff "$dir/listed" "$dir/exported" >"$dir/diff" || {
    echo "listed (<) and exported (>) differ:"
    cat "$dir/diff"
    bad=1
}
grep -v '^mp_[a-z]' "$dir/exported" && { echo "exported under a foreign name"; bad=1; }

# Declared in a public header, and listed.
cat "$source"/include/mp/*.h | tr '\n' ' ' | sed 's/MP_API/\nMP_API/g' |
    sed -n 's/^MP_API[^(]*[ *]\(mp_[a-z_0-9]*\)(.*/\1/p; s/^MP_API MP_MUST_CHECK[^(]*[ *]\(mp_[a-z_0-9]*\)(.*/\1/p' |
    sort -u >"$dir/declared"
diff "$dir/declared" "$dir/listed" >"$dir/diff" || {
    echo "declared (<) and listed (>) differ:"
    cat "$dir/diff"
    bad=1
}

readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' >"$dir/needed"
grep -Ev '^(libc[.-]|ld-|libpthread[.-]|libc$)' "$dir/needed" && {
    echo "libmp needs more than the C library"
    bad=1
}
exit $bad
