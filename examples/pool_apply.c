/* SPDX-License-Identifier: MIT */
/*
 * pool_apply.c - run four tasks in a pool and wait for each.
 *
 * The pool has three workers, and yet one task runs after the other: mp_pool_apply
 * returns when its task is done.
 */
#include "example.h"

static int function(const void *arg, void *result, void *context) /* (index): */
{
    const int *index = arg;

    (void)result;
    (void)context;
    printf("Start process: %d\n", *index);
    fflush(stdout); /* The worker goes on living: nothing else flushes these lines. */
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
    for (int i = 0; i < 4; i++) { /* pool.apply(function, (i,)) */
        err = mp_pool_apply(pool, function, &i, sizeof(i), NULL, 0, NULL);
        check(err, "mp_pool_apply");
    }

    printf("Started processes\n");
    check(mp_pool_close(pool), "mp_pool_close");           /* pool.close() */
    check(mp_pool_join(pool, MP_FOREVER), "mp_pool_join"); /* pool.join() */
    printf("Subprocess done.\n");
    mp_pool_free(pool);
    return 0;
}
