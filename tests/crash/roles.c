/* SPDX-License-Identifier: MIT */
#include "roles.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mp/mp.h>

#include "shm/arena.h"
#include "shm/member.h"
#include "support/test.h"

struct roles *roles;

/* Children inherit them as they are. */
static const struct role_object *object;
static const struct role_case *current;
static enum burial current_burial;

bool roles_begin(const struct role_object *of)
{
    if (!stepkill_allowed())
        return false;
    object = of;
    roles = shared_page(sizeof *roles);
    return true;
}

void pause_shortly(void)
{
    usleep(50);
}

/* --- helpers ---------------------------------------------------------------------- */

pid_t start_helper(child_body *body, void *arg)
{
    int place = 0;

    while (place < ROLES_HELPERS && roles->helpers[place])
        place++;
    if (place == ROLES_HELPERS)
        abort();
    roles->helpers[place] = child_start(body, arg);
    return roles->helpers[place];
}

static void forget_helper(pid_t helper)
{
    for (int i = 0; i < ROLES_HELPERS; i++)
        if (roles->helpers[i] == helper)
            roles->helpers[i] = 0;
}

int wait_helper(pid_t helper, int timeout_ms)
{
    int verdict = child_wait(helper, timeout_ms);
    forget_helper(helper);
    return verdict;
}

void end_helper(pid_t helper)
{
    kill(helper, SIGKILL);
    while (waitpid(helper, NULL, 0) < 0 && errno == EINTR)
        continue;
    forget_helper(helper);
}

struct sleeper {
    bool (*gets_in)(void *how);
    void *how;
};

static int sleeper_body(void *arg)
{
    const struct sleeper *sleeper = arg;
    bool right = sleeper->gets_in(sleeper->how);

    atomic_fetch_add(right ? &roles->got : &roles->failed, 1);
    return 0;
}

void start_sleepers(bool (*gets_in)(void *how), void *how, int count)
{
    struct sleeper sleeper = {gets_in, how};
    pid_t pids[ROLES_HELPERS];

    for (int i = 0; i < count; i++)
        pids[i] = start_helper(sleeper_body, &sleeper);
    for (int i = 0; i < count; i++)
        if (!process_sleeps(pids[i], ROLES_START_MS))
            abort();
    roles->sleepers += count;
}

bool all_sleepers_got_in(void)
{
    while (atomic_load(&roles->got) < roles->sleepers && !atomic_load(&roles->failed))
        pause_shortly();
    return !roles->failed;
}

static bool holder_holds(void *arg)
{
    (void)arg;
    return roles->holder_holds;
}

void start_holder(child_body *body, void *arg)
{
    roles->holder = start_helper(body, arg);
    if (!eventually(holder_holds, NULL, ROLES_START_MS))
        abort();
}

/* On a busy machine the victim may become the sentry, which gets up too often to be
   seen to block, and go on for ever: then nobody else ends that. */
static bool holder_waits(void)
{
    int64_t began = atomic_load(&roles->began);

    return !atomic_load(&roles->may_release) &&
           (!began || now_ms() < began + ROLES_CHECK_MS);
}

void hold(void)
{
    atomic_store(&roles->holder_holds, 1);
    while (holder_waits())
        usleep(500);
}

void hold_for_good(void)
{
    atomic_store(&roles->holder_holds, 1);
    for (;;)
        pause();
}

void let_holder_release(void *how)
{
    (void)how;
    atomic_store(&roles->may_release, 1);
}

/* --- what they note --------------------------------------------------------------- */

bool step_in(int err)
{
    if (err && err != EOWNERDEAD)
        return false;
    if (err)
        atomic_fetch_add(&roles->told, 1);
    return atomic_fetch_add(&roles->inside, 1) == 0;
}

/* Whoever gets in as well had better do so while this one is still there. */
void step_out(void)
{
    sched_yield();
    atomic_fetch_sub(&roles->inside, 1);
}

void note_failure(void)
{
    atomic_fetch_add(&roles->failed, 1);
}

void note_effect(bool effect)
{
    atomic_store(effect ? &roles->seen_with : &roles->seen_without, 1);
}

bool is_plausible(bool effect)
{
    note_effect(effect);
    if (roles->finished && !effect)
        return false;
    return !current->ordered || effect || !roles->seen_with;
}

/* --- around each victim ----------------------------------------------------------- */

static void forget_all(void)
{
    int with = roles->seen_with, without = roles->seen_without;

    memset(roles, 0, sizeof *roles);
    roles->seen_with = with;
    roles->seen_without = without;
}

void roles_prepare(void *how)
{
    forget_all();
    object->make(how);
    if (current && current->prepare)
        current->prepare(how);
}

void roles_clean(void)
{
    for (int i = 0; i < ROLES_HELPERS; i++)
        if (roles->helpers[i])
            end_helper(roles->helpers[i]);
    mp__member_watch();
    object->discard();
}

static void clean(void *how)
{
    (void)how;
    roles_clean();
}

static void victim(void *how)
{
    if (current->before && !current->before(how))
        return;
    if (!current->newcomer && mp__join() != 0)
        return;
    stepkill_begin();
    if (!current->operate(how))
        note_failure();
    roles->finished = 1;
    stepkill_end();
}

static void paused(void *how, pid_t pid)
{
    roles->victim = pid;
    if (current->sleepers)
        start_sleepers(current->sleeper, how, current->sleepers);
    if (current->paused)
        current->paused(how);
    atomic_store(&roles->began, now_ms());
}

static void unblock(void *how)
{
    current->unblock(how);
    atomic_store(&roles->unblocked, 1);
}

static void died(void *how, pid_t pid)
{
    (void)how;
    uint64_t member = mp__member_of_pid(pid);

    if (current_burial == BURIED && member)
        mp__member_bury(member);
}

static int check(void *how)
{
    return current->check(how) && !roles->failed ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

/* --- a case ----------------------------------------------------------------------- */

/*
 * The watchman waits for a lock that its parent keeps.  Who sleeps alone gets up every
 * 25 ms to look after the others, and would never be seen to block: see sync/park.c.
 */
static int watch(void *arg)
{
    alarm(ROLES_NIGHT);
    return mp_lock_acquire(arg, MP_FOREVER);
}

static bool is_sentry(void *arg)
{
    return atomic_load(&mp__arena->sentry) == mp__member_of_pid(*(pid_t *)arg);
}

static pid_t start_watchman(mp_lock **watched)
{
    if (mp_lock_new(watched, NULL) != 0 || mp_lock_acquire(*watched, MP_FOREVER) != 0)
        abort();
    pid_t pid = child_start(watch, *watched);
    if (!eventually(is_sentry, &pid, 5000))
        abort();
    return pid;
}

static struct stepkill_counts kill_at_all_points(const struct role_case *c)
{
    char name[80];
    struct stepkill_case steps = {.name = name,
                                  .arg = c->how,
                                  .prepare = roles_prepare,
                                  .victim = victim,
                                  .paused = paused,
                                  .unblock = c->unblock ? unblock : NULL,
                                  .died = died,
                                  .check = check,
                                  .clean = clean,
                                  .check_ms = ROLES_CHECK_MS,
                                  .limit = stepkill_limit(c->limit)};

    snprintf(name, sizeof name, "%s%s", c->name,
             current_burial == BURIED ? "" : ", not buried");
    return stepkill_run(&steps);
}

void expect_no_failure(const struct role_case *c, enum burial burial)
{
    mp_lock *watched = NULL;
    pid_t watchman = c->watched ? start_watchman(&watched) : 0;

    current = c;
    current_burial = burial;
    roles->seen_with = roles->seen_without = 0;
    struct stepkill_counts counts = kill_at_all_points(c);
    current = NULL;
    if (watchman) {
        end_helper(watchman);
        mp_lock_free(watched);
    }
    assert_true(counts.points > 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    if (c->ordered || c->both_ends)
        assert_true(roles->seen_with && roles->seen_without);
}

void expect_no_failure_either_way(const struct role_case *c)
{
    expect_no_failure(c, BURIED);
    expect_no_failure(c, NOT_BURIED);
}
