/* SPDX-License-Identifier: MIT */
/*
 * pool_close_terminate_join.c - the two ways to end a pool, and to wait for its end.
 *
 *   close       takes no more tasks; those it has are still done
 *   terminate   ends the workers at once; what they have not done is dropped
 *   join        waits until the workers have left, after one of the two
 */
#include "example.h"

enum { TASKS = 4 };

static int nap(const void *arg, void *result, void *context)
{
    const double *length = arg;

    (void)result;
    (void)context;
    sleep_seconds(*length);
    return 0;
}

/* Makes a pool of two workers and gives it four tasks of so many seconds. */
static mp_pool *busy_pool(double length, mp_async_result *results[TASKS])
{
    mp_pool *pool;

    check(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), "mp_pool_new");
    for (int i = 0; i < TASKS; i++)
        check(mp_pool_apply_async(pool, nap, &length, sizeof(length), 0, NULL,
                                  &results[i]),
              "mp_pool_apply_async");
    return pool;
}

/* Says what became of each task.  MP_NOWAIT: after join all of them are settled. */
static void print_results(mp_async_result *results[TASKS])
{
    for (int i = 0; i < TASKS; i++) {
        int err = mp_async_result_get(results[i], NULL, 0, MP_NOWAIT);
        printf("  task %d: %s\n", i, err ? mp_strerror(err) : "done");
        mp_async_result_free(results[i]);
    }
    fflush(stdout);
}

static void show_close(void)
{
    const double length = 1;
    mp_async_result *results[TASKS];
    mp_pool *pool = busy_pool(length, results);

    /* Python raises ValueError in both of these places. */
    int err = mp_pool_join(pool, MP_FOREVER);
    printf("join before close: %s\n", mp_strerror(err));
    check(mp_pool_close(pool), "mp_pool_close");
    err = mp_pool_apply_async(pool, nap, &length, sizeof(length), 0, NULL, NULL);
    printf("a task after close: %s\n", mp_strerror(err));
    fflush(stdout);

    check(mp_pool_join(pool, MP_FOREVER), "mp_pool_join");
    printf("close, then join:\n");
    print_results(results);
    mp_pool_free(pool);
}

static void show_terminate(void)
{
    mp_async_result *results[TASKS];
    mp_pool *pool = busy_pool(100, results);

    sleep_seconds(1);
    check(mp_pool_terminate(pool), "mp_pool_terminate");
    check(mp_pool_join(pool, MP_FOREVER), "mp_pool_join");
    printf("terminate, then join:\n");
    print_results(results);
    mp_pool_free(pool);
}

int main(int argc, char **argv)
{
    begin(argc, argv);
    show_close();
    show_terminate();
    return 0;
}
