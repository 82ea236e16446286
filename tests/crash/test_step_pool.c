/* SPDX-License-Identifier: MIT */
/*
 * test_step_pool.c - workers, supervisors and clients of pools are killed at every
 * instruction of what they do.
 *
 * A worker: from the middle of a task through its return, its report and the taking of
 * two further tasks; while it leaves.  A supervisor: in each of its duties.  A client:
 * in each call.  What really happened is in a ledger that libmp does not know.
 */
#include "support/test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <mp/mp.h>

#include "pool/pool.h"
#include "pool_ledger.h"
#include "stepkill.h"

#define ITEMS 6

/* What really happened, in memory that libmp does not know. */
struct ledger {
    _Atomic pid_t victim;     /* the worker that is to be killed */
    _Atomic int held;         /* it waits in its task for the tracer */
    _Atomic int go;           /* it is being stepped, and may return from its task */
    _Atomic int killed;       /* the other worker may go on */
    _Atomic int victim_tasks; /* tasks that the victim has begun */
    _Atomic int error;        /* that every task returns */
    _Atomic int started[ITEMS];
    pid_t ran_by[ITEMS];
};

static struct ledger *ledger;

/* The first worker that comes, or that gets item 0, is the victim; the other leaves it
   the next items. */
static int held_task(const void *arg, void *result, void *context)
{
    (void)context;
    guard_child();
    int item = *(const int *)arg;
    pid_t me = getpid(), nobody = 0;

    ledger->ran_by[item] = me;
    atomic_fetch_add(&ledger->started[item], 1);
    bool chosen = !ledger->error || item == 0;
    if (chosen && atomic_compare_exchange_strong(&ledger->victim, &nobody, me)) {
        atomic_store(&ledger->held, 1);
        while (!atomic_load(&ledger->go))
            sched_yield();
    } else if (atomic_load(&ledger->victim) != me) {
        while (!atomic_load(&ledger->killed))
            sched_yield();
    }
    if (atomic_load(&ledger->victim) == me)
        atomic_fetch_add(&ledger->victim_tasks, 1);
    *(int *)result = item * item + 1;
    return ledger->error;
}

static bool victim_is_held(void *arg)
{
    (void)arg;
    return ledger->held;
}

/* Let go, step, kill.  Returns the steps done; `*over` once two more tasks were taken.
 */
static unsigned step_and_kill(pid_t pid, unsigned steps, bool *over)
{
    unsigned done = 0;

    atomic_store(&ledger->go, 1);
    for (; done < steps && ledger->victim_tasks < 3; done++)
        if (stepkill_step(pid) != STEP_DONE)
            break;
    *over = done < steps;
    stepkill_kill(pid);
    atomic_store(&ledger->killed, 1);
    return done;
}

/* Exactly once: each item is right or reported, and at most one is reported. */
static void assert_settled(int err, const int *results, const int *errors,
                           const mp_task_failure *failure, pid_t victim)
{
    int failed = 0;

    for (int i = 0; i < ITEMS; i++) {
        if (errors[i] == 0) {
            assert_int_equal(results[i], i * i + 1);
            assert_int_equal(ledger->started[i], 1);
            continue;
        }
        assert_int_equal(errors[i], EOWNERDEAD);
        assert_true(ledger->started[i] <= 1);
        if (ledger->started[i])
            assert_int_equal(ledger->ran_by[i], victim);
        assert_int_equal(failure->index, i);
        failed++;
    }
    assert_true(failed <= 1);
    assert_int_equal(err, failed ? EOWNERDEAD : 0);
    assert_int_equal(failure->error, err);
    if (failed) {
        assert_int_equal(failure->exitcode, -SIGKILL);
        assert_int_equal(failure->pid, victim);
    }
}

/* Where all fail and may be tried again: what was written down is what the last run of
   the first item returned, whether the worker died before or after that. */
static void assert_failed(int error, const int *errors, const mp_task_failure *failure)
{
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(errors[i], error);
        assert_in_range(ledger->started[i], 1, 2);
    }
    assert_int_equal(failure->error, error);
    assert_int_equal(failure->index, 0);
    assert_int_equal(failure->kind, MP_FAILURE_RETURNED);
    assert_int_equal(failure->pid, ledger->ran_by[0]);
    assert_true(failure->attempts >= ledger->started[0]);
}

/* One victim, killed `steps` instructions after it was let go. */
static unsigned kill_worker_at(mp_pool *pool, unsigned steps, int error, bool *over)
{
    int items[ITEMS], results[ITEMS] = {0}, errors[ITEMS];
    mp_async_result *result;
    mp_task_failure failure;

    memset(ledger, 0, sizeof *ledger);
    ledger->error = error;
    for (int i = 0; i < ITEMS; i++) {
        items[i] = i;
        errors[i] = -1;
    }
    assert_int_equal(mp_pool_map_async(pool, held_task, items, ITEMS, sizeof *items,
                                       results, sizeof *results,
                                       MP_MAP_OPTIONS(.chunk_size = 1, .errors = errors,
                                                      .retries = error != 0),
                                       &result),
                     0);
    assert_true(eventually(victim_is_held, NULL, 5000));
    pid_t victim = ledger->victim;
    assert_true(stepkill_seize(victim));
    unsigned done = step_and_kill(victim, steps, over);
    assert_int_equal(mp_async_result_wait(result, scaled(5000)), 0);
    assert_int_equal(mp_async_result_failure(result, &failure), 0);
    int err = mp_async_result_get(result, NULL, 0, MP_NOWAIT);
    if (error)
        assert_failed(error, errors, &failure);
    else
        assert_settled(err, results, errors, &failure, victim);
    mp_async_result_free(result);
    return done;
}

static void step_worker(const char *name, int error)
{
    mp_pool *pool;
    bool over;
    unsigned limit = stepkill_limit(150), points = 0;

    assert_int_equal(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2)), 0);
    unsigned length = kill_worker_at(pool, 1u << 20, error, &over);
    unsigned stride = limit ? length / limit + 1 : 1;
    for (unsigned steps = 0; steps < length + stride; steps += stride, points++)
        kill_worker_at(pool, steps, error, &over);
    fprintf(stderr, "%-36s %6u steps, %5u points\n", name, length, points);
    mp_pool_free(pool);
}

static void test_worker(void **state)
{
    (void)state;
    step_worker("worker: a map's items", 0);
}

static void test_worker_failing(void **state)
{
    (void)state;
    step_worker("worker: a map's items fail", ERANGE);
}

/* --- scenes: a client with a pool of which one process is stepped and killed ------ */

#define SEATS     8 /* items of a scene */
#define NOBODY_MS 500
#define JUDGE_MS  2000

/* Tracer, client and tasks talk to each other through this. */
static struct stage {
    _Atomic pid_t victim;
    _Atomic int ready;   /* client: the scene is set */
    _Atomic int seized;  /* tracer: the victim is being stepped; act */
    _Atomic int acted;   /* client: done so */
    _Atomic int over;    /* client: the victim has done its duty */
    _Atomic int stopped; /* tracer: it is where it will be killed */
    _Atomic int met;     /* client: knows */
    _Atomic int dead;    /* tracer: it was killed */
    _Atomic int release; /* client: tasks need not wait for that */
    _Atomic int held;    /* tasks that have been begun */
    _Atomic int victim_tasks;
} * stage;

static struct ledger *seats;

struct play {
    mp_pool *pool;
    struct ledger_ref refs[SEATS];
    mp_async_result *results[SEATS];
    unsigned count;
    pid_t worker; /* whom the scene is about, or was in that place */
};

struct scene {
    const char *name;
    mp_pool_options options;
    unsigned items; /* that are submitted at once */
    int retries;
    int limit_ms;
    unsigned may;     /* what these may end with */
    unsigned failing; /* and how many of them at most */
    bool supervisor;  /* who is killed: it, or the worker in place 1 */
    bool starts; /* it is the supervisor, and starts: the client is in mp_pool_new */
    void (*act)(struct play *play);     /* what sets the victim in motion; or NULL */
    bool (*is_over)(struct play *play); /* the victim has done its duty */
    void (*meet)(struct play *play);    /* while it stands where it will die; or NULL */
    unsigned limit;                     /* points in the ordinary run */
};

static bool may_go(void)
{
    if (atomic_load(&stage->victim) == getpid())
        return atomic_load(&stage->seized);
    return atomic_load(&stage->dead) || atomic_load(&stage->release);
}

static int sit(const void *arg, void *result, void *context)
{
    const struct ledger_ref *ref = arg;

    (void)context;
    guard_child();
    uint32_t run = ledger_begin(seats, *ref);
    atomic_fetch_add(&stage->held, 1);
    while (!may_go())
        sleep_us(50);
    if (atomic_load(&stage->victim) == getpid())
        atomic_fetch_add(&stage->victim_tasks, 1);
    uint64_t value = ledger_end(seats, *ref, run);
    memcpy(result, &value, sizeof value);
    return 0;
}

static void submit(struct play *play, const struct scene *scene)
{
    unsigned i = play->count;

    play->refs[i] = ledger_enter(seats, i, scene->retries, scene->may);
    int err = mp_pool_apply_async(
        play->pool, sit, &play->refs[i], sizeof play->refs[i], sizeof(uint64_t),
        MP_TASK_OPTIONS(.retries = scene->retries, .time_limit_ms = scene->limit_ms),
        &play->results[i]);
    if (err) {
        fprintf(stderr, "%s: cannot submit: %s\n", scene->name, strerror(err));
        abort();
    }
    play->count++;
}

static struct mp__worker *worker_at(const struct play *play, unsigned place)
{
    return &play->pool->shared->workers[place];
}

static unsigned count_alive(const struct play *play)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < play->pool->shared->place_count; i++)
        alive += worker_at(play, i)->pid && worker_at(play, i)->ready;
    return alive;
}

/* --- the client's part ------------------------------------------------------------ */

static int complain(const struct scene *scene, const char *what, long detail)
{
    fprintf(stderr, "%s: %s (%ld)\n", scene->name, what, detail);
    return 1;
}

static int settle_seat(struct play *play, const struct scene *scene, unsigned i,
                       unsigned *failing)
{
    mp_task_failure failure = {0};
    uint64_t value = 0;
    int err = mp_async_result_wait(play->results[i], scaled(JUDGE_MS));

    if (err)
        return complain(scene, "an item is not settled", i);
    err = mp_async_result_get(play->results[i], &value, sizeof value, MP_NOWAIT);
    if (mp_async_result_failure(play->results[i], &failure))
        return complain(scene, "there is no failure", i);
    *failing += err != 0;
    ledger_settle(seats, play->refs[i], err, value, &failure);
    mp_async_result_free(play->results[i]);
    return 0;
}

/* What a pool must still do whose worker was killed, and one that is broken. */
static int try_further(struct play *play, const struct scene *scene)
{
    struct ledger_ref ref =
        ledger_enter(seats, SEATS, 0, scene->supervisor ? LEDGER_DIES : 0);
    mp_task_failure failure = {0};
    uint64_t value = 0;
    int err = mp_pool_apply(play->pool, sit, &ref, sizeof ref, &value, sizeof value,
                            MP_TASK_OPTIONS(.failure = &failure));

    if (!scene->supervisor || err != EPIPE)
        ledger_settle(seats, ref, err, value, &failure);
    else
        ledger_settle(seats, ref, EOWNERDEAD, value, NULL);
    if (err && !scene->supervisor)
        return complain(scene, "the pool takes no more", err);
    if (!err && scene->supervisor)
        return complain(scene, "a broken pool goes on", err);
    return 0;
}

static int judge(struct play *play, const struct scene *scene)
{
    unsigned failing = 0;

    for (unsigned i = 0; i < play->count; i++)
        if (settle_seat(play, scene, i, &failing))
            return 1;
    if (failing > scene->failing)
        return complain(scene, "too many items have failed", failing);
    if (atomic_load(&play->pool->shared->state) == MP__POOL_OPEN &&
        try_further(play, scene))
        return 1;
    mp_pool_close(play->pool);
    int err = mp_pool_join(play->pool, scaled(JUDGE_MS));
    if (err)
        return complain(scene, "it can't be joined", err);
    mp_pool_free(play->pool);
    return ledger_faults(seats) != 0;
}

static void until(_Atomic int *flag)
{
    while (!atomic_load(flag))
        sleep_us(50);
}

static void set_the_scene(struct play *play, const struct scene *scene)
{
    unsigned workers = scene->options.processes;

    while (play->count < scene->items)
        submit(play, scene);
    while (atomic_load(&stage->held) <
           (int)(scene->items < workers ? scene->items : workers))
        sleep_us(50);
    if (!scene->options.lazy)
        play->worker = worker_at(play, workers - 1)->pid;
    atomic_store(&stage->victim,
                 scene->supervisor ? play->pool->supervisor_pid : play->worker);
    atomic_store(&stage->ready, 1);
}

static int client_body(void *arg)
{
    const struct scene *scene = arg;
    struct play play = {0};
    int err = mp_pool_new(&play.pool, &scene->options);

    if (scene->starts && (err == EOWNERDEAD || err == EPIPE)) {
        until(&stage->dead);
        return 0;
    }
    if (err)
        return complain(scene, "there is no pool", err);
    if (!scene->starts)
        set_the_scene(&play, scene);
    until(&stage->seized);
    if (scene->act)
        scene->act(&play);
    atomic_store(&stage->acted, 1);
    while (!atomic_load(&stage->dead)) {
        if (!atomic_load(&stage->over) && scene->is_over(&play))
            atomic_store(&stage->over, 1);
        if (atomic_load(&stage->stopped) && !atomic_load(&stage->met)) {
            if (scene->meet)
                scene->meet(&play);
            atomic_store(&stage->met, 1);
        }
        sleep_us(50);
    }
    return judge(&play, scene);
}

/* --- the tracer's part ------------------------------------------------------------ */

static bool is_set(void *flag)
{
    return atomic_load((_Atomic int *)flag);
}

/* Step so often, or until its duty is done.  A supervisor that is stepped finds no time
   to sleep: what it does every so many milliseconds takes it longer than that. */
static unsigned step_victim(pid_t victim, unsigned steps)
{
    unsigned done = 0;

    for (; done < steps && !atomic_load(&stage->over); done++) {
        enum stepkill_stop stop = stepkill_step(victim);
        if (stop == STEP_BLOCKED)
            stop = stepkill_wait(victim, 500);
        if (stop != STEP_DONE)
            break;
    }
    return done;
}

static bool nobody_left(void *arg)
{
    (void)arg;
    return reap_all(0);
}

/* Have a client set the scene, and stop the victim: false if it is not there. */
static bool raise_curtain(const struct scene *scene, pid_t *client)
{
    memset(stage, 0, sizeof *stage);
    *client = child_start(client_body, (void *)scene);
    if (eventually(is_set, &stage->ready, 5000) && stepkill_seize(stage->victim))
        return true;
    child_wait(*client, 0);
    reap_all(2000);
    return false;
}

/* One play, whose victim is killed after so many instructions.  How many it took. */
static unsigned play_once(const struct scene *scene, unsigned steps, unsigned *wrong)
{
    pid_t client;
    int tries = 0;

    /* On a busy machine a worker that idles may have left before it is stopped. */
    while (!raise_curtain(scene, &client))
        assert_true(++tries < 5);
    pid_t victim = stage->victim;
    atomic_store(&stage->seized, 1);
    if (!scene->starts)
        eventually(is_set, &stage->acted, 2000);
    unsigned done = step_victim(victim, steps);
    atomic_store(&stage->stopped, 1);
    if (scene->meet)
        eventually(is_set, &stage->met, 2000);
    ledger_kills(seats, victim);
    stepkill_kill(victim);
    atomic_store(&stage->dead, 1);

    int code = child_wait(client, 3 * JUDGE_MS);
    bool gone = eventually(nobody_left, NULL, NOBODY_MS);
    if (code || !gone) {
        fprintf(stderr, "%s: step %u: the client ends with %d%s\n", scene->name, done,
                code, gone ? "" : ", and somebody is left");
        ++*wrong;
        reap_all(2000);
    }
    return done;
}

/* Steps that the ordinary run of a scene may take in all. */
#define STEPS_BUDGET 60000u

static void run_scene(const struct scene *scene)
{
    unsigned limit = stepkill_limit(scene->limit), wrong = 0, points = 0, stride = 1;
    int64_t began = now_ms();

    leak_ignore_arena();
    unsigned length = play_once(scene, 1u << 18, &wrong);
    if (limit) {
        unsigned by_steps =
            (unsigned)((uint64_t)length * length / 2 / STEPS_BUDGET) + 1;
        stride = length / limit + 1;
        if (by_steps > stride)
            stride = by_steps;
    }
    for (unsigned steps = 0; steps < length + stride && wrong < 5; steps += stride) {
        play_once(scene, steps, &wrong);
        points++;
    }
    fprintf(stderr, "%-36s %6u steps, %5u points, %3u wrong, %4.1f s\n", scene->name,
            length, points, wrong, (double)(now_ms() - began) / 1000);
    assert_true(length > 10);
    assert_int_equal(wrong, 0);
}

/* --- workers ---------------------------------------------------------------------- */

static bool has_taken_two(struct play *play)
{
    (void)play;
    return atomic_load(&stage->victim_tasks) >= 3;
}

static bool never(struct play *play)
{
    (void)play;
    return false;
}

static void test_worker_single(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "worker: single tasks",
                              .options = *MP_POOL_OPTIONS(.processes = 2),
                              .items = 4,
                              .may = LEDGER_DIES,
                              .failing = 1,
                              .is_over = has_taken_two,
                              .limit = 40});
}

static void test_worker_retried(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "worker: tasks that are tried again",
                              .options = *MP_POOL_OPTIONS(.processes = 2),
                              .items = 4,
                              .retries = 1,
                              .is_over = has_taken_two,
                              .limit = 40});
}

/* Its second task is its last: it becomes worn, and leaves. */
static void test_worker_worn(void **state)
{
    (void)state;
    run_scene(&(struct scene){
        .name = "worker: worn, and leaves",
        .options = *MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 2),
        .items = 6,
        .may = LEDGER_DIES,
        .failing = 1,
        .is_over = never,
        .limit = 40});
}

static void shrink(struct play *play)
{
    if (mp_pool_resize(play->pool, 1))
        abort();
    while (!atomic_load(&worker_at(play, 1)->surplus))
        sleep_us(50);
}

static void test_worker_surplus(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "worker: too many, leaves",
                              .options = *MP_POOL_OPTIONS(.processes = 2),
                              .items = 4,
                              .may = LEDGER_DIES,
                              .failing = 1,
                              .act = shrink,
                              .is_over = never,
                              .limit = 40});
}

/* It leaves because it has nothing to do, and just then there is something. */
static void submit_more(struct play *play)
{
    static const struct scene any = {.name = "more", .may = LEDGER_DIES};

    atomic_store(&stage->release, 1);
    while (play->count < 4)
        submit(play, &any);
}

static void test_worker_idle(void **state)
{
    (void)state;
    run_scene(&(struct scene){
        .name = "worker: idle, leaves, work comes",
        .options = *MP_POOL_OPTIONS(.processes = 2, .idle_timeout_ms = 100),
        .may = LEDGER_DIES,
        .is_over = never,
        .meet = submit_more,
        .limit = 40});
}

/* What it runs is cancelled while it gets through with it. */
static void cancel_all(struct play *play)
{
    for (unsigned i = 0; i < play->count; i++)
        mp_async_result_cancel(play->results[i]);
}

static void test_worker_cancelled(void **state)
{
    (void)state;
    run_scene(
        &(struct scene){.name = "worker: tasks are cancelled",
                        .options = *MP_POOL_OPTIONS(.processes = 2, .grace_ms = 5),
                        .items = 5,
                        .retries = 1,
                        .may = LEDGER_CANCELS,
                        .failing = 5,
                        .is_over = has_taken_two,
                        .meet = cancel_all,
                        .limit = 40});
}

/* --- the supervisor --------------------------------------------------------------- */

#define BROKEN (LEDGER_DIES | LEDGER_CANCELS)

static void kill_worker(struct play *play)
{
    ledger_kills(seats, play->worker);
    kill(play->worker, SIGKILL);
}

static bool is_replaced(struct play *play)
{
    const struct mp__worker *worker =
        worker_at(play, play->pool->shared->options.processes - 1);
    pid_t pid = worker->pid;

    return pid && pid != play->worker && worker->ready;
}

static void test_supervisor_replaces(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "supervisor: a worker died",
                              .options = *MP_POOL_OPTIONS(.processes = 2),
                              .items = 4,
                              .retries = 1,
                              .may = BROKEN,
                              .failing = 4,
                              .supervisor = true,
                              .act = kill_worker,
                              .is_over = is_replaced,
                              .limit = 40});
}

static void cancel_running(struct play *play)
{
    mp_async_result_cancel(play->results[0]);
    mp_async_result_cancel(play->results[1]);
}

static void test_supervisor_cancels(void **state)
{
    (void)state;
    run_scene(
        &(struct scene){.name = "supervisor: tasks were cancelled",
                        .options = *MP_POOL_OPTIONS(.processes = 2, .grace_ms = 5),
                        .items = 4,
                        .may = BROKEN,
                        .failing = 4,
                        .supervisor = true,
                        .act = cancel_running,
                        .is_over = is_replaced,
                        .limit = 40});
}

static void test_supervisor_limits(void **state)
{
    (void)state;
    run_scene(
        &(struct scene){.name = "supervisor: tasks took too long",
                        .options = *MP_POOL_OPTIONS(.processes = 2, .grace_ms = 5),
                        .items = 2,
                        .limit_ms = 30,
                        .may = BROKEN | LEDGER_LATE,
                        .failing = 2,
                        .supervisor = true,
                        .is_over = is_replaced,
                        .limit = 40});
}

static void let_go(struct play *play)
{
    (void)play;
    atomic_store(&stage->release, 1);
}

static bool all_settled(struct play *play)
{
    for (unsigned i = 0; i < play->count; i++)
        if (!mp_async_result_ready(play->results[i]))
            return false;
    return true;
}

static void test_supervisor_stands_by(void **state)
{
    (void)state;
    run_scene(&(struct scene){
        .name = "supervisor: workers are worn",
        .options = *MP_POOL_OPTIONS(.processes = 2, .max_tasks_per_child = 2),
        .items = 6,
        .may = BROKEN,
        .failing = 6,
        .supervisor = true,
        .act = let_go,
        .is_over = all_settled,
        .limit = 40});
}

static void grow(struct play *play)
{
    if (mp_pool_resize(play->pool, 3))
        abort();
}

static bool has_grown(struct play *play)
{
    return count_alive(play) == 3;
}

static void test_supervisor_grows(void **state)
{
    (void)state;
    run_scene(
        &(struct scene){.name = "supervisor: more workers",
                        .options = *MP_POOL_OPTIONS(.processes = 1, .max_processes = 3),
                        .items = 3,
                        .may = BROKEN,
                        .failing = 3,
                        .supervisor = true,
                        .act = grow,
                        .is_over = has_grown,
                        .limit = 40});
}

static void shrink_and_go(struct play *play)
{
    if (mp_pool_resize(play->pool, 1))
        abort();
    atomic_store(&stage->release, 1);
}

static bool has_shrunk(struct play *play)
{
    return count_alive(play) == 1 && all_settled(play);
}

static void test_supervisor_shrinks(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "supervisor: fewer workers",
                              .options = *MP_POOL_OPTIONS(.processes = 3),
                              .items = 5,
                              .may = BROKEN,
                              .failing = 5,
                              .supervisor = true,
                              .act = shrink_and_go,
                              .is_over = has_shrunk,
                              .limit = 40});
}

static bool all_rest(struct play *play)
{
    return atomic_load(&play->pool->shared->resting) == 2;
}

static void test_supervisor_idle(void **state)
{
    (void)state;
    run_scene(&(struct scene){
        .name = "supervisor: workers leave, work comes",
        .options = *MP_POOL_OPTIONS(.processes = 2, .idle_timeout_ms = 100),
        .may = BROKEN,
        .failing = 4,
        .supervisor = true,
        .is_over = all_rest,
        .meet = submit_more,
        .limit = 40});
}

static void test_supervisor_calls_back(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "supervisor: lazy, work comes",
                              .options = *MP_POOL_OPTIONS(.processes = 2, .lazy = true),
                              .may = BROKEN,
                              .failing = 4,
                              .supervisor = true,
                              .act = submit_more,
                              .is_over = all_settled,
                              .limit = 40});
}

static void close_and_go(struct play *play)
{
    mp_pool_close(play->pool);
    atomic_store(&stage->release, 1);
}

static void test_supervisor_closes(void **state)
{
    (void)state;
    run_scene(&(struct scene){.name = "supervisor: closed",
                              .options = *MP_POOL_OPTIONS(.processes = 2),
                              .items = 5,
                              .may = BROKEN,
                              .failing = 5,
                              .supervisor = true,
                              .act = close_and_go,
                              .is_over = never,
                              .limit = 40});
}

static void *terminate_pool(void *pool)
{
    mp_pool_terminate(pool);
    return NULL;
}

static void terminate_aside(struct play *play)
{
    pthread_t thread;

    pthread_create(&thread, NULL, terminate_pool, play->pool);
    pthread_detach(thread);
}

static void test_supervisor_terminates(void **state)
{
    (void)state;
    run_scene(
        &(struct scene){.name = "supervisor: terminated",
                        .options = *MP_POOL_OPTIONS(.processes = 2, .grace_ms = 5),
                        .items = 5,
                        .may = BROKEN,
                        .failing = 5,
                        .supervisor = true,
                        .act = terminate_aside,
                        .is_over = never,
                        .limit = 40});
}

/* Runs in each worker: the first one has its parent stepped. */
static int initialize(void *context)
{
    pid_t nobody = 0;

    (void)context;
    guard_child();
    if (atomic_compare_exchange_strong(&stage->victim, &nobody, getppid()))
        atomic_store(&stage->ready, 1);
    until(&stage->seized);
    return 0;
}

static bool has_started(struct play *play)
{
    return count_alive(play) == 2;
}

static void test_supervisor_starts(void **state)
{
    (void)state;
    run_scene(&(struct scene){
        .name = "supervisor: starts",
        .options = *MP_POOL_OPTIONS(.processes = 2, .initializer = initialize),
        .may = BROKEN,
        .supervisor = true,
        .starts = true,
        .is_over = has_started,
        .limit = 40});
}

/* --- a client is killed in its calls -----------------------------------------------
 */

static struct {
    pid_t pids[32];
    size_t count;
    unsigned survived;
} family;

static int short_task(const void *arg, void *result, void *context)
{
    (void)result;
    (void)context;
    guard_child();
    atomic_fetch_add(&ledger->started[*(const int *)arg], 1);
    return 0;
}

static int wait_for_ever(const void *arg, void *result, void *context)
{
    (void)arg;
    (void)result;
    (void)context;
    guard_child();
    atomic_fetch_add(&ledger->victim_tasks, 1);
    for (;;)
        pause();
    return 0;
}

/* What the client does while it is stepped. */
struct call {
    const char *name;
    void (*run)(mp_pool *pool, mp_async_result **results);
    bool busy; /* results: 2 of tasks that run, 2 of tasks that are queued, a map */
    unsigned limit;
};

static void call_apply_async(mp_pool *pool, mp_async_result **results)
{
    static const int item = 1;

    (void)results;
    if (mp_pool_apply_async(pool, short_task, &item, sizeof item, 0, NULL, NULL) != 0)
        abort();
}

static void call_map_async(mp_pool *pool, mp_async_result **results)
{
    static const int items[] = {1, 2, 3};

    if (mp_pool_map_async(pool, short_task, items, 3, sizeof *items, NULL, 0, NULL,
                          &results[0]) != 0)
        abort();
}

static void call_cancel_running(mp_pool *pool, mp_async_result **results)
{
    (void)pool;
    if (mp_async_result_cancel(results[0]) != 0)
        abort();
}

static void call_cancel_queued(mp_pool *pool, mp_async_result **results)
{
    (void)pool;
    if (mp_async_result_cancel(results[2]) != 0 ||
        mp_async_result_get(results[2], NULL, 0, MP_NOWAIT) != ECANCELED)
        abort();
}

static void call_cancel_map(mp_pool *pool, mp_async_result **results)
{
    (void)pool;
    if (mp_async_result_cancel(results[4]) != 0)
        abort();
}

static void call_resize(mp_pool *pool, mp_async_result **results)
{
    (void)results;
    if (mp_pool_resize(pool, 3) != 0)
        abort();
}

static void call_close(mp_pool *pool, mp_async_result **results)
{
    (void)results;
    if (mp_pool_close(pool) != 0)
        abort();
}

static void call_terminate(mp_pool *pool, mp_async_result **results)
{
    (void)results;
    if (mp_pool_terminate(pool) != 0)
        abort();
}

static void keep_busy(mp_pool *pool, mp_async_result **results)
{
    static const int items[64];

    for (int i = 0; i < 4; i++)
        if (mp_pool_apply_async(pool, wait_for_ever, NULL, 0, 0, NULL, &results[i]) !=
            0)
            abort();
    if (mp_pool_map_async(pool, wait_for_ever, items, 64, sizeof *items, NULL, 0, NULL,
                          &results[4]) != 0)
        abort();
    while (atomic_load(&ledger->victim_tasks) < 2)
        sleep_us(50);
}

static void call_victim(void *arg)
{
    const struct call *call = arg;
    mp_async_result *results[5] = {NULL};
    mp_pool *pool;

    if (mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 2, .max_processes = 3,
                                           .grace_ms = 5)) != 0)
        abort();
    if (call->busy)
        keep_busy(pool, results);
    stepkill_begin();
    call->run(pool, results);
    stepkill_end();
}

static void prepare_submit(void *arg)
{
    (void)arg;
    memset(ledger, 0, sizeof *ledger);
}

static void note_family(void *arg, pid_t pid)
{
    (void)arg;
    family.count = descendants(pid, family.pids, 32);
}

static int check_submit(void *arg)
{
    (void)arg;
    return ledger->started[1] <= 1 ? STEPKILL_RIGHT : STEPKILL_WRONG;
}

static void count_survivors(void *arg)
{
    (void)arg;
    family.survived += survivors(family.pids, family.count, 500) > 0;
    reap_all(2000);
}

static void run_call(const struct call *call)
{
    leak_ignore_arena();
    family.survived = 0;
    struct stepkill_counts counts =
        stepkill_run(&(struct stepkill_case){.name = call->name,
                                             .arg = (void *)call,
                                             .prepare = prepare_submit,
                                             .victim = call_victim,
                                             .paused = note_family,
                                             .check = check_submit,
                                             .clean = count_survivors,
                                             .check_ms = 2000,
                                             .limit = stepkill_limit(call->limit)});
    assert_true(counts.points > 10);
    assert_true(family.count >= 3);
    assert_int_equal(counts.stuck, 0);
    assert_int_equal(counts.wrong, 0);
    assert_int_equal(family.survived, 0);
}

static void test_client(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"client: apply_async", call_apply_async, false, 30},
        {"client: map_async", call_map_async, false, 16},
        {"client: cancels what runs", call_cancel_running, true, 16},
        {"client: cancels what is queued", call_cancel_queued, true, 16},
        {"client: cancels a map", call_cancel_map, true, 16},
        {"client: resize", call_resize, true, 16},
        {"client: close", call_close, true, 16},
        {"client: terminate", call_terminate, true, 16},
    };

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        run_call(&calls[i]);
}

int main(void)
{
    static const struct CMUnitTest step_pool[] = {
        TEST(test_worker),
        TEST(test_worker_failing),
        TEST(test_worker_single),
        TEST(test_worker_retried),
        TEST(test_worker_worn),
        TEST(test_worker_surplus),
        TEST(test_worker_idle),
        TEST(test_worker_cancelled),
        TEST(test_supervisor_replaces),
        TEST(test_supervisor_cancels),
        TEST(test_supervisor_limits),
        TEST(test_supervisor_stands_by),
        TEST(test_supervisor_grows),
        TEST(test_supervisor_shrinks),
        TEST(test_supervisor_idle),
        TEST(test_supervisor_calls_back),
        TEST(test_supervisor_closes),
        TEST(test_supervisor_terminates),
        TEST(test_supervisor_starts),
        TEST(test_client),
    };

    if (!stepkill_allowed())
        return SKIPPED;
    ledger = shared_page(sizeof *ledger);
    stage = shared_page(sizeof *stage);
    seats = ledger_new(SEATS + 1);
    return TEST_MAIN(step_pool);
}
