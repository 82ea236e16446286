/* SPDX-License-Identifier: MIT */
/* pool_progress.c - a map with a progress bar, if standard error is a terminal. */
#include "example.h"

static int nap(const void *arg, void *result, void *context)
{
    const int *item = arg;

    (void)result;
    (void)context;
    sleep_seconds(0.01);
    return *item % 50 == 49 ? ERANGE : 0;
}

int main(int argc, char **argv)
{
    int items[400], errors[400], failed = 0;
    mp_pool *pool;

    begin(argc, argv);
    for (int i = 0; i < 400; i++)
        items[i] = i;
    check(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), "mp_pool_new");
    int err = mp_pool_map(pool, nap, items, 400, sizeof *items, NULL, 0,
                          MP_MAP_OPTIONS(.errors = errors, .progress = mp_progress_bar,
                                         .progress_arg = "naps"));
    mp_pool_free(pool);
    if (err != ERANGE)
        check(err, "mp_pool_map");
    for (int i = 0; i < 400; i++)
        failed += errors[i] != 0;
    printf("%d of 400 failed\n", failed);
    return 0;
}
