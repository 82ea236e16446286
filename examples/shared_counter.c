/* SPDX-License-Identifier: MIT */
/*
 * shared_counter.c - four processes count together, in three ways.
 *
 * The first number is added to in one step, without a lock.  The second is read and
 * written while its lock is held.  The third is what `counter.value += 1` does in
 * Python without get_lock(): it is read and written, each under the lock but not both,
 * and a process that counts in between is lost.
 */
#include "example.h"

enum { PROCESSES = 4, COUNTS = 100000 };

struct counters {
    mp_value *added;  /* Value('q', 0): an int64_t, all zero at first */
    mp_value *locked; /* the same */
    mp_value *racing; /* the same */
    mp_array *each;   /* Array('i', 4): how far each process has counted */
};

struct job {
    struct counters counters; /* pointers into the arena: good in every process */
    size_t number;
};

static void count_in_one_step(mp_value *counter)
{
    check(mp_value_fetch_add(counter, 1, NULL), "mp_value_fetch_add");
}

static void count_under_the_lock(mp_value *counter)
{
    check(mp_value_acquire(counter, MP_FOREVER),
          "mp_value_acquire");       /* with get_lock() */
    MP_VALUE(counter, int64_t) += 1; /* counter.value += 1 */
    check(mp_value_release(counter), "mp_value_release");
}

static void count_and_hope(mp_value *counter)
{
    int64_t number;

    check(mp_value_get(counter, &number, sizeof(number)), "mp_value_get");
    number += 1;
    check(mp_value_set(counter, &number, sizeof(number)), "mp_value_set");
}

static int count(void *arg)
{
    const struct job *job = arg;
    const struct counters *counters = &job->counters;

    for (int i = 1; i <= COUNTS; i++) {
        count_in_one_step(counters->added);
        count_under_the_lock(counters->locked);
        count_and_hope(counters->racing);
        check(mp_array_set(counters->each, job->number, &i, sizeof(i)), "mp_array_set");
    }
    return 0;
}

static void run(const struct counters *counters)
{
    mp_process *processes[PROCESSES];

    for (size_t i = 0; i < PROCESSES; i++) {
        struct job job = {.counters = *counters, .number = i};
        check(mp_process_new(&processes[i], count, &job, NULL), "mp_process_new");
        check(mp_process_start(processes[i]), "mp_process_start");
    }
    for (size_t i = 0; i < PROCESSES; i++) {
        check(mp_process_join(processes[i], MP_FOREVER), "mp_process_join");
        mp_process_free(processes[i]);
    }
}

/* Everybody else has ended: to look needs no lock any more. */
static void print(const struct counters *counters)
{
    const int *each = MP_ARRAY(counters->each, int);

    printf("in one step:    %lld\n", (long long)MP_VALUE(counters->added, int64_t));
    printf("under the lock: %lld\n", (long long)MP_VALUE(counters->locked, int64_t));
    printf("with a race:    %lld\n", (long long)MP_VALUE(counters->racing, int64_t));
    for (size_t i = 0; i < mp_array_count(counters->each); i++)
        printf("process %zu:      %d\n", i, each[i]);
}

int main(int argc, char **argv)
{
    struct counters counters;

    begin(argc, argv);
    check(mp_value_new(&counters.added, sizeof(int64_t), NULL, NULL), "mp_value_new");
    check(mp_value_new(&counters.locked, sizeof(int64_t), NULL, NULL), "mp_value_new");
    check(mp_value_new(&counters.racing, sizeof(int64_t), NULL, NULL), "mp_value_new");
    check(mp_array_new(&counters.each, PROCESSES, sizeof(int), NULL, NULL),
          "mp_array_new");
    run(&counters);
    print(&counters);
    mp_value_free(counters.added);
    mp_value_free(counters.locked);
    mp_value_free(counters.racing);
    mp_array_free(counters.each);
    return 0;
}
