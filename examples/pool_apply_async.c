/* SPDX-License-Identifier: MIT */
/*
 * pool_apply_async.c - hand four tasks to three workers without waiting for any.
 *
 * The first three run at once, in no particular order; the fourth when a worker is
 * free.
 */
#include "example.h"

static int function(const void *arg, void *result, void *context) /* (index): */
{
    const int *index = arg;

    (void)result;
    (void)context;
    /*
     * A worker outlives its tasks, so nothing flushes stdout for them at their end.
     * To a pipe or a file the lines would appear late, and never if the worker is
     * terminated.
     */
    printf("Start process: %d\n", *index);
    fflush(stdout);
    sleep_seconds(3);
    printf("End process %d\n", *index);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    mp_pool *pool;

    begin(argc, argv);
    int err = mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3)); /* Pool(3) */
    check(err, "mp_pool_new");
    for (int i = 0; i < 4; i++) { /* pool.apply_async(function, (i,)) */
        err = mp_pool_apply_async(pool, function, &i, sizeof(i), 0, NULL, NULL);
        check(err, "mp_pool_apply_async");
    }

    printf("Started processes\n");
    fflush(stdout);                                        /* Before the tasks end. */
    check(mp_pool_close(pool), "mp_pool_close");           /* pool.close() */
    check(mp_pool_join(pool, MP_FOREVER), "mp_pool_join"); /* pool.join() */
    printf("Subprocess done.\n");
    mp_pool_free(pool);
    return 0;
}
