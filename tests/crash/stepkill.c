/* SPDX-License-Identifier: MIT */
#include "stepkill.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child_guard.h"

/* A system call that has slept for that long is taken to block. */
#define BLOCKED_MS 60

/* A check that is late may have had no processor.  It is stuck if it takes that many
   times longer; the first one, for then the verdict is clear. */
#define PATIENCE 10

/* Steps that a case with a limit may take in all, or it would take minutes. */
#define STEPS_BUDGET 400000u

/* The length of an operation that waits for others differs: runs in a row that end it.
 */
#define ENDS_NEEDED 3

static void on_tick(int signal_number)
{
    (void)signal_number;
}

/* waitpid has no timeout: a timer that goes on ticking interrupts it sooner or later.
 */
static void set_ticking(bool on)
{
    static pid_t ticking; /* in which process; a child has no timer */
    struct itimerval timer = {{0, on ? 10000 : 0}, {0, on ? 10000 : 0}};
    struct sigaction action = {.sa_handler = on ? on_tick : SIG_DFL};

    if ((ticking == getpid()) == on)
        return;
    ticking = on ? getpid() : 0;
    if (on)
        sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    if (!on)
        sigaction(SIGALRM, &action, NULL);
}

static void continue_tracee(pid_t pid, int signal_number)
{
    ptrace(PTRACE_CONT, pid, NULL, (void *)(long)signal_number);
}

/* A trap that the program itself set off, and not the processor's for a step. */
static bool is_mark(pid_t pid)
{
    siginfo_t info;

    if (ptrace(PTRACE_GETSIGINFO, pid, NULL, &info) != 0)
        return false;
    return info.si_code == SI_KERNEL || info.si_code <= 0;
}

enum stepkill_stop stepkill_wait(pid_t pid, int timeout_ms)
{
    int64_t end = 0;

    for (;;) {
        int status;
        pid_t stopped = waitpid(pid, &status, __WALL);
        if (stopped < 0 && errno == EINTR) {
            int64_t now = now_ms();
            if (end == 0)
                end = now + timeout_ms;
            else if (now > end && process_state(pid) == 'S')
                return STEP_BLOCKED;
            continue;
        }
        if (stopped < 0 || !WIFSTOPPED(status))
            return STEP_ENDED;
        if (WSTOPSIG(status) == SIGTRAP && status >> 16 == 0)
            return is_mark(pid) ? STEP_MARK : STEP_DONE;
        /* Any other signal is the victim's own business. */
        bool event = status >> 16 != 0 || WSTOPSIG(status) == SIGSTOP;
        long signal_number = event ? 0 : WSTOPSIG(status);
        ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)signal_number);
    }
}

/*
 * Tracer and tracee run in turn: on one processor a step takes a fifth of the time that
 * it takes on two.  Only these two; those whom the victim works with stay where they
 * are.
 */
static cpu_set_t everywhere;
static bool together;

static void move_together(pid_t pid)
{
    cpu_set_t here;
    int cpu = sched_getcpu();

    set_ticking(true);
    if (cpu < 0 || together ||
        sched_getaffinity(0, sizeof everywhere, &everywhere) != 0)
        return;
    CPU_ZERO(&here);
    CPU_SET((size_t)cpu, &here);
    sched_setaffinity(pid, sizeof here, &here);
    together = sched_setaffinity(0, sizeof here, &here) == 0;
}

static void move_apart(void)
{
    set_ticking(false);
    if (together)
        sched_setaffinity(0, sizeof everywhere, &everywhere);
    together = false;
}

bool stepkill_seize(pid_t pid)
{
    if (ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) != 0)
        return false;
    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
    pid_t stopped;
    while ((stopped = waitpid(pid, NULL, __WALL)) < 0 && errno == EINTR)
        continue;
    move_together(pid);
    return stopped == pid;
}

void stepkill_kill(pid_t pid)
{
    move_apart();
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        continue;
}

void stepkill_let_go(pid_t pid)
{
    if (together)
        sched_setaffinity(pid, sizeof everywhere, &everywhere);
    move_apart();
    ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

enum stepkill_stop stepkill_step(pid_t pid)
{
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
        return STEP_ENDED;
    return stepkill_wait(pid, BLOCKED_MS);
}

static int victim_body(void *arg)
{
    const struct stepkill_case *c = arg;

    signal(SIGTRAP, SIG_DFL);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        return 1;
    raise(SIGSTOP);
    c->victim(c->arg);
    return 0;
}

/* Fork a victim and bring it to its mark: false if it gets nowhere. */
static bool start_victim(const struct stepkill_case *c, pid_t *pid)
{
    int status;

    if (c->prepare)
        c->prepare(c->arg);
    *pid = child_start(victim_body, (void *)c);
    if (waitpid(*pid, &status, __WALL) != *pid || !WIFSTOPPED(status))
        return false;
    ptrace(PTRACE_SETOPTIONS, *pid, NULL, (void *)PTRACE_O_EXITKILL);
    continue_tracee(*pid, 0);
    for (;;) {
        if (waitpid(*pid, &status, __WALL) != *pid || !WIFSTOPPED(status))
            return false;
        if (WSTOPSIG(status) == SIGTRAP)
            break;
        continue_tracee(*pid, WSTOPSIG(status));
    }
    if (c->paused)
        c->paused(c->arg, *pid);
    return true;
}

static void kill_victim(const struct stepkill_case *c, pid_t pid)
{
    siginfo_t info;

    kill(pid, SIGKILL);
    /* Its pid must not be reused before those who bury it have done so. */
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | __WALL) < 0 &&
           errno == EINTR)
        continue;
    if (c->died)
        c->died(c->arg, pid);
    while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
        continue;
}

/* One step; one that blocks is unblocked, but for the last one: its kill is in the
 * call. */
static enum stepkill_stop step_once(const struct stepkill_case *c, pid_t pid, bool last,
                                    bool *unblocked)
{
    enum stepkill_stop stop = stepkill_step(pid);

    if (stop != STEP_BLOCKED || last)
        return stop;
    if (!c->unblock || *unblocked)
        return STEP_ENDED; /* nothing will move it */
    *unblocked = true;
    c->unblock(c->arg);
    return stepkill_wait(pid, 2000);
}

/* Step `steps` times; `*reached` is how far it came.  True if the operation is over. */
static bool step_victim(const struct stepkill_case *c, pid_t pid, unsigned steps,
                        unsigned *reached)
{
    bool unblocked = false;

    for (*reached = 0; *reached < steps; ++*reached) {
        enum stepkill_stop stop = step_once(c, pid, *reached + 1 == steps, &unblocked);
        if (stop != STEP_DONE)
            return stop != STEP_BLOCKED;
    }
    return false;
}

static int check_body(void *arg)
{
    const struct stepkill_case *c = arg;
    return c->check(c->arg);
}

/* One victim, killed after `steps` steps.  False if it did not even begin. */
static bool kill_at(const struct stepkill_case *c, unsigned steps, unsigned *reached,
                    bool *over)
{
    pid_t pid;

    if (!start_victim(c, &pid)) {
        fprintf(stderr, "%s: the victim does not reach its begin\n", c->name);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
        return false;
    }
    move_together(pid);
    *over = step_victim(c, pid, steps, reached);
    move_apart();
    kill_victim(c, pid);
    return true;
}

static void check_point(const struct stepkill_case *c, unsigned point,
                        struct stepkill_counts *counts)
{
    int patience = counts->stuck ? 1 : PATIENCE;
    int64_t due = now_ms() + scaled(c->check_ms);
    int verdict =
        child_wait(child_start(check_body, (void *)c), c->check_ms * patience);

    counts->points++;
    if (verdict != CHILD_STUCK && now_ms() > due)
        counts->late++;
    if (verdict == STEPKILL_RIGHT)
        return;
    if (counts->stuck + counts->wrong == 0)
        counts->first_bad = point;
    if (verdict == CHILD_STUCK)
        counts->stuck++;
    else
        counts->wrong++;
}

/* A run to the end, unchecked, tells how long the operation is: the second one, for the
   first finds nothing prepared. */
static unsigned measure(const struct stepkill_case *c)
{
    unsigned reached = 0;

    for (int i = 0; i < 2; i++) {
        bool over;
        kill_at(c, 1u << 24, &reached, &over);
        if (c->clean)
            c->clean(c->arg);
    }
    return reached;
}

/* From point to point, so that neither their number nor all their steps are too many.
 */
static unsigned stride_for(const struct stepkill_case *c, unsigned length)
{
    if (!c->limit)
        return 1;
    unsigned by_steps =
        (unsigned)((unsigned long)length * length / 2 / STEPS_BUDGET) + 1;
    unsigned by_points = length / c->limit + 1;
    return by_steps > by_points ? by_steps : by_points;
}

/* Go from point to point until the operation is over.  False if it cannot begin. */
static bool go_through(const struct stepkill_case *c, unsigned stride,
                       struct stepkill_counts *counts)
{
    unsigned reached = 0, passed = 0, total = 0;
    int ends = 0;

    for (unsigned steps = 0; ends < ENDS_NEEDED; steps += stride) {
        bool over;
        if (!kill_at(c, steps, &reached, &over))
            return false;
        ends = over ? ends + 1 : 0;
        check_point(c, reached, counts);
        if (c->clean)
            c->clean(c->arg);
        if (reached > counts->steps)
            counts->steps = reached;
        /* Longer than it was when it was measured: stay near the limit all the same. */
        total += reached;
        if (c->limit && (++passed >= c->limit || total >= STEPS_BUDGET)) {
            stride *= 2;
            passed = total = 0;
        }
    }
    return true;
}

struct stepkill_counts stepkill_run(const struct stepkill_case *c)
{
    struct stepkill_counts counts = {0};
    unsigned stride = stride_for(c, c->limit ? measure(c) : 0);

    bool began = go_through(c, stride, &counts);
    /* Shorter than it was when it was measured: once more, with shorter strides. */
    if (began && stride_for(c, counts.steps) * 4 < stride)
        began = go_through(c, stride_for(c, counts.steps), &counts);
    counts.wrong += !began;
    fprintf(stderr, "%-32s %5u steps, %5u points, %4u stuck, %4u wrong", c->name,
            counts.steps, counts.points, counts.stuck, counts.wrong);
    if (counts.stuck || counts.wrong)
        fprintf(stderr, ", first at %u", counts.first_bad);
    if (counts.late)
        fprintf(stderr, ", %u late", counts.late);
    fputc('\n', stderr);
    return counts;
}

unsigned stepkill_limit(unsigned ordinary)
{
    const char *text = getenv("MP_TEST_NIGHTLY");
    return text && *text == '1' ? 0 : ordinary;
}

static int try_trace(void *arg)
{
    (void)arg;
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : errno;
}

bool stepkill_allowed(void)
{
    int err = child_run(try_trace, NULL);

    if (err)
        fprintf(stderr,
                "SKIPPED, AND NOTHING WAS TESTED: this system does not let a process "
                "trace its child (ptrace: %s)\n",
                strerror(err));
    return err == 0;
}
