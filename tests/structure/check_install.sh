#!/bin/sh
# SPDX-License-Identifier: MIT
# check_install.sh SOURCE BUILD CC CMAKE - an installed libmp, and its source tree, can be
# used by find_package, by pkg-config and by add_subdirectory.
set -eu
source=$1
build=$2
cc=$3
cmake=$4
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$cmake" --install "$build" --prefix "$dir/installed" >"$dir/log"
[ -f "$dir/installed/include/mp/mp.h" ] || { echo "mp.h was not installed"; exit 1; }

mkdir "$dir/consumer" "$dir/embedder"
cat >"$dir/consumer/main.c" <<'END'
#include <mp/mp.h>

static int seven(void *arg)
{
    (void)arg;
    return 7;
}

static int next(const void *arg, void *result, void *context)
{
    (void)context;
    *(int *)result = *(const int *)arg + 1;
    return 0;
}

int main(void)
{
    int numbers[3] = {1, 2, 3}, code = 0;
    mp_process *p;
    mp_pool *pool;

    if (mp_process_new(&p, seven, NULL, NULL) != 0 || mp_process_start(p) != 0)
        return 1;
    if (mp_process_join(p, MP_FOREVER) != 0 || mp_process_exitcode(p, &code) != 0)
        return 2;
    mp_process_free(p);
    if (code != 7 || mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)) != 0)
        return 3;
    code = mp_pool_map(pool, next, numbers, 3, sizeof(int), numbers, sizeof(int), NULL);
    mp_pool_free(pool);
    return code == 0 && numbers[2] == 4 ? 0 : 4;
}
END
cp "$dir/consumer/main.c" "$dir/embedder/main.c"

cat >"$dir/consumer/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.21)
project(consumer C)
find_package(mp 0.1 REQUIRED)
add_executable(consumer main.c)
target_link_libraries(consumer PRIVATE mp::mp)
END
cat >"$dir/embedder/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.21)
project(embedder C)
add_subdirectory("$source" libmp)
add_executable(embedder main.c)
target_link_libraries(embedder PRIVATE mp::mp)
END

echo "find_package"
"$cmake" -S "$dir/consumer" -B "$dir/consumer/b" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_PREFIX_PATH="$dir/installed" >"$dir/log" || { cat "$dir/log"; exit 1; }
"$cmake" --build "$dir/consumer/b" >"$dir/log" || { cat "$dir/log"; exit 1; }
"$dir/consumer/b/consumer"

echo "add_subdirectory"
"$cmake" -S "$dir/embedder" -B "$dir/embedder/b" -DCMAKE_C_COMPILER="$cc" \
    >"$dir/log" || { cat "$dir/log"; exit 1; }
"$cmake" --build "$dir/embedder/b" -j 2 >"$dir/log" || { cat "$dir/log"; exit 1; }
"$dir/embedder/b/embedder"
# Embedded, it brings neither its tests nor its install rules along.
"$cmake" --install "$dir/embedder/b" --prefix "$dir/nothing" >"$dir/log"
[ ! -e "$dir/nothing/include" ] || { echo "embedding installs libmp"; exit 1; }

echo "pkg-config"
pc=$(find "$dir/installed" -name libmp.pc)
[ -n "$pc" ] || { echo "libmp.pc was not installed"; exit 1; }
libdir=$(dirname "$(dirname "$pc")")
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$dir/installed" \
    --cflags --libs libmp)
# shellcheck disable=SC2086 # the flags are words
"$cc" -std=c99 "$dir/consumer/main.c" $flags -o "$dir/plain"
LD_LIBRARY_PATH=$libdir "$dir/plain"
