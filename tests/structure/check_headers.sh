#!/bin/sh
# SPDX-License-Identifier: MIT
# check_headers.sh SOURCE CC - each public header compiles alone, as C99 and as C++11.
set -u
source=$1
cc=$2
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
bad=0

for header in "$source"/include/mp/*.h; do
    name=$(basename "$header")
    # Twice, so that what guards it is seen; a declaration, for no unit may be empty.
    printf '#include <mp/%s>\n#include <mp/%s>\nint nothing;\n' "$name" "$name" >"$dir/one.c"
    "$cc" -std=c99 -Wall -Wextra -pedantic -Werror -I"$source/include" -fsyntax-only \
        "$dir/one.c" || { echo "$name does not compile as C99"; bad=1; }
    if command -v g++ >/dev/null; then
        g++ -std=c++11 -Wall -Wextra -pedantic -Werror -I"$source/include" -fsyntax-only \
            -x c++ "$dir/one.c" || { echo "$name does not compile as C++11"; bad=1; }
    fi
done
command -v g++ >/dev/null || echo "no g++ here: headers were tried as C only"
exit $bad
