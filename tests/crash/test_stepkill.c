/* SPDX-License-Identifier: MIT */
/*
 * test_stepkill.c - the harness must catch planted bugs before its green counts.
 *
 * Four locks between processes: three that are wrong in ways that each have shipped in
 * real programs, and one that is right.
 */
#include "support/test.h"

#include <limits.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stepkill.h"

struct page {
    sem_t sem;
    _Atomic uint32_t owner; /* pid, and SLEEPERS if somebody sleeps */
    _Atomic uint32_t dead;  /* pid of the victim, once it is known to have died */
    pid_t sleeper;
    _Atomic uint32_t sleeper_has_it;
};

#define SLEEPERS 0x80000000u

/* As in linux/futex.h, which not every C library's headers come with. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

static struct page *page;

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

static void reset(void *arg)
{
    (void)arg;
    memset(page, 0, sizeof *page);
    sem_init(&page->sem, 1, 1);
}

/* --- a bare semaphore used as a lock ---------------------------------------------- */

static void sem_victim(void *arg)
{
    (void)arg;
    stepkill_begin();
    sem_wait(&page->sem);
    sem_post(&page->sem);
    stepkill_end();
}

static int sem_check(void *arg)
{
    (void)arg;
    sem_wait(&page->sem);
    return STEPKILL_RIGHT;
}

/* --- a semaphore whose taker writes down its pid afterwards ----------------------- */

static void noted_victim(void *arg)
{
    (void)arg;
    uint32_t me = (uint32_t)getpid();
    stepkill_begin();
    sem_wait(&page->sem);
    atomic_store(&page->owner, me);
    atomic_store(&page->owner, 0);
    sem_post(&page->sem);
    stepkill_end();
}

static void noted_died(void *arg, pid_t pid)
{
    (void)arg;
    if (atomic_load(&page->owner) == (uint32_t)pid) {
        atomic_store(&page->owner, 0);
        sem_post(&page->sem);
    }
}

/* --- a word that names its owner, taken by one compare-and-swap ------------------- */

static void word_acquire(void)
{
    uint32_t me = (uint32_t)getpid();

    for (;;) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_strong(&page->owner, &seen, me))
            return;
        if ((seen & ~SLEEPERS) == atomic_load(&page->dead)) {
            if (atomic_compare_exchange_strong(&page->owner, &seen, me | SLEEPERS))
                return;
            continue;
        }
        uint32_t flagged = seen | SLEEPERS;
        if (seen != flagged &&
            !atomic_compare_exchange_strong(&page->owner, &seen, flagged))
            continue;
        futex(&page->owner, FUTEX_WAIT, flagged);
    }
}

static void word_release(bool wake)
{
    uint32_t seen = atomic_exchange(&page->owner, 0);

    if (wake && (seen & SLEEPERS))
        futex(&page->owner, FUTEX_WAKE, 1);
}

static void word_victim(void *arg)
{
    (void)arg;
    stepkill_begin();
    word_acquire();
    word_release(true);
    stepkill_end();
}

static int sleeper_body(void *arg)
{
    (void)arg;
    word_acquire();
    atomic_store(&page->sleeper_has_it, 1);
    word_release(true);
    return 0;
}

static void release_victim(void *arg)
{
    word_acquire();
    stepkill_begin();
    word_release(*(bool *)arg);
    stepkill_end();
}

/* The victim holds the lock now: let somebody fall asleep on it. */
static void start_sleeper(void *arg, pid_t victim)
{
    (void)arg;
    (void)victim;
    page->sleeper = child_start(sleeper_body, NULL);
    if (!process_sleeps(page->sleeper, 2000))
        abort();
}

static void word_died(void *arg, pid_t pid)
{
    (void)arg;
    atomic_store(&page->dead, (uint32_t)pid);
}

/* The rule that makes it right: whoever notices a death wakes everybody. */
static void word_died_and_broadcast(void *arg, pid_t pid)
{
    word_died(arg, pid);
    futex(&page->owner, FUTEX_WAKE, INT_MAX);
}

static int word_check(void *arg)
{
    (void)arg;
    word_acquire();
    return STEPKILL_RIGHT;
}

/* The sleeper must have got it, without help from somebody who comes along. */
static int sleeper_check(void *arg)
{
    (void)arg;
    while (!atomic_load(&page->sleeper_has_it))
        usleep(200);
    return STEPKILL_RIGHT;
}

static void end_sleeper(void *arg)
{
    (void)arg;
    kill(page->sleeper, SIGKILL);
    waitpid(page->sleeper, NULL, 0);
}

/* --- the tests -------------------------------------------------------------------- */

static void test_semaphore_is_caught(void **state)
{
    (void)state;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "planted: sem_t as a lock",
                                             .prepare = reset,
                                             .victim = sem_victim,
                                             .check = sem_check,
                                             .check_ms = 100});
    assert_true(counts.points > 20);
    assert_true(counts.stuck > 0);
    assert_int_equal(counts.wrong, 0);
}

static void test_late_owner_is_caught(void **state)
{
    (void)state;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "planted: owner stored late",
                                             .prepare = reset,
                                             .victim = noted_victim,
                                             .died = noted_died,
                                             .check = sem_check,
                                             .check_ms = 100});
    assert_true(counts.stuck > 0);
}

static void test_missing_wake_is_caught(void **state)
{
    (void)state;
    bool wake = false;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "planted: release without wake",
                                             .arg = &wake,
                                             .prepare = reset,
                                             .victim = release_victim,
                                             .paused = start_sleeper,
                                             .died = word_died,
                                             .check = sleeper_check,
                                             .clean = end_sleeper,
                                             .check_ms = 150});
    assert_true(counts.stuck > 0);
}

static void test_lost_wake_is_caught(void **state)
{
    (void)state;
    bool wake = true;
    struct stepkill_counts counts = stepkill_run(
        &(struct stepkill_case){.name = "planted: death between store and wake",
                                .arg = &wake,
                                .prepare = reset,
                                .victim = release_victim,
                                .paused = start_sleeper,
                                .died = word_died,
                                .check = sleeper_check,
                                .clean = end_sleeper,
                                .check_ms = 150});
    assert_true(counts.stuck > 0);
    assert_true(counts.stuck < counts.points);
}

static void test_owner_word_is_right(void **state)
{
    (void)state;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "right: owner word",
                                             .prepare = reset,
                                             .victim = word_victim,
                                             .died = word_died_and_broadcast,
                                             .check = word_check,
                                             .check_ms = 2000});
    assert_true(counts.points > 10);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

static void test_broadcast_after_death_is_right(void **state)
{
    (void)state;
    bool wake = true;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "right: release with a broadcast",
                                             .arg = &wake,
                                             .prepare = reset,
                                             .victim = release_victim,
                                             .paused = start_sleeper,
                                             .died = word_died_and_broadcast,
                                             .check = sleeper_check,
                                             .clean = end_sleeper,
                                             .check_ms = 2000});
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

/* A victim that blocks is killed in its call, and after it once it is unblocked. */

static void blocking_victim(void *arg)
{
    (void)arg;
    stepkill_begin();
    futex(&page->owner, FUTEX_WAIT, 0);
    stepkill_end();
}

static void unblock_victim(void *arg)
{
    (void)arg;
    atomic_store(&page->owner, 1);
    futex(&page->owner, FUTEX_WAKE, INT_MAX);
}

static int count_check(void *arg)
{
    (void)arg;
    return STEPKILL_RIGHT;
}

static void test_blocking_call_is_passed(void **state)
{
    (void)state;
    struct stepkill_case c = {.name = "harness: blocking call",
                              .prepare = reset,
                              .victim = blocking_victim,
                              .check = count_check,
                              .check_ms = 2000};
    struct stepkill_counts blocked = stepkill_run(&c);
    c.unblock = unblock_victim;
    struct stepkill_counts passed = stepkill_run(&c);
    assert_true(blocked.points > 0);
    assert_true(passed.points > blocked.points);
}

/* As if it got no processor for a while. */
static int late_check(void *arg)
{
    (void)arg;
    usleep((useconds_t)scaled(250) * 1000);
    return STEPKILL_RIGHT;
}

static void test_late_is_not_stuck(void **state)
{
    (void)state;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = "harness: a late check",
                                             .prepare = reset,
                                             .victim = sem_victim,
                                             .check = late_check,
                                             .check_ms = 200,
                                             .limit = 4});
    assert_true(counts.points > 0);
    assert_int_equal(counts.late, counts.points);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
}

int main(void)
{
    static const struct CMUnitTest stepkill[] = {
        TEST(test_semaphore_is_caught),     TEST(test_late_owner_is_caught),
        TEST(test_missing_wake_is_caught),  TEST(test_lost_wake_is_caught),
        TEST(test_owner_word_is_right),     TEST(test_broadcast_after_death_is_right),
        TEST(test_blocking_call_is_passed), TEST(test_late_is_not_stuck),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    page = shared_page(sizeof *page);
    return TEST_MAIN(stepkill);
}
