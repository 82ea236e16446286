/* SPDX-License-Identifier: MIT */
/*
 * test_step_rwlock.c - a process is killed at every instruction of what it does with a
 * lock for readers and writers.
 *
 * After each kill other processes must get in within two seconds, readers together and
 * writers alone, those first who wait already; and they must be told exactly of the
 * death of one that wrote, once.
 */
#include "support/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/arena.h"
#include "shm/member.h"
#include "stepkill.h"

#define CHECK_MS 2000
#define HELPERS  2
#define GOT      1000
#define NIGHT    7200 /* seconds: instead of those that guard_child leaves a child */

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    pid_t holder, helpers[HELPERS];
    _Atomic int reading, writing; /* processes that believe they hold the lock */
    _Atomic int got[HELPERS];     /* how it went for the helper, and GOT */
    _Atomic int holder_holds;
    _Atomic int may_release; /* the holder may let go */
    _Atomic int64_t began;   /* when the victim began, in milliseconds */
    _Atomic int passes;      /* of the helper that goes on and on */
    _Atomic int told;        /* EOWNERDEAD returned since the kill */
    _Atomic int finished;    /* the victim got through */
    _Atomic int got_in;      /* the reader that meets a claim */
    _Atomic int seen_told;   /* by any point so far, */
    _Atomic int seen_untold; /* for what happens in order of the points */
};

typedef int acquire_fn(mp_rwlock *lock, int timeout_ms);

/* Whether the victim's death is told. */
enum telling { NEVER, ONCE_IT_HOLDS, UNTIL_IT_RELEASES, ALWAYS };

struct rw_case {
    acquire_fn *acquire;          /* what the victim does; NULL: it releases */
    acquire_fn *before;           /* what it acquired before it began, or NULL */
    acquire_fn *holder;           /* what another one holds, or NULL */
    acquire_fn *dead;             /* what another one died in or with, or NULL */
    acquire_fn *helpers[HELPERS]; /* what others wait for when it begins, or NULL */
    enum telling telling;
    int timeout_ms;   /* of the victim's acquire; 0: for ever */
    bool is_new;      /* it is no member of the family before it begins */
    bool one_way;     /* it takes the same number of steps each time */
    bool has_traffic; /* instead of helpers one reads all the time */
    bool bury;        /* its parent tells libmp of the death, before it reaps */
};

static acquire_fn *const READ = mp_rwlock_acquire_read;
static acquire_fn *const WRITE = mp_rwlock_acquire_write;

static struct ledger *ledger;
static mp_rwlock *lock;

/* --- those who live --------------------------------------------------------------- */

static bool write_alone(void)
{
    bool alone = atomic_fetch_add(&ledger->writing, 1) == 0 && ledger->reading == 0;
    sched_yield();
    alone = alone && ledger->writing == 1 && ledger->reading == 0;
    atomic_fetch_sub(&ledger->writing, 1);
    return alone;
}

static bool read_with_readers(void)
{
    atomic_fetch_add(&ledger->reading, 1);
    bool right = ledger->writing == 0;
    sched_yield();
    right = right && ledger->writing == 0;
    atomic_fetch_sub(&ledger->reading, 1);
    return right;
}

/* Get in, see that nobody is there who may not, let go. */
static bool pass(acquire_fn *acquire)
{
    int err = acquire(lock, MP_FOREVER);

    if (err && err != EOWNERDEAD)
        return false;
    if (err)
        atomic_fetch_add(&ledger->told, 1);
    bool right = err || acquire == WRITE ? write_alone() : read_with_readers();
    return mp_rwlock_release(lock) == 0 && right;
}

struct helper {
    acquire_fn *acquire;
    int number;
};

static int helper_body(void *arg)
{
    const struct helper *helper = arg;

    bool right = pass(helper->acquire);
    atomic_store(&ledger->got[helper->number], GOT + right);
    return 0;
}

static int traffic_body(void *arg)
{
    (void)arg;
    while (pass(READ))
        atomic_fetch_add(&ledger->passes, 1);
    atomic_store(&ledger->got[0], GOT);
    return 0;
}

/* On a busy machine the victim may become the sentry (see start_watchman), and go on
   for ever without being seen to block: then nobody else ends that. */
static bool holder_waits(void)
{
    int64_t began = atomic_load(&ledger->began);

    return !atomic_load(&ledger->may_release) && (!began || now_ms() < began + 2000);
}

static int holder_body(void *arg)
{
    acquire_fn *const *acquire = arg;
    _Atomic int *inside = *acquire == WRITE ? &ledger->writing : &ledger->reading;

    if ((*acquire)(lock, MP_FOREVER) != 0)
        return 1;
    atomic_fetch_add(inside, 1);
    atomic_store(&ledger->holder_holds, 1);
    while (holder_waits())
        usleep(500);
    atomic_fetch_sub(inside, 1);
    return mp_rwlock_release(lock);
}

static bool holder_holds(void *arg)
{
    (void)arg;
    return ledger->holder_holds;
}

static bool traffic_runs(void *arg)
{
    (void)arg;
    return ledger->passes > 2;
}

static void let_holder_release(void *arg)
{
    (void)arg;
    atomic_store(&ledger->may_release, 1);
}

static void start_helpers(void *arg, pid_t victim)
{
    const struct rw_case *c = arg;

    (void)victim;
    for (int i = 0; i < HELPERS && c->helpers[i]; i++) {
        struct helper helper = {c->helpers[i], i};
        ledger->helpers[i] = child_start(helper_body, &helper);
        if (!process_sleeps(ledger->helpers[i], 20000))
            abort();
    }
    atomic_store(&ledger->began, now_ms());
}

/* --- before and after ------------------------------------------------------------- */

static int die_with(void *arg)
{
    acquire_fn *const *acquire = arg;
    return (*acquire)(lock, MP_FOREVER);
}

/* One ends with the lock held, or is killed while it waits for the holder. */
static void leave_a_dead(acquire_fn *acquire)
{
    pid_t pid = child_start(die_with, &acquire);

    if (ledger->holder) {
        if (!process_sleeps(pid, 20000))
            abort();
        kill(pid, SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static void prepare(void *arg)
{
    const struct rw_case *c = arg;
    int told = ledger->seen_told, untold = ledger->seen_untold;

    memset(ledger, 0, sizeof *ledger);
    ledger->seen_told = told;
    ledger->seen_untold = untold;
    if (mp_rwlock_new(&lock, NULL) != 0)
        abort();
    if (c->holder) {
        ledger->holder = child_start(holder_body, (void *)&c->holder);
        if (!eventually(holder_holds, NULL, 20000))
            abort();
    }
    if (c->dead)
        leave_a_dead(c->dead);
    if (c->has_traffic) {
        ledger->helpers[0] = child_start(traffic_body, NULL);
        if (!eventually(traffic_runs, NULL, 20000))
            abort();
    }
}

static void end_child(pid_t pid)
{
    if (!pid)
        return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void clean(void *arg)
{
    (void)arg;
    for (int i = 0; i < HELPERS; i++)
        end_child(ledger->helpers[i]);
    end_child(ledger->holder);
    mp__member_watch();
    mp_rwlock_free(lock);
}

static void died(void *arg, pid_t pid)
{
    const struct rw_case *c = arg;
    uint64_t member = mp__member_of_pid(pid);

    if (c->bury && member)
        mp__member_bury(member);
}

/* --- the victim ------------------------------------------------------------------- */

static void victim(void *arg)
{
    const struct rw_case *c = arg;
    int timeout_ms = c->timeout_ms ? c->timeout_ms : MP_FOREVER;
    int expected = c->dead && !c->holder ? EOWNERDEAD : 0;

    if (c->before && c->before(lock, MP_FOREVER) != 0)
        return;
    if (!c->is_new && mp__join() != 0)
        return;
    stepkill_begin();
    int err = c->acquire ? c->acquire(lock, timeout_ms) : mp_rwlock_release(lock);
    if (err != expected && !(err == ETIMEDOUT && c->timeout_ms))
        abort();
    ledger->finished = 1;
    stepkill_end();
}

/* --- checks ----------------------------------------------------------------------- */

static bool helpers_are_right(const struct rw_case *c)
{
    for (int i = 0; i < HELPERS && c->helpers[i]; i++) {
        while (!atomic_load(&ledger->got[i]))
            sched_yield();
        if (ledger->got[i] != GOT + true)
            return false;
    }
    int passes = ledger->passes;
    while (c->has_traffic && atomic_load(&ledger->passes) < passes + 3)
        if (ledger->got[0])
            return false;
    return true;
}

/*
 * What is told changes once on the way through, and not back; and when the victim got
 * through, there is no doubt.
 */
static bool is_told_rightly(const struct rw_case *c)
{
    bool told = ledger->told > 0;

    if (ledger->told > 1)
        return false;
    if (c->telling == NEVER || c->telling == ALWAYS)
        return told == (c->telling == ALWAYS);
    if (told)
        ledger->seen_told = 1;
    else
        ledger->seen_untold = 1;
    if (ledger->finished && told == (c->telling == UNTIL_IT_RELEASES))
        return false;
    if (!c->one_way)
        return true;
    if (c->telling == UNTIL_IT_RELEASES)
        return !told || !ledger->seen_untold;
    return told || !ledger->seen_told;
}

static int check(void *arg)
{
    const struct rw_case *c = arg;

    let_holder_release(arg);
    /* Those who waited must get in without anyone's help. */
    bool right = helpers_are_right(c);
    /* Twice: a lock that was put right must go on working. */
    for (int i = 0; i < 2 && right; i++)
        right = pass(READ) && pass(WRITE);
    return right && is_told_rightly(c) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* As check, by one who wants to write first. */
static int check_write(void *arg)
{
    const struct rw_case *c = arg;

    let_holder_release(arg);
    bool right = pass(WRITE) && pass(READ) && helpers_are_right(c) && pass(WRITE);
    return right && is_told_rightly(c) ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void expect_no_failure_with(const char *name, struct rw_case *how,
                                   int (*check_fn)(void *arg), unsigned limit)
{
    struct stepkill_case c = {.name = name,
                              .arg = how,
                              .prepare = prepare,
                              .victim = victim,
                              .paused = start_helpers,
                              .unblock = let_holder_release,
                              .died = died,
                              .check = check_fn,
                              .clean = clean,
                              .check_ms = CHECK_MS,
                              .limit = limit};

    ledger->seen_told = ledger->seen_untold = 0;
    struct stepkill_counts counts = stepkill_run(&c);
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    if (how->one_way && how->telling != NEVER)
        assert_true(ledger->seen_told && ledger->seen_untold);
}

/*
 * A sleeper that nobody wakes.  Who sleeps alone gets up every 25 ms to look after the
 * others, and would never be seen to block: see sync/park.c.
 */
static int watch(void *arg)
{
    alarm(NIGHT);
    return mp_lock_acquire(arg, MP_FOREVER);
}

static bool watchman_watches(void *arg)
{
    return atomic_load(&mp__arena->sentry) == mp__member_of_pid(*(pid_t *)arg);
}

static pid_t start_watchman(mp_lock **watched)
{
    if (mp_lock_new(watched, NULL) != 0 || mp_lock_acquire(*watched, MP_FOREVER) != 0)
        abort();
    pid_t pid = child_start(watch, *watched);
    if (!eventually(watchman_watches, &pid, 5000))
        abort();
    return pid;
}

static bool is_nightly(void)
{
    return stepkill_limit(1) == 0;
}

/* Buried by its parent or found dead by those it concerns, and those first who wait or
   one who wants to write. */
static void expect_no_failure(const char *name, struct rw_case how, unsigned limit)
{
    char text[64];

    limit = stepkill_limit(limit);
    expect_no_failure_with(name, &how, check, limit);
    how.bury = true;
    snprintf(text, sizeof text, "%s, buried", name);
    expect_no_failure_with(text, &how, check_write, limit);
}

/* The same where the victim sleeps, which takes a tenth of a second each time. */
static void expect_no_failure_asleep(const char *name, struct rw_case how)
{
    char text[64];
    mp_lock *watched;
    pid_t watchman = start_watchman(&watched);

    expect_no_failure_with(name, &how, check, is_nightly() ? 500 : 5);
    how.bury = true;
    snprintf(text, sizeof text, "%s, buried", name);
    if (is_nightly())
        expect_no_failure_with(text, &how, check_write, 500);
    end_child(watchman);
    mp_lock_free(watched);
}

/* --- reading ---------------------------------------------------------------------- */

static void test_read(void **state)
{
    (void)state;
    expect_no_failure("read", (struct rw_case){.acquire = READ}, 0);
    expect_no_failure("read, first of all",
                      (struct rw_case){.acquire = READ, .is_new = true}, 40);
    expect_no_failure("read, others read",
                      (struct rw_case){.acquire = READ, .holder = READ}, 30);
}

static void test_read_again(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .before = READ};

    expect_no_failure("read again", how, 40);
    /* It goes in past one who waits for it. */
    how.helpers[0] = WRITE;
    expect_no_failure("read again, one waits", how, 25);
    how.holder = READ;
    how.helpers[1] = READ;
    expect_no_failure("read again, two wait", how, 25);
}

/* A writer lets go when the victim has gone to sleep; others sleep beside it. */
static void test_read_and_wait(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .holder = WRITE};

    expect_no_failure_asleep("read, one writes", how);
    how.helpers[0] = READ;
    how.helpers[1] = WRITE;
    expect_no_failure_asleep("read, one writes, two wait", how);
}

static void test_read_after_death(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .dead = WRITE, .telling = ALWAYS};

    expect_no_failure("read, a writer died", how, 25);
    how.telling = NEVER;
    how.holder = READ;
    expect_no_failure("read, a claimant died", how, 25);
    how = (struct rw_case){.acquire = READ, .dead = READ, .holder = WRITE};
    expect_no_failure_asleep("read, a waiting reader died", how);
}

static void test_read_release(void **state)
{
    (void)state;
    struct rw_case how = {.before = READ};

    expect_no_failure("stop reading", how, 0);
    how.helpers[0] = WRITE;
    expect_no_failure("stop reading, a writer waits", how, 25);
    how.helpers[1] = READ;
    expect_no_failure("stop reading, both wait", how, 25);
}

/* --- writing ---------------------------------------------------------------------- */

static void test_write(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .telling = ONCE_IT_HOLDS, .one_way = true};

    expect_no_failure("write", how, 80);
    how.is_new = true;
    how.one_way = false;
    expect_no_failure("write, first of all", how, 40);
}

static void test_write_and_wait(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .holder = WRITE, .telling = ONCE_IT_HOLDS};

    expect_no_failure_asleep("write, one writes", how);
    how.helpers[0] = READ;
    how.helpers[1] = WRITE;
    expect_no_failure_asleep("write, one writes, two wait", how);
    how = (struct rw_case){.acquire = WRITE, .holder = READ, .telling = ONCE_IT_HOLDS};
    expect_no_failure_asleep("write, one reads", how);
    how.helpers[0] = WRITE;
    how.helpers[1] = READ;
    expect_no_failure_asleep("write, one reads, two wait", how);
}

/* Its claim keeps a reader out that comes and goes all the time, and then it ends. */
static void test_write_in_vain(void **state)
{
    (void)state;
    struct rw_case how = {
        .acquire = WRITE, .holder = READ, .timeout_ms = 1, .has_traffic = true};

    expect_no_failure("write in vain", how, 30);
}

static void test_write_against_traffic(void **state)
{
    (void)state;
    struct rw_case how = {
        .acquire = WRITE, .telling = ONCE_IT_HOLDS, .has_traffic = true};

    expect_no_failure("write, one comes and goes", how, 25);
}

static void test_write_after_death(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .dead = WRITE, .telling = ALWAYS};

    expect_no_failure("write, a writer died", how, 25);
    how.telling = ONCE_IT_HOLDS;
    how.holder = READ;
    expect_no_failure_asleep("write, a claimant died", how);
}

static int die_reading(void *arg)
{
    (void)arg;
    return mp_rwlock_acquire_read(lock, MP_FOREVER);
}

static void prepare_dead_reader(void *arg)
{
    prepare(arg);
    if (child_run(die_reading, NULL) != 0)
        abort();
}

static void test_write_after_reader_died(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .telling = ONCE_IT_HOLDS, .one_way = true};
    struct stepkill_case c = {.name = "write, a reader died",
                              .arg = &how,
                              .prepare = prepare_dead_reader,
                              .victim = victim,
                              .died = died,
                              .check = check_write,
                              .clean = clean,
                              .check_ms = CHECK_MS,
                              .limit = stepkill_limit(60)};

    ledger->seen_told = ledger->seen_untold = 0;
    struct stepkill_counts counts = stepkill_run(&c);
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck + counts.wrong, 0);
}

static void test_write_release(void **state)
{
    (void)state;
    struct rw_case how = {
        .before = WRITE, .telling = UNTIL_IT_RELEASES, .one_way = true};

    expect_no_failure("stop writing", how, 0);
    how.helpers[0] = READ;
    expect_no_failure("stop writing, a reader waits", how, 25);
    how.helpers[1] = WRITE;
    expect_no_failure("stop writing, both wait", how, 25);
    how.helpers[0] = WRITE;
    expect_no_failure("stop writing, writers wait", how, 25);
}

/* --- nobody is killed: a reader comes at each instruction of a writer ------------- */

static int read_for_a_while(void *arg)
{
    (void)arg;
    if (mp_rwlock_acquire_read(lock, MP_FOREVER) != 0)
        return 1;
    atomic_store(&ledger->reading, 1);
    atomic_store(&ledger->got_in, 1);
    bool right = ledger->writing == 0;
    usleep(2000);
    right = right && ledger->writing == 0;
    atomic_store(&ledger->reading, 0);
    return mp_rwlock_release(lock) == 0 && right ? 0 : 1;
}

static void go_on(int signal_number)
{
    (void)signal_number;
}

/* The mark at the end is met untraced as well. */
static int write_stepped(void *arg)
{
    (void)arg;
    signal(SIGTRAP, go_on);
    if (mp__join() != 0 || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return 1;
    stepkill_begin();
    int err = mp_rwlock_acquire_write(lock, MP_FOREVER);
    atomic_store(&ledger->writing, 1);
    bool right = err == 0 && ledger->reading == 0;
    stepkill_end();
    usleep(1000);
    right = right && ledger->reading == 0;
    atomic_store(&ledger->writing, 0);
    return mp_rwlock_release(lock) == 0 && right ? 0 : 1;
}

static bool reader_decided(void *arg)
{
    return ledger->got_in || process_state(*(pid_t *)arg) == 'S';
}

static bool is_stopped(void *arg)
{
    return process_state(*(pid_t *)arg) == 'T';
}

/* The reader has waited for a writer before this one, and may go in until it is HELD.
   Whether the writer was not at its end yet. */
static bool meet_after(unsigned steps)
{
    enum stepkill_stop stop = STEP_DONE;

    prepare(&(struct rw_case){0});
    assert_int_equal(mp_rwlock_acquire_write(lock, MP_FOREVER), 0);
    pid_t reader = child_start(read_for_a_while, NULL);
    assert_true(process_sleeps(reader, 20000));
    kill(reader, SIGSTOP);
    assert_true(eventually(is_stopped, &reader, 20000));
    pid_t writer = child_start(write_stepped, NULL);
    assert_int_equal(waitpid(writer, NULL, __WALL), writer);
    assert_int_equal(mp_rwlock_release(lock), 0);
    while (steps-- > 0 && stop == STEP_DONE)
        stop = stepkill_step(writer);
    kill(reader, SIGCONT);
    assert_true(eventually(reader_decided, &reader, 20000));
    ptrace(PTRACE_DETACH, writer, NULL, NULL);
    int writer_is = child_wait(writer, 5000), reader_is = child_wait(reader, 5000);
    assert_int_equal(writer_is, 0);
    assert_int_equal(reader_is, 0);
    clean(NULL);
    return stop == STEP_DONE;
}

static void test_reader_meets_claim(void **state)
{
    (void)state;
    unsigned steps = 0;

    while (meet_after(steps))
        steps += stepkill_limit(4) ? 4 : 1;
    assert_true(steps > 40);
}

/* --- more members than have words in the lock itself ------------------------------ */

enum { CROWD = 64 };

static int join_and_stay(void *arg)
{
    _Atomic int *joined = arg;

    alarm(NIGHT);
    if (mp__join() != 0)
        return 1;
    atomic_fetch_add(joined, 1);
    for (;;)
        pause();
    return 0;
}

static bool crowd_is_there(void *arg)
{
    return *(_Atomic int *)arg == CROWD;
}

/* What is lost is a table that was not yet to be seen when its maker was killed. */
static void test_read_in_a_crowd(void **state)
{
    (void)state;
    pid_t pids[CROWD];
    _Atomic int *joined = shared_page(sizeof *joined);

    leak_ignore_arena();
    for (int i = 0; i < CROWD; i++)
        pids[i] = child_start(join_and_stay, joined);
    assert_true(eventually(crowd_is_there, joined, 10000));
    expect_no_failure("read in a crowd", (struct rw_case){.acquire = READ}, 40);
    expect_no_failure("stop reading in a crowd", (struct rw_case){.before = READ}, 20);
    struct rw_case how = {.acquire = WRITE, .holder = READ, .telling = ONCE_IT_HOLDS};
    expect_no_failure_asleep("write in a crowd", how);
    for (int i = 0; i < CROWD; i++)
        end_child(pids[i]);
    mp__member_watch();
    shared_page_free(joined, sizeof *joined);
}

int main(void)
{
    static const struct CMUnitTest step_rwlock[] = {
        TEST(test_read),
        TEST(test_read_again),
        TEST(test_read_and_wait),
        TEST(test_read_after_death),
        TEST(test_read_release),
        TEST(test_write),
        TEST(test_write_and_wait),
        TEST(test_write_in_vain),
        TEST(test_write_against_traffic),
        TEST(test_write_after_death),
        TEST(test_write_after_reader_died),
        TEST(test_write_release),
        TEST(test_reader_meets_claim),
        TEST(test_read_in_a_crowd),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    return TEST_MAIN(step_rwlock);
}
