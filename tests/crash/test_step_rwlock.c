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
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "roles.h"
#include "shm/member.h"

#define WAITERS 2

/* Outside libmp, so that a bug in it cannot hide here. */
struct ledger {
    _Atomic int reading, writing; /* processes that believe they hold the lock */
    _Atomic int passes;           /* of the helper that goes on and on */
    _Atomic int got_in;           /* the reader that meets a claim */
};

typedef int acquire_fn(mp_rwlock *lock, int timeout_ms);

/* Whether the victim's death is told. */
enum telling { NEVER, ONCE_IT_HOLDS, UNTIL_IT_RELEASES, ALWAYS };

struct rw_case {
    acquire_fn *acquire;          /* what the victim does; NULL: it releases */
    acquire_fn *before;           /* what it acquired before it began, or NULL */
    acquire_fn *holder;           /* what another one holds, or NULL */
    acquire_fn *dead;             /* what another one died in or with, or NULL */
    acquire_fn *waiters[WAITERS]; /* what others wait for when it begins, or NULL */
    enum telling telling;
    int timeout_ms;   /* of the victim's acquire; 0: for ever */
    bool is_new;      /* it is no member of the family before it begins */
    bool one_way;     /* it takes the same number of steps each time */
    bool has_traffic; /* another one reads all the time */
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
        atomic_fetch_add(&roles->told, 1);
    bool right = err || acquire == WRITE ? write_alone() : read_with_readers();
    return mp_rwlock_release(lock) == 0 && right;
}

static bool pass_as(void *how)
{
    acquire_fn *const *acquire = how;
    return pass(*acquire);
}

static int traffic_body(void *arg)
{
    (void)arg;
    while (pass(READ))
        atomic_fetch_add(&ledger->passes, 1);
    note_failure();
    return 1;
}

static int holder_body(void *arg)
{
    acquire_fn *const *acquire = arg;
    _Atomic int *inside = *acquire == WRITE ? &ledger->writing : &ledger->reading;

    if ((*acquire)(lock, MP_FOREVER) != 0)
        return 1;
    atomic_fetch_add(inside, 1);
    hold();
    atomic_fetch_sub(inside, 1);
    return mp_rwlock_release(lock);
}

static bool traffic_runs(void *arg)
{
    (void)arg;
    return ledger->passes > 2;
}

static void start_waiters(void *how)
{
    struct rw_case *c = how;

    for (int i = 0; i < WAITERS && c->waiters[i]; i++)
        start_sleepers(pass_as, &c->waiters[i], 1);
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
    pid_t pid = start_helper(die_with, &acquire);

    if (!roles->holder)
        wait_helper(pid, ROLES_START_MS);
    else if (process_sleeps(pid, ROLES_START_MS))
        end_helper(pid);
    else
        abort();
}

static void make(void *how)
{
    (void)how;
    memset(ledger, 0, sizeof *ledger);
    if (mp_rwlock_new(&lock, NULL) != 0)
        abort();
}

static void discard(void)
{
    mp_rwlock_free(lock);
}

static void prepare(void *how)
{
    struct rw_case *c = how;

    if (c->holder)
        start_holder(holder_body, &c->holder);
    if (c->dead)
        leave_a_dead(c->dead);
    if (c->has_traffic) {
        start_helper(traffic_body, NULL);
        if (!eventually(traffic_runs, NULL, ROLES_START_MS))
            abort();
    }
}

/* --- the victim ------------------------------------------------------------------- */

static bool acquire_before(void *how)
{
    const struct rw_case *c = how;
    return !c->before || c->before(lock, MP_FOREVER) == 0;
}

static bool operate(void *how)
{
    const struct rw_case *c = how;
    int timeout_ms = c->timeout_ms ? c->timeout_ms : MP_FOREVER;
    int expected = c->dead && !c->holder ? EOWNERDEAD : 0;

    int err = c->acquire ? c->acquire(lock, timeout_ms) : mp_rwlock_release(lock);
    return err == expected || (err == ETIMEDOUT && c->timeout_ms);
}

/* --- checks ----------------------------------------------------------------------- */

static bool others_get_in(const struct rw_case *c)
{
    int passes = ledger->passes;

    while (c->has_traffic && atomic_load(&ledger->passes) < passes + 3)
        if (roles->failed)
            return false;
    return all_sleepers_got_in();
}

static bool is_told_rightly(const struct rw_case *c)
{
    bool told = roles->told > 0;

    if (roles->told > 1)
        return false;
    if (c->telling == NEVER || c->telling == ALWAYS)
        return told == (c->telling == ALWAYS);
    return is_plausible(told == (c->telling == ONCE_IT_HOLDS));
}

static bool check(void *how)
{
    let_holder_release(how);
    /* Those who waited must get in without anyone's help. */
    bool right = others_get_in(how);
    /* Twice: a lock that was put right must go on working. */
    for (int i = 0; i < 2 && right; i++)
        right = pass(READ) && pass(WRITE);
    return right && is_told_rightly(how);
}

/* As check, by one who wants to write first. */
static bool check_write(void *how)
{
    let_holder_release(how);
    return pass(WRITE) && pass(READ) && others_get_in(how) && pass(WRITE) &&
           is_told_rightly(how);
}

static struct role_case case_of(const char *name, struct rw_case *how, unsigned limit)
{
    return (struct role_case){.name = name,
                              .how = how,
                              .prepare = prepare,
                              .before = acquire_before,
                              .paused = start_waiters,
                              .operate = operate,
                              .unblock = let_holder_release,
                              .check = check,
                              .limit = limit,
                              .newcomer = how->is_new,
                              .ordered = how->one_way};
}

/* Found dead by those it concerns, of whom first those go on who wait; or buried by its
   parent, and then one wants to write. */
static void expect_right(const char *name, struct rw_case how, unsigned limit)
{
    struct role_case c = case_of(name, &how, limit);

    expect_no_failure(&c, NOT_BURIED);
    c.check = check_write;
    expect_no_failure(&c, BURIED);
}

/* The same where the victim sleeps, which takes a tenth of a second each time: in the
   ordinary run only the first of them. */
static void expect_right_asleep(const char *name, struct rw_case how)
{
    struct role_case c = case_of(name, &how, 5);

    c.watched = true;
    expect_no_failure(&c, NOT_BURIED);
    c.check = check_write;
    if (stepkill_limit(1) == 0)
        expect_no_failure(&c, BURIED);
}

/* --- reading ---------------------------------------------------------------------- */

static void test_read(void **state)
{
    (void)state;
    expect_right("read", (struct rw_case){.acquire = READ}, 0);
    expect_right("read, first of all",
                 (struct rw_case){.acquire = READ, .is_new = true}, 40);
    expect_right("read, others read", (struct rw_case){.acquire = READ, .holder = READ},
                 30);
}

static void test_read_again(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .before = READ};

    expect_right("read again", how, 40);
    /* It goes in past one who waits for it. */
    how.waiters[0] = WRITE;
    expect_right("read again, one waits", how, 25);
    how.holder = READ;
    how.waiters[1] = READ;
    expect_right("read again, two wait", how, 25);
}

/* A writer lets go when the victim has gone to sleep; others sleep beside it. */
static void test_read_and_wait(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .holder = WRITE};

    expect_right_asleep("read, one writes", how);
    how.waiters[0] = READ;
    how.waiters[1] = WRITE;
    expect_right_asleep("read, one writes, two wait", how);
}

static void test_read_after_death(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = READ, .dead = WRITE, .telling = ALWAYS};

    expect_right("read, a writer died", how, 25);
    how.telling = NEVER;
    how.holder = READ;
    expect_right("read, a claimant died", how, 25);
    how = (struct rw_case){.acquire = READ, .dead = READ, .holder = WRITE};
    expect_right_asleep("read, a waiting reader died", how);
}

static void test_read_release(void **state)
{
    (void)state;
    struct rw_case how = {.before = READ};

    expect_right("stop reading", how, 0);
    how.waiters[0] = WRITE;
    expect_right("stop reading, a writer waits", how, 25);
    how.waiters[1] = READ;
    expect_right("stop reading, both wait", how, 25);
}

/* --- writing ---------------------------------------------------------------------- */

static void test_write(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .telling = ONCE_IT_HOLDS, .one_way = true};

    expect_right("write", how, 80);
    how.is_new = true;
    how.one_way = false;
    expect_right("write, first of all", how, 40);
}

static void test_write_and_wait(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .holder = WRITE, .telling = ONCE_IT_HOLDS};

    expect_right_asleep("write, one writes", how);
    how.waiters[0] = READ;
    how.waiters[1] = WRITE;
    expect_right_asleep("write, one writes, two wait", how);
    how = (struct rw_case){.acquire = WRITE, .holder = READ, .telling = ONCE_IT_HOLDS};
    expect_right_asleep("write, one reads", how);
    how.waiters[0] = WRITE;
    how.waiters[1] = READ;
    expect_right_asleep("write, one reads, two wait", how);
}

/* Its claim keeps a reader out that comes and goes all the time, and then it ends. */
static void test_write_in_vain(void **state)
{
    (void)state;
    struct rw_case how = {
        .acquire = WRITE, .holder = READ, .timeout_ms = 1, .has_traffic = true};

    expect_right("write in vain", how, 30);
}

static void test_write_against_traffic(void **state)
{
    (void)state;
    struct rw_case how = {
        .acquire = WRITE, .telling = ONCE_IT_HOLDS, .has_traffic = true};

    expect_right("write, one comes and goes", how, 25);
}

static void test_write_after_death(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .dead = WRITE, .telling = ALWAYS};

    expect_right("write, a writer died", how, 25);
    how.telling = ONCE_IT_HOLDS;
    how.holder = READ;
    expect_right_asleep("write, a claimant died", how);
}

static int die_reading(void *arg)
{
    (void)arg;
    return mp_rwlock_acquire_read(lock, MP_FOREVER);
}

static void leave_a_dead_reader(void *how)
{
    (void)how;
    if (child_run(die_reading, NULL) != 0)
        abort();
}

static void test_write_after_reader_died(void **state)
{
    (void)state;
    struct rw_case how = {.acquire = WRITE, .telling = ONCE_IT_HOLDS, .one_way = true};
    struct role_case c = case_of("write, a reader died", &how, 60);

    c.prepare = leave_a_dead_reader;
    c.check = check_write;
    expect_no_failure(&c, NOT_BURIED);
}

static void test_write_release(void **state)
{
    (void)state;
    struct rw_case how = {
        .before = WRITE, .telling = UNTIL_IT_RELEASES, .one_way = true};

    expect_right("stop writing", how, 0);
    how.waiters[0] = READ;
    expect_right("stop writing, a reader waits", how, 25);
    how.waiters[1] = WRITE;
    expect_right("stop writing, both wait", how, 25);
    how.waiters[0] = WRITE;
    expect_right("stop writing, writers wait", how, 25);
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

    roles_prepare(NULL);
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
    roles_clean();
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

    alarm(ROLES_NIGHT);
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
    expect_right("read in a crowd", (struct rw_case){.acquire = READ}, 40);
    expect_right("stop reading in a crowd", (struct rw_case){.before = READ}, 20);
    struct rw_case how = {.acquire = WRITE, .holder = READ, .telling = ONCE_IT_HOLDS};
    expect_right_asleep("write in a crowd", how);
    for (int i = 0; i < CROWD; i++)
        end_helper(pids[i]);
    mp__member_watch();
    shared_page_free(joined, sizeof *joined);
}

int main(void)
{
    static const struct role_object object = {make, discard};
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

    ledger = shared_page(sizeof *ledger);
    return roles_begin(&object) ? TEST_MAIN(step_rwlock) : SKIPPED;
}
