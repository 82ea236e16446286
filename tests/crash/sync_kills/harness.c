/* SPDX-License-Identifier: MIT */
/* harness.c - the ledger, the strikes and the gate: harness.h has the picture. */
#include "crash/sync_kills/harness.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/member.h"
#include "sync/park.h"

#define STUCK_MS     2000
#define RECOVERY_MS  100
#define DYING_MS     50 /* more only where processors are short */
#define MOST_AT_ONCE 3

struct ledger *ledger;
struct seat *my_seat;
uint32_t self;
unsigned long kills_wanted;
int time_limit_ms;
uint64_t seed;

static uint64_t dice;
static const struct scene *scene;
static bool was_starved; /* the test has not always run when it wanted to */

/* --- what workers and the test say ------------------------------------------------ */

void wrong(const char *what, int error)
{
    const char *nothing = NULL;

    if (atomic_compare_exchange_strong(&ledger->wrong, &nothing, what))
        ledger->wrong_error = error;
    if (self)
        _exit(1);
}

void expect(int error, int expected, const char *what)
{
    if (error != expected)
        wrong(what, error);
}

unsigned roll(unsigned sides)
{
    return (unsigned)(next_random(&dice) >> 33) % sides;
}

bool is_doomed(uint32_t person)
{
    return ledger->fate[person] & DOOMED;
}

void enter(enum phase phase)
{
    atomic_fetch_add(&my_seat->moves, 1);
    atomic_store(&my_seat->phase, (int)phase);
}

/*
 * A seat is given up in the opposite order (see seat_somebody), so that nobody is
 * blamed for what somebody before has left.
 */
static unsigned count_once(enum phase phase)
{
    unsigned count = 0;

    for (unsigned i = 0; i < ledger->seats_count; i++) {
        uint32_t person = ledger->seats[i].person;
        if (ledger->seats[i].phase == (int)phase && !is_doomed(person))
            count++;
    }
    return count;
}

static uint64_t count_moves(void)
{
    uint64_t moves = 0;

    for (unsigned i = 0; i < ledger->seats_count; i++)
        moves += ledger->seats[i].moves;
    return moves;
}

/* Who is looked at first may have made place for who is looked at last: it counts only
   if nobody has moved meanwhile. */
unsigned count_phase(enum phase phase)
{
    for (;;) {
        uint64_t moves = count_moves();
        unsigned count = count_once(phase);
        if (count_moves() == moves)
            return count;
    }
}

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void spin_ns(int64_t time)
{
    const int64_t most = 5000000;
    int64_t before = now_ns(), end = before + time;

    for (int64_t now = before; now < end; before = now) {
        now = now_ns();
        was_starved = was_starved || now - before > most;
    }
}

void dwell(void)
{
    unsigned side = roll(16);

    if (side == 0)
        sched_yield();
    else if (side < 8)
        spin_ns(roll(2000));
}

int some_timeout(void)
{
    unsigned side = roll(12);
    return side == 0 ? MP_NOWAIT : side == 1 ? 1 : MP_FOREVER;
}

bool has_got(int error, int timeout)
{
    if (error == ETIMEDOUT && timeout != MP_FOREVER)
        return false;
    if (error && error != EOWNERDEAD)
        wrong("acquire", error);
    return true;
}

void claim(int error)
{
    uint32_t before = atomic_load_explicit(&ledger->holder, memory_order_relaxed);

    if (before && !error)
        wrong("two hold it, or a death was not told", (int)before);
    if (before && !is_doomed(before))
        wrong("taken from one who lives", (int)before);
    atomic_store_explicit(&ledger->holder, self, memory_order_relaxed);
    if (before && atomic_fetch_or(&ledger->fate[before], TOLD) & TOLD)
        wrong("a death was told twice", (int)before);
    if (error)
        atomic_fetch_add(&ledger->told, 1);
}

void disclaim(void)
{
    if (atomic_load_explicit(&ledger->holder, memory_order_relaxed) != self)
        wrong("somebody else has come in", 0);
    atomic_store_explicit(&ledger->holder, 0, memory_order_relaxed);
}

void claim_in_peace(int error)
{
    if (error && error != EOWNERDEAD)
        wrong("acquire in peace", error);
    else
        claim(error);
}

/* --- how long the others are held up by a death ----------------------------------- */

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void tell_times(const char *what, int64_t *times, size_t count)
{
    if (count == 0)
        return;
    qsort(times, count, sizeof *times, compare_times);
    fprintf(stderr,
            "%s: %zu recoveries, median %lld us, 99.9th percentile %lld us, at most "
            "%lld us\n",
            what, count, (long long)times[count / 2] / 1000,
            (long long)times[(count * 999 - 1) / 1000] / 1000,
            (long long)times[count - 1] / 1000);
}

/* By the test, after somebody has died, who was killed at `since`: of several deaths
   the first one counts.  When exactly it was nobody knows, but not before that. */
static void await_recovery(int64_t since, bool unburied)
{
    int64_t nothing = 0;

    if (unburied)
        ledger->death_is_unburied = true;
    atomic_compare_exchange_strong(&ledger->death, &nothing, since);
}

/* By a worker that has completed a round. */
static void note_recovery(void)
{
    int64_t since = ledger->death;

    if (since == 0 || !atomic_compare_exchange_strong(&ledger->death, &since, 0))
        return;
    bool unburied = atomic_exchange(&ledger->death_is_unburied, false);
    struct recoveries *kind = unburied ? &ledger->noticed : &ledger->buried;
    kind->times[atomic_fetch_add(&kind->count, 1)] = now_ns() - since;
}

/* Nobody is at work: take out what says more about the machine than about libmp, and
   what was not written because the writer was killed. */
static void settle(struct recoveries *kind)
{
    int64_t limit = scaled(RECOVERY_MS) * INT64_C(1000000);
    uint32_t count = kind->count, kept = kind->settled;

    for (uint32_t i = kept; i < count; i++)
        if (was_starved && kind->times[i] > limit)
            ledger->excused++;
        else if (kind->times[i] != 0)
            kind->times[kept++] = kind->times[i];
    kind->count = kind->settled = kept;
}

/* The 99.9th percentile is in time, but for a few that a busy machine has made late. */
static void expect_quick(const struct recoveries *kind)
{
    int64_t limit = scaled(RECOVERY_MS) * INT64_C(1000000);
    uint32_t late = 0;

    for (uint32_t i = 0; i < kind->count; i++)
        late += kind->times[i] > limit;
    if (late > 3 + kind->count / 1000)
        wrong("so many deaths have held the others up for too long", (int)late);
}

/* --- workers ---------------------------------------------------------------------- */

static int work(void *arg)
{
    /* With the test gone nobody would ever end it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    my_seat = arg;
    self = my_seat->person;
    dice = (seed + self) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    enter(OUT);
    for (;;) {
        uint32_t gate = ledger->gate;
        if (gate % 2 == 0) {
            mp__slice_factor = ledger->slice_factor;
            if (scene->round()) {
                atomic_fetch_add(&ledger->rounds, 1);
                note_recovery();
            }
            continue;
        }
        atomic_store(&my_seat->gate, gate);
        while (ledger->gate == gate)
            sched_yield();
    }
    return 0;
}

static void seat_somebody(struct seat *seat)
{
    seat->phase = FIRST;
    seat->gate = 0;
    seat->is_new = true;
    seat->person = ++ledger->persons;
    seat->pid = child_start(work, seat);
    if (seat->pid < 0)
        wrong("fork", errno);
}

/* A worker whose parent is a process of libmp is buried at once, any other by whoever
   notices. */
static void await_death(const struct seat *seat, bool is_buried)
{
    siginfo_t info;
    uint64_t member;

    waitid(P_PID, (id_t)seat->pid, &info, WEXITED | WNOWAIT);
    if (!is_buried)
        ledger->unburied++;
    else if ((member = mp__member_of_pid(seat->pid)) != 0)
        mp__member_bury(member);
}

static void replace(struct seat *seat)
{
    int status = 0;

    waitpid(seat->pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        wrong("a worker has ended by itself", status);
    ledger->killed[seat->phase]++;
    if (scene->died)
        scene->died(seat);
    seat_somebody(seat);
}

/* All are killed before the first is buried or replaced: who lives may inherit from one
   dead what that one was about to inherit from another. */
static void strike(struct seat **victims, unsigned count, bool are_buried)
{
    int64_t begin = now_ns();

    ledger->kills += count;
    for (unsigned i = 0; i < count; i++)
        kill(victims[i]->pid, SIGKILL);
    for (unsigned i = 0; i < count; i++)
        await_death(victims[i], are_buried);
    was_starved = was_starved || now_ns() - begin > DYING_MS * INT64_C(1000000);
    await_recovery(begin, !are_buried);
    for (unsigned i = 0; i < count; i++)
        replace(victims[i]);
}

static void doom(struct seat *seat)
{
    atomic_fetch_or(&ledger->fate[seat->person], DOOMED);
}

void strike_one(struct seat *seat, int64_t after_ns)
{
    spin_ns(after_ns);
    doom(seat);
    strike(&seat, 1, ledger->are_buried || roll(2));
}

/* Wait, and kill some, but not more than `most`: returns how many.  Few of those who
   have not begun yet, as there is little in a fork that libmp could do wrong. */
static unsigned strike_some(unsigned most, bool are_buried)
{
    struct seat *victims[MOST_AT_ONCE];
    unsigned wanted = 1 + roll(MOST_AT_ONCE), count = 0;

    spin_ns(roll(roll(20) ? 200000 : 2000000));
    while (count < wanted && count < most) {
        struct seat *seat = &ledger->seats[roll(ledger->seats_count)];
        if (is_doomed(seat->person) || (seat->phase == FIRST && roll(8)))
            continue;
        doom(seat);
        victims[count++] = seat;
    }
    strike(victims, count, are_buried);
    return count;
}

/* --- the gate --------------------------------------------------------------------- */

bool rest(int64_t *waited)
{
    int64_t begin = now_ns(), most = 5000000;

    nanosleep(&(struct timespec){.tv_nsec = 30000}, NULL);
    int64_t time = now_ns() - begin;
    was_starved = was_starved || time > most;
    *waited += time < most ? time : most;
    return *waited < scaled(STUCK_MS) * INT64_C(1000000);
}

struct patience {
    int64_t waited;
    unsigned extensions;
};

static bool all_have_come(void)
{
    for (unsigned i = 0; i < ledger->seats_count; i++)
        if (ledger->seats[i].gate != ledger->gate)
            return false;
    return true;
}

/* Whoever has not come to the gate is known to wait, or is about to. */
static bool all_are_settled(void)
{
    for (unsigned i = 0; i < ledger->seats_count; i++)
        if (ledger->seats[i].gate != ledger->gate && ledger->seats[i].phase != WAITING)
            return false;
    return true;
}

/*
 * Rest, and see whether that has been too long.  Who could run but has no processor is
 * not stuck, but nobody has ten times as much patience.
 */
static void rest_for(struct patience *patience, const char *what)
{
    if (rest(&patience->waited))
        return;
    patience->waited = 0;
    for (unsigned i = 0; i < ledger->seats_count && patience->extensions < 10; i++)
        if (ledger->seats[i].gate != ledger->gate &&
            process_state(ledger->seats[i].pid) == 'R') {
            patience->extensions++;
            was_starved = true;
            return;
        }
    wrong(what, (int)patience->extensions);
}

/* Undisturbed, they must get on: that many rounds in two seconds. */
static void await_rounds(uint64_t count)
{
    uint64_t wanted = ledger->rounds + count;
    struct patience patience = {0};

    while (ledger->rounds < wanted && !ledger->wrong)
        rest_for(&patience, "stuck: no progress");
}

static void close_gate(void)
{
    struct patience patience = {0};

    atomic_fetch_add(&ledger->gate, 1);
    ledger->calls = 0;
    while (!all_have_come() && !ledger->wrong) {
        if (scene->release)
            scene->release(all_are_settled());
        rest_for(&patience, "stuck: somebody does not come");
    }
}

/*
 * A wake that nobody gives is made up for by the sleeper, who looks around after 50 ms.
 * So a cycle that takes as long lacks one, if no death had to be noticed first.
 */
static void judge(int64_t time)
{
    if (was_starved || ledger->unburied)
        return;
    ledger->judged++;
    if (time > 40)
        ledger->slow++;
}

/* A busy machine makes a few cycles slow. */
static void expect_few_slow_cycles(void)
{
    if (ledger->slow > 1 + ledger->judged / 4)
        wrong("wakes must have been lost: so many cycles were slow", (int)ledger->slow);
}

/* Kill that many, unless the object would be unusable before. */
static void strike_again_and_again(unsigned kills)
{
    for (unsigned done = 0; done < kills && !ledger->wrong;) {
        unsigned most = kills - done;
        if (scene->may_die && scene->may_die() < most)
            most = scene->may_die();
        if (most == 0)
            break;
        done += strike_some(most, ledger->are_buried || roll(2));
    }
}

/*
 * While nobody is at work: what the next cycle is like.  In every eighth one libmp has
 * to notice about half of the deaths by itself.  In half of the others sleepers do not
 * look around for hours: whoever is not woken hangs.
 */
static void choose_cycle(void)
{
    ledger->are_buried = roll(8) != 0;
    ledger->slice_factor = ledger->are_buried && roll(2) ? 1000000 : 1;
}

static void run_cycle(unsigned kills)
{
    ledger->unburied = 0;
    was_starved = false;
    strike_again_and_again(kills);
    int64_t begin = now_ms();
    if (scene->may_rest)
        spin_ns(roll(1000000));
    else
        await_rounds(2 * ledger->seats_count);
    close_gate();
    judge(now_ms() - begin);
    if (ledger->wrong)
        return;
    settle(&ledger->buried);
    settle(&ledger->noticed);
    scene->look();
    if (ledger->told > ledger->kills)
        wrong("more deaths were told than there were", (int)ledger->told);
    choose_cycle();
    atomic_fetch_add(&ledger->gate, 1);
}

/* --- a run ------------------------------------------------------------------------ */

static void start(const struct scene *chosen, unsigned workers)
{
    /* What was never written to stays without memory. */
    ledger = shared_page(sizeof *ledger);
    scene = chosen;
    ledger->seats_count = workers;
    dice = seed;
    choose_cycle();
    scene->open(workers);
    for (unsigned i = 0; i < workers; i++)
        seat_somebody(&ledger->seats[i]);
}

static void tell_what_is_wrong(void)
{
    fprintf(stderr, "%s, seed %llu, after %lu kills: %s (%d)\n", scene->name,
            (unsigned long long)seed, ledger->kills, ledger->wrong,
            ledger->wrong_error);
    for (unsigned i = 0; i < ledger->seats_count; i++)
        fprintf(stderr, "  worker %u, pid %d: phase %d, state %c, gate %u of %u\n",
                ledger->seats[i].person, (int)ledger->seats[i].pid,
                ledger->seats[i].phase, process_state(ledger->seats[i].pid),
                ledger->seats[i].gate, ledger->gate);
}

static void end(void)
{
    bool failed = ledger->wrong != NULL;

    if (failed)
        tell_what_is_wrong();
    for (unsigned i = 0; i < ledger->seats_count; i++) {
        kill(ledger->seats[i].pid, SIGKILL);
        waitpid(ledger->seats[i].pid, NULL, 0);
    }
    mp__member_watch();
    scene->close();
    shared_page_free(ledger, sizeof *ledger);
    assert_false(failed);
}

static bool has_killed_enough(int64_t begin)
{
    return ledger->kills >= kills_wanted || ledger->persons >= PERSONS - MANY ||
           (time_limit_ms && now_ms() - begin > time_limit_ms);
}

static void tell(int64_t time)
{
    static const char *const names[PHASES] = {"first",   "out",     "asking", "inside",
                                              "leaving", "reading", "waiting"};

    fprintf(stderr,
            "%s: %lu kills in %lld ms, %u told, %llu rounds, %lu of %lu cycles slow, "
            "%lu late recoveries excused\n  killed:",
            scene->name, ledger->kills, (long long)time, ledger->told,
            (unsigned long long)ledger->rounds, ledger->slow, ledger->judged,
            ledger->excused);
    for (unsigned i = 0; i < PHASES; i++)
        if (ledger->killed[i])
            fprintf(stderr, " %s %.1f%%", names[i],
                    100.0 * (double)ledger->killed[i] / (double)ledger->kills);
    fprintf(stderr, "\n");
    tell_times("  buried by the parent", ledger->buried.times, ledger->buried.count);
    tell_times("  noticed by libmp", ledger->noticed.times, ledger->noticed.count);
}

void run_with_kills(const struct scene *chosen)
{
    int64_t begin = now_ms();

    start(chosen, WORKERS);
    while (!ledger->wrong && !has_killed_enough(begin))
        run_cycle(1 + roll(scene->burst));
    tell(now_ms() - begin);
    expect_few_slow_cycles();
    expect_quick(&ledger->buried);
    expect_quick(&ledger->noticed);
    end();
}

void run_in_peace(const struct scene *chosen)
{
    start(chosen, MANY);
    for (int i = 0; i < 5 && !ledger->wrong; i++)
        run_cycle(0);
    if (ledger->told)
        wrong("a death was told that never was", (int)ledger->told);
    end();
}
