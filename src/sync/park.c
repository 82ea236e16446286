/* SPDX-License-Identifier: MIT */
/*
 * park.c - where processes sleep, and who of them keeps watch.
 *
 * A sleeper has a record in the arena that says on which word it sleeps, so that those
 * who bury a dead member can wake everybody, whatever it is that they wait for.  On
 * Linux the sleep itself is a futex on the word, and a wake needs no record; elsewhere
 * each record has a semaphore, and a wake posts those whose records name the word.
 *
 * Nobody may notice a death if everybody sleeps.  So one sleeper of the family is its
 * sentry: it gets up every 25 ms and looks at all members.  The others sleep on for
 * seconds.  A first slice of 50 ms comes before either, and most waits end in it.
 *
 * While all who sleep long idle, as workers without work do, a sentry that idles too looks
 * ten times less often, and says so.  Who finds such a one and does not idle keeps watch
 * for itself meanwhile.
 *
 * A sentry hands over when it leaves.  If it is killed or stopped, its last look grows
 * old, and whoever ends a slice next takes its place.
 */
#include "sync/park.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread_local.h"
#include "mp/context.h"
#include "shm/arena.h"
#include "shm/member.h"

#if defined(__linux__) && !defined(MP_PORTABLE)
#define HAVE_FUTEX 1
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <semaphore.h>
#endif

#define FIRST_SLICE (50 * MP__MILLISECOND)
#define WATCH_SLICE (25 * MP__MILLISECOND)
#define LAZY_WATCH_SLICE (250 * MP__MILLISECOND) /* well below SENTRY_STALE */
#define BLIND_SLICE (10 * MP__MILLISECOND) /* of those for whom there is no record */
#define SHORTEST_LONG_SLICE (256 * MP__MILLISECOND)
#define SHORTEST_IDLE_SLICE (1024 * MP__MILLISECOND)
#define LONGEST_LONG_SLICE (65536 * MP__MILLISECOND)
#define SLICE_SHARE (64 * MP__MILLISECOND)
#define SENTRY_STALE (500 * MP__MILLISECOND)

int64_t mp__slice_factor = 1;

/* In shared memory. */
struct mp__sleeper {
    _Alignas(MP__SLEEPER_SIZE) _Atomic uint64_t owner; /* whose thread sleeps, or 0 */
    _Atomic uintptr_t address;                         /* of the word, or 0 */
    _Atomic uint32_t lingers; /* in a long slice: could take over as the sentry */
    _Atomic uint32_t idles;   /* in that, and may learn of a death a little later */
#ifndef HAVE_FUTEX
    _Atomic uint32_t ready; /* `wake` is initialised, once for all owners */
    sem_t wake;
#endif
};

_Static_assert(sizeof(struct mp__sleeper) == MP__SLEEPER_SIZE, "as arena.h has it");

/* One sleep, as the floor below sees it: the word and what keeps the sleeper asleep. */
struct spot {
    const _Atomic uint32_t *word;
    uint32_t value;
    uint64_t owner; /* who is waited for */
    struct mp__sleeper *sleeper;
};

static bool word_changed(const struct spot *spot)
{
    return atomic_load_explicit(spot->word, memory_order_seq_cst) != spot->value;
}

static bool owner_died(const struct spot *spot)
{
    return spot->owner && spot->owner != mp__self && mp__member_is_dead(spot->owner);
}

static struct timespec as_timespec(int64_t time)
{
    const int64_t second = 1000 * MP__MILLISECOND;

    return (struct timespec){.tv_sec = (time_t)(time / second),
                             .tv_nsec = (long)(time % second)};
}

#ifdef HAVE_FUTEX

/* As in linux/futex.h, which not every C library's headers come with. */
#define FUTEX_WAKE 1
#define FUTEX_WAIT_BITSET 9
#define FUTEX_BITSET_MATCH_ANY 0xffffffffU

#define WOKEN_KEPT 256 /* words that one call of mp__unpark_all remembers, 2 KiB */

/* The system call takes longs for both, whatever the C library's time_t is. */
struct futex_time {
    long seconds;
    long nanoseconds;
};

/* 0 if woken, or if there was no reason to sleep; ETIMEDOUT at `until`. */
static int futex_wait(const struct spot *spot, int64_t until)
{
    const struct timespec time = as_timespec(until);
    const struct futex_time limit = {(long)time.tv_sec, time.tv_nsec};

    if (!syscall(SYS_futex, spot->word, FUTEX_WAIT_BITSET, spot->value, &limit, NULL,
                 FUTEX_BITSET_MATCH_ANY))
        return 0;
    return errno == ETIMEDOUT ? ETIMEDOUT : 0;
}

static int futex_wake(const _Atomic uint32_t *word, int count)
{
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count);

    errno = saved;
    return woken > 0 ? (int)woken : 0;
}

/* Since Linux 5.16; older headers have neither the number nor the structs. */
#ifdef __alpha__
#define NUMBER_FUTEX_WAITV 559
#else
#define NUMBER_FUTEX_WAITV 449
#endif

struct waitv_entry {
    uint64_t value;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

struct waitv_time {
    int64_t seconds;
    long long nanoseconds;
};

static struct waitv_entry waitv_entry_of(const _Atomic uint32_t *word, uint32_t value)
{
    const uint32_t size_of_32_bits = 2;

    return (struct waitv_entry){value, (uintptr_t)word, size_of_32_bits, 0};
}

/*
 * futex_wait, which the kernel also refuses if a member died, or the sentry went, since
 * `deaths` and `sentry` were read: a wake that comes between the caller's last look and
 * its sleep would else be lost for a long slice.  ENOSYS where there is no such call.
 */
static int futex_wait_wary(const struct spot *spot, uint32_t deaths, uint64_t sentry,
                           int64_t until)
{
    const struct waitv_entry entries[3] = {
        waitv_entry_of(spot->word, spot->value),
        waitv_entry_of(&mp__arena->deaths, deaths),
        waitv_entry_of(mp__low_half(&mp__arena->sentry), (uint32_t)sentry),
    };
    const struct timespec time = as_timespec(until);
    const struct waitv_time limit = {time.tv_sec, time.tv_nsec};

    if (syscall(NUMBER_FUTEX_WAITV, entries, 3, 0, &limit, CLOCK_MONOTONIC) >= 0)
        return 0;
    if (errno == ETIMEDOUT)
        return ETIMEDOUT;
    return errno == EAGAIN || errno == EINTR ? 0 : ENOSYS;
}

static int nap(const struct spot *spot, int64_t until)
{
    return futex_wait(spot, until);
}

static int long_nap(const struct spot *spot, uint32_t deaths, uint64_t sentry,
                    int64_t until)
{
    int err = futex_wait_wary(spot, deaths, sentry, until);

    return err == ENOSYS ? futex_wait(spot, until) : err;
}

static void sleeper_wake(struct mp__sleeper *sleeper)
{
    uintptr_t address = atomic_load_explicit(&sleeper->address, memory_order_seq_cst);

    /* A word that was freed since then has other waiters or none: no harm is done. */
    if (address)
        futex_wake((const _Atomic uint32_t *)address, 1);
}

/*
 * One wake for each word, and not for each sleeper: those who sleep again on a word
 * that many share would be woken over and over.
 */
static void sleepers_wake(uint32_t used)
{
    uintptr_t woken[WOKEN_KEPT] = {0};

    for (uint32_t i = 0; i < used; i++) {
        uintptr_t address = atomic_load(&mp__arena->sleepers[i].address);
        uintptr_t *kept = &woken[address / MP__CACHE_LINE % WOKEN_KEPT];
        if (!address || *kept == address)
            continue;
        *kept = address;
        futex_wake((const _Atomic uint32_t *)address, INT32_MAX);
    }
}

static void sleeper_prepare(struct mp__sleeper *sleeper)
{
    (void)sleeper;
}

int mp__unpark(const _Atomic uint32_t *word, int count)
{
    return futex_wake(word, count);
}

#else

#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 30)
#define HAVE_SEM_CLOCKWAIT 1
#endif
#elif _POSIX_VERSION >= 202405L
#define HAVE_SEM_CLOCKWAIT 1
#endif

static int sleeper_wait(struct mp__sleeper *sleeper, int64_t until)
{
#ifdef HAVE_SEM_CLOCKWAIT
    struct timespec limit = as_timespec(until);

    return sem_clockwait(&sleeper->wake, CLOCK_MONOTONIC, &limit) < 0 ? errno : 0;
#else
    /* A clock that is set back meanwhile prolongs this slice, not those after it. */
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t left = until - mp__now();
    struct timespec limit = as_timespec((left > 0 ? left : 0) + wall.tv_nsec);
    limit.tv_sec += wall.tv_sec;

    return sem_timedwait(&sleeper->wake, &limit) < 0 ? errno : 0;
#endif
}

/* 0 if woken, or if there was no reason to sleep; ETIMEDOUT at `until`. */
static int nap(const struct spot *spot, int64_t until)
{
    struct mp__sleeper *sleeper = spot->sleeper;

    /* Partner of mp__unpark: the record was written, now the word is read. */
    if (word_changed(spot))
        return 0;
    if (!sleeper) {
        struct timespec pause = as_timespec(BLIND_SLICE);
        nanosleep(&pause, NULL);
        return mp__now() >= until ? ETIMEDOUT : 0;
    }
    return sleeper_wait(sleeper, until) == ETIMEDOUT ? ETIMEDOUT : 0;
}

/* A post is kept until the sleeper comes, so nothing needs to be checked again. */
static int long_nap(const struct spot *spot, uint32_t deaths, uint64_t sentry,
                    int64_t until)
{
    (void)deaths;
    if (atomic_load_explicit(&mp__arena->sentry, memory_order_seq_cst) != sentry)
        return 0;
    return nap(spot, until);
}

static void sleeper_wake(struct mp__sleeper *sleeper)
{
    if (atomic_exchange_explicit(&sleeper->address, 0, memory_order_seq_cst))
        sem_post(&sleeper->wake);
}

static void sleepers_wake(uint32_t used)
{
    for (uint32_t i = 0; i < used; i++)
        if (atomic_load(&mp__arena->sleepers[i].address))
            sleeper_wake(&mp__arena->sleepers[i]);
}

/* Tokens that came after the last owner had left are thrown away. */
static void sleeper_prepare(struct mp__sleeper *sleeper)
{
    if (!atomic_load_explicit(&sleeper->ready, memory_order_acquire)) {
        sem_init(&sleeper->wake, 1, 0);
        atomic_store_explicit(&sleeper->ready, 1, memory_order_release);
    }
    while (!sem_trywait(&sleeper->wake))
        continue;
}

/*
 * Who is chosen loses its address in the same step, so that two wakes reach two
 * sleepers.  Partner of nap: the word was written, now the records are read.
 */
int mp__unpark(const _Atomic uint32_t *word, int count)
{
    if (!mp__arena)
        return 0;

    int saved = errno, woken = 0;
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t used = atomic_load(&mp__arena->sleepers_used);
    for (uint32_t i = 0; i < used && woken < count; i++) {
        struct mp__sleeper *sleeper = &mp__arena->sleepers[i];
        uintptr_t address = (uintptr_t)word;

        if (atomic_load_explicit(&sleeper->address, memory_order_seq_cst) == address &&
            atomic_compare_exchange_strong(&sleeper->address, &address, 0)) {
            sem_post(&sleeper->wake);
            woken++;
        }
    }
    errno = saved;
    return woken;
}

#endif

static bool sleeper_claim(uint32_t index, uint64_t old)
{
    _Atomic uint64_t *owner = &mp__arena->sleepers[index].owner;

    return atomic_load_explicit(owner, memory_order_relaxed) == old &&
           atomic_compare_exchange_strong_explicit(
               owner, &old, mp__self, memory_order_acquire, memory_order_relaxed);
}

/* Whether somebody chose this sleeper to be woken, and wakes nobody else for it. */
static bool sleeper_leave(struct mp__sleeper *sleeper)
{
    if (!sleeper)
        return false;

    uintptr_t address = atomic_exchange(&sleeper->address, 0);
    atomic_store_explicit(&sleeper->lingers, 0, memory_order_relaxed);
    atomic_store_explicit(&sleeper->idles, 0, memory_order_relaxed);
    atomic_store_explicit(&sleeper->owner, 0, memory_order_release);
    return !address;
}

/* Give free again what the dead slept in, if anyone died since `*seen` was counted. */
static void sleepers_of_dead(uint32_t *seen)
{
    uint32_t used = atomic_load(&mp__arena->sleepers_used);
    uint32_t deaths = atomic_load(&mp__arena->deaths);
    if (deaths == *seen)
        return;

    *seen = deaths;
    for (uint32_t i = 0; i < used; i++) {
        struct mp__sleeper *sleeper = &mp__arena->sleepers[i];
        uint64_t owner = atomic_load_explicit(&sleeper->owner, memory_order_relaxed);

        if (owner && owner != mp__self && mp__member_is_dead(owner) &&
            sleeper_claim(i, owner))
            sleeper_leave(sleeper);
    }
}

/* A free record among those that were used before, or MP__SLEEPERS_MAX. */
static uint32_t sleeper_claim_any(void)
{
    _Atomic uint32_t *high_water = &mp__arena->sleepers_used;

    for (;;) {
        uint32_t used = atomic_load(high_water);
        for (uint32_t i = 0; i < used; i++)
            if (sleeper_claim(i, 0))
                return i;
        if (used == MP__SLEEPERS_MAX)
            return used;

        /* Who is killed after this step leaves a record that anyone may claim. */
        if (atomic_compare_exchange_strong(high_water, &used, used + 1) &&
            sleeper_claim(used, 0))
            return used;
    }
}

/* A record for the calling thread: the one it had last time, if it can be had. */
static struct mp__sleeper *sleeper_take(void)
{
    static MP__THREAD_LOCAL uint32_t last = MP__SLEEPERS_MAX;
    static MP__THREAD_LOCAL uint32_t deaths_seen;

    if (last == MP__SLEEPERS_MAX || !sleeper_claim(last, 0)) {
        sleepers_of_dead(&deaths_seen);
        last = sleeper_claim_any();
    }
    if (last == MP__SLEEPERS_MAX)
        return NULL;

    struct mp__sleeper *sleeper = &mp__arena->sleepers[last];
    sleeper_prepare(sleeper);
    return sleeper;
}

static bool sentry_take(uint64_t *sentry)
{
    int64_t now = mp__now();

    *sentry = atomic_load_explicit(&mp__arena->sentry, memory_order_seq_cst);
    if (*sentry && now - atomic_load(&mp__arena->sentry_seen) < SENTRY_STALE &&
        !mp__member_is_dead(*sentry))
        return false;

    /* Of two who believe that they are the sentry, one watches for nothing. */
    if (!atomic_compare_exchange_strong(&mp__arena->sentry, sentry, mp__self))
        return false;
    atomic_store(&mp__arena->sentry_seen, now);
    return true;
}

/*
 * Wake one who could be the sentry.  Partner of park_long: the role was given up, now
 * the records are read; there the record is written, then the role is looked at.
 */
static void sentry_leave(void)
{
    uint64_t mine = mp__self;

    if (!atomic_compare_exchange_strong(&mp__arena->sentry, &mine, 0))
        return;

    uint32_t used = atomic_load(&mp__arena->sleepers_used);
    for (uint32_t i = 0; i < used; i++) {
        struct mp__sleeper *sleeper = &mp__arena->sleepers[i];
        if (!atomic_load_explicit(&sleeper->lingers, memory_order_seq_cst))
            continue;

        uint64_t owner = atomic_load_explicit(&sleeper->owner, memory_order_relaxed);
        if (owner && owner != mp__self && !mp__member_is_dead(owner)) {
            sleeper_wake(sleeper);
            return;
        }
    }
}

static bool death_concerns(const struct mp__sleep *sleep)
{
    return sleep->watches && sleep->deaths != atomic_load(&mp__arena->deaths);
}

static bool all_idle(void)
{
    uint32_t used = atomic_load(&mp__arena->sleepers_used);

    for (uint32_t i = 0; i < used; i++)
        if (atomic_load_explicit(&mp__arena->sleepers[i].lingers, memory_order_seq_cst) &&
            !atomic_load_explicit(&mp__arena->sleepers[i].idles, memory_order_relaxed))
            return false;
    return true;
}

/* How long the sentry sleeps.  Partner of park_long: first it says that it is lazy, then it
   looks who else is there. */
static int64_t watch_slice(const struct mp__sleep *sleep)
{
    bool lazy = sleep->idles && all_idle();

    atomic_store_explicit(&mp__arena->sentry_lazy, lazy, memory_order_seq_cst);
    if (lazy && !all_idle()) {
        lazy = false;
        atomic_store_explicit(&mp__arena->sentry_lazy, lazy, memory_order_relaxed);
    }
    return lazy ? LAZY_WATCH_SLICE : WATCH_SLICE;
}

/* Sleep and watch until there is something to look at. */
static int park_as_sentry(const struct spot *spot, const struct mp__sleep *sleep)
{
    uint32_t deaths_seen = atomic_load(&mp__arena->deaths) - 1;
    int64_t deadline = sleep->deadline;
    int err = 0;

    while (!word_changed(spot) && !owner_died(spot) && !death_concerns(sleep)) {
        int64_t now = mp__now();
        if (now >= deadline) {
            err = ETIMEDOUT;
            break;
        }
        int64_t slice = watch_slice(sleep);
        if (!nap(spot, deadline - now <= slice ? deadline : now + slice))
            break;
        mp__member_watch();
        sleepers_of_dead(&deaths_seen);
        atomic_store(&mp__arena->sentry_seen, mp__now());
    }
    sentry_leave();
    return err;
}

/* Sleep for as long as the sentry should have, and do its work. */
static int park_beside_lazy(const struct spot *spot, int64_t deadline)
{
    int64_t until = mp__now() + WATCH_SLICE;
    int err = nap(spot, until < deadline ? until : deadline);

    if (err == ETIMEDOUT)
        mp__member_watch();
    return err;
}

/* Sleep until `until`, after somebody else has been seen to keep watch. */
static int park_long(const struct spot *spot, const struct mp__sleep *sleep,
                     int64_t slice)
{
    uint64_t sentry;
    uint32_t deaths = atomic_load(&mp__arena->deaths);
    int64_t deadline = sleep->deadline;

    /* Deaths are counted after they can be seen: what is seen now was not counted. */
    if (owner_died(spot) || (sleep->watches && sleep->deaths != deaths))
        return 0;
    if (spot->sleeper) {
        atomic_store_explicit(&spot->sleeper->idles, sleep->idles, memory_order_relaxed);
        atomic_store_explicit(&spot->sleeper->lingers, 1, memory_order_seq_cst);
    }
    if (sentry_take(&sentry)) {
        if (spot->sleeper)
            atomic_store_explicit(&spot->sleeper->lingers, 0, memory_order_relaxed);
        return park_as_sentry(spot, sleep);
    }
    if (!sleep->idles &&
        atomic_load_explicit(&mp__arena->sentry_lazy, memory_order_seq_cst))
        return park_beside_lazy(spot, deadline);
    return long_nap(spot, deaths, sentry, slice < deadline ? slice : deadline);
}

/*
 * The more sleepers, the longer: somebody gets up every SLICE_SHARE or so, which is how
 * soon the loss of the sentry is noticed.  Slots make slices end at different times.
 */
static int64_t long_slice(const struct mp__sleep *sleep)
{
    const int64_t shortest = sleep->idles ? SHORTEST_IDLE_SLICE : SHORTEST_LONG_SLICE;
    uint32_t used = atomic_load(&mp__arena->sleepers_used);
    int64_t slice = 0;

    for (uint32_t i = 0; i < used && slice < LONGEST_LONG_SLICE; i++)
        if (atomic_load_explicit(&mp__arena->sleepers[i].lingers, memory_order_relaxed))
            slice += SLICE_SHARE;
    if (slice < shortest)
        slice = shortest;
    return slice + slice / 256 * (int64_t)(mp__self >> 16 & 63);
}

static int park_in(const struct spot *spot, struct mp__sleep *sleep, int64_t now)
{
    int err;

    /*
     * Partner of mp__unpark_all: here the record is written, then the owner looked at;
     * there the dead are marked, then the records looked at.
     */
    if (spot->sleeper)
        atomic_store_explicit(&spot->sleeper->address, (uintptr_t)spot->word,
                              memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    if (owner_died(spot))
        return 0;
    if (death_concerns(sleep))
        return 0;

    if (!sleep->slices || !spot->sleeper) {
        int64_t until = now + FIRST_SLICE * mp__slice_factor;
        err = nap(spot, until < sleep->deadline ? until : sleep->deadline);
    } else {
        err = park_long(spot, sleep, now + long_slice(sleep));
    }
    if (err != ETIMEDOUT)
        return err;
    sleep->slices++;
    return mp__now() >= sleep->deadline ? ETIMEDOUT : 0;
}

void mp__sleep_watch(struct mp__sleep *sleep)
{
    /* Partner of mp__unpark_all: the dead are marked, then counted. */
    sleep->watches = true;
    sleep->deaths = mp__arena ? atomic_load(&mp__arena->deaths) : 0;
}

int mp__park(struct mp__sleep *sleep, const _Atomic uint32_t *word, uint32_t value,
             uint64_t owner)
{
    int err = mp__join();
    if (err)
        return err;

    int64_t now = mp__now();
    if (now >= sleep->deadline)
        return ETIMEDOUT;

    const struct spot spot = {
        .word = word, .value = value, .owner = owner, .sleeper = sleeper_take()};
    err = park_in(&spot, sleep, now);
    return sleeper_leave(spot.sleeper) ? 0 : err;
}

void mp__join_quietly(void)
{
    int saved = errno;

    (void)mp__join();
    errno = saved;
}

void mp__unpark_all(void)
{
    if (!mp__arena)
        return;

    /* Partner of park_in. */
    atomic_fetch_add_explicit(&mp__arena->deaths, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    sleepers_wake(atomic_load(&mp__arena->sleepers_used));
}

__attribute__((constructor)) void mp__sync_init(void)
{
    mp__member_on_death = mp__unpark_all;
}

unsigned mp__spin_cpus(void)
{
    static _Atomic unsigned cached;
    unsigned count = atomic_load_explicit(&cached, memory_order_relaxed);

    if (!count) {
        count = mp_cpu_count();
        atomic_store_explicit(&cached, count, memory_order_relaxed);
    }
    return count;
}
