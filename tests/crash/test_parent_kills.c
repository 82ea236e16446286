/* SPDX-License-Identifier: MIT */
/*
 * test_parent_kills.c - a parent of computing daemons and of a computing pool is killed
 * at random moments.  Half a second later nobody of them is left.
 *
 * `test_parent_kills [kills [seed]]`.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#define DAEMONS 2
#define WORKERS 2
#define GONE_MS 500

static _Atomic int *alive; /* how far the parent has come */
static unsigned long kills_wanted;
static uint64_t seed;

static int compute_for_ever(void *arg)
{
    (void)arg;
    guard_child();
    /* Nothing that a signal could interrupt, and no system call. */
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
    return 0;
}

static int task_for_ever(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    return compute_for_ever(NULL);
}

static int start_daemon(void)
{
    mp_process *p;
    int err = mp_process_new(&p, compute_for_ever, NULL,
                             MP_PROCESS_OPTIONS(.daemon = MP_DAEMON_YES));
    return err ? err : mp_process_start(p);
}

/* Start everything, over and over the pool's tasks, until killed. */
static int parent_body(void *arg)
{
    (void)arg;
    mp_pool *pool;

    for (int i = 0; i < DAEMONS; i++) {
        if (start_daemon() != 0)
            return 1;
        atomic_store(alive, i + 1);
    }
    if (mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = WORKERS)) != 0)
        return 2;
    for (int i = 0; i < 4 * WORKERS; i++) {
        if (mp_pool_apply_async(pool, task_for_ever, NULL, 0, 0, NULL, NULL) != 0)
            return 3;
        atomic_store(alive, DAEMONS + 1 + i);
    }
    for (;;)
        pause();
}

static bool has_come(void *arg)
{
    return *alive >= *(int *)arg;
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

/* Late is a failure as well, but another one than never. */
static void tell_who_is_left(unsigned long round, int stage)
{
    pid_t left[32];
    size_t count = descendants(getpid(), left, 32);

    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "round %lu, stage %d: process %d is left, state %c\n", round,
                stage, (int)left[i], process_state(left[i]));
    int64_t start = now_ms();
    if (eventually(nobody_left, NULL, 3000))
        fprintf(stderr, "they were gone %d ms later\n", (int)(now_ms() - start));
    else
        fprintf(stderr, "they did not go at all\n");
    survivors(left, count, 0);
    reap_all(2000);
}

static void test_parent_is_killed(void **state)
{
    (void)state;
    unsigned long failures = 0;

    leak_ignore_arena();
    for (unsigned long round = 0; round < kills_wanted; round++) {
        /* Half of them while it starts, half of them when all compute. */
        int stage = round % 2 ? DAEMONS + 4 * WORKERS : (int)(next_random(&seed) % 6);
        atomic_store(alive, 0);
        pid_t pid = child_start(parent_body, NULL);
        assert_true(eventually(has_come, &stage, 5000));
        long wait = (long)(next_random(&seed) % 5000000) >> (next_random(&seed) % 12);
        nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
        kill(pid, SIGKILL);
        /* On a busy machine a killed process may take its time: count from its death.
         */
        assert_int_equal(child_wait(pid, 10000), -SIGKILL);
        if (eventually(nobody_left, NULL, GONE_MS))
            continue;
        tell_who_is_left(round, stage);
        failures++;
    }
    assert_int_equal(failures, 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest parent_kills[] = {TEST(test_parent_is_killed)};

    kills_wanted = argc > 1                           ? strtoul(argv[1], NULL, 10)
                   : env_number("MP_TEST_NIGHTLY", 0) ? 1000
                                                      : 100;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 19991231;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    alive = shared_page(sizeof *alive);
    return TEST_MAIN(parent_kills);
}
