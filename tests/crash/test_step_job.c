/* SPDX-License-Identifier: MIT */
/*
 * test_step_job.c - a worker is killed at every instruction of a theft, and of writing
 * down that an item has failed.
 *
 * There is no pool: the job and its workers are made here, and whoever is to be worker
 * n says so.  A thief that is dead, and that nobody has settled, is as good as one that
 * is stopped.
 */
#include "support/test.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool/hand.h"
#include "pool/running.h"
#include "shm/member.h"
#include "stepkill.h"

#define PLACES 3
#define ITEMS  12
#define NUMBER 7 /* of the task that the job would be */
#define ERROR  ERANGE
#define KEPT   8 /* an item that has failed before */
#define FAILS  1 /* the one that does */

static struct mp__pool_shared *shared;
static struct mp__job *job;
static _Atomic int *runs; /* of each item; libmp knows nothing of them */

static int run_item(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    uint64_t item = *(const uint64_t *)arg;

    atomic_fetch_add(&runs[item], 1);
    return item == FAILS ? ERROR : 0;
}

static void be_worker(unsigned place)
{
    mp__running_enter(shared, place);
    mp__running_begin(NULL, job);
    atomic_store(&shared->workers[place].current, NUMBER + 1);
}

/* As a worker does it with a map, until there is nothing for it. */
static void work(unsigned place)
{
    be_worker(place);
    do {
        mp__job_work(job, place);
        mp__open_remove(shared, NUMBER);
    } while (mp__job_takeable(job));
}

static void settle(unsigned place)
{
    const mp_task_failure death = {
        .error = EOWNERDEAD, .exitcode = -SIGKILL, .kind = MP_FAILURE_DIED};

    mp__job_settle(job, place, mp__worker_at(&shared->workers[place]), &death, true);
}

static void make_job(void)
{
    shared = mp_shared_alloc(sizeof *shared);
    assert_non_null(shared);
    shared->place_count = PLACES;
    shared->open_size = PLACES;
    shared->workers = mp_shared_alloc(PLACES * sizeof *shared->workers);
    assert_non_null(shared->workers);
    for (unsigned i = 0; i < PLACES; i++)
        shared->workers[i].items_most = UINT64_MAX;
    job = mp__job_new(shared);
    assert_non_null(job);
    job->task = run_item;
    job->chunk = 2;
    job->retries = 1;
    job->attempts = mp_shared_alloc(ITEMS);
    job->errors = mp_shared_alloc(ITEMS * sizeof *job->errors);
    assert_true(job->attempts && job->errors);
}

static void free_job(void)
{
    mp_shared_free(job->attempts);
    mp_shared_free(job->errors);
    mp__job_free(job);
    mp_shared_free(shared->workers);
    mp_shared_free(shared);
}

/* The items from `begin` on are in the first hand, and nobody has begun one. */
static void deal(uint32_t begin, unsigned state)
{
    memset((void *)runs, 0, ITEMS * sizeof *runs);
    mp__job_deal(job, ITEMS, 1);
    atomic_store(&job->hands[0].word, mp__pack(state, 0, begin, ITEMS));
    memset(job->attempts, 0, ITEMS);
    memset(job->errors, 0, ITEMS * sizeof *job->errors);
    for (unsigned i = 0; i < PLACES; i++) {
        atomic_store(&shared->workers[i].returned, 0);
        mp__worker_set_at(&shared->workers[i], (uint64_t)begin << 1);
    }
    mp__open_remove(shared, NUMBER);
}

/* --- a theft ---------------------------------------------------------------------- */

static void prepare_theft(void *arg)
{
    (void)arg;
    deal(2, MP__OWNED);
}

static void steal(void *arg)
{
    (void)arg;
    be_worker(1);
    stepkill_begin();
    mp__job_steal(job, 1);
    stepkill_end();
}

/* Others do what is left to them and are through; then the thief is settled. */
static int check_theft(void *arg)
{
    (void)arg;
    work(2);
    settle(1);
    settle(0);
    work(2);
    for (int i = 0; i < ITEMS; i++)
        if (runs[i] != (i >= 2))
            return STEPKILL_WRONG;
    return mp__job_done(job) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void run_case(const struct stepkill_case *c)
{
    make_job();
    struct stepkill_counts counts = stepkill_run(c);
    free_job();

    assert_true(counts.points > 0);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

static void test_theft(void **state)
{
    (void)state;
    run_case(&(struct stepkill_case){.name = "job: theft",
                                     .prepare = prepare_theft,
                                     .victim = steal,
                                     .check = check_theft,
                                     .check_ms = 2000,
                                     .limit = stepkill_limit(300)});
}

/* Who went away during a theft finds the map again. */
static void test_theft_is_told(void **state)
{
    (void)state;
    uint64_t number;

    make_job();
    deal(2, MP__OWNED);
    assert_false(mp__open_lowest(shared, &number));
    atomic_store(&shared->workers[1].current, NUMBER + 1);
    assert_non_null(mp__job_steal(job, 1));
    assert_true(mp__open_lowest(shared, &number));
    assert_int_equal(number, NUMBER);
    free_job();
}

/* --- a failure -------------------------------------------------------------------- */

/* The worker's place has kept the failure of an item that comes later. */
static void prepare_failure(void *arg)
{
    const mp_task_failure kept = {.error = EDOM, .kind = MP_FAILURE_RETURNED};

    (void)arg;
    deal(0, MP__FREE);
    atomic_store(&job->hands[0].word, mp__pack(MP__FREE, 0, 0, KEPT));
    mp__job_keep_failure(job, 0, KEPT, &kept);
}

static void fail_items(void *arg)
{
    (void)arg;
    be_worker(0);
    stepkill_begin();
    mp__job_work(job, 0);
    stepkill_end();
}

static bool lowest_is(uint64_t index, int error)
{
    mp_task_failure failure;

    return mp__job_failure(job, &failure) && failure.index == index &&
           failure.error == error && failure.kind == MP_FAILURE_RETURNED;
}

/* Something is kept at any time, and in the end that of the lowest index. */
static int check_failure(void *arg)
{
    (void)arg;
    settle(0);
    if (!lowest_is(KEPT, EDOM) && !lowest_is(FAILS, ERROR))
        return STEPKILL_WRONG;
    work(1);
    return mp__job_done(job) && lowest_is(FAILS, ERROR) &&
                   job->errors[FAILS] == ERROR && job->errors[KEPT] == EDOM
               ? STEPKILL_RIGHT
               : STEPKILL_WRONG;
}

static void test_failure(void **state)
{
    (void)state;
    run_case(&(struct stepkill_case){.name = "job: failure, with retries",
                                     .prepare = prepare_failure,
                                     .victim = fail_items,
                                     .check = check_failure,
                                     .check_ms = 2000,
                                     .limit = stepkill_limit(1000)});
}

int main(void)
{
    static const struct CMUnitTest step_job[] = {
        TEST(test_theft),
        TEST(test_theft_is_told),
        TEST(test_failure),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    runs = shared_page(ITEMS * sizeof *runs);
    return TEST_MAIN(step_job);
}
