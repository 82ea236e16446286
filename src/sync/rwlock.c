/* SPDX-License-Identifier: MIT */
/*
 * rwlock.c - a lock that many processes hold for reading, or one for writing.
 *
 * The writer word is 0, or names the member that writes or is about to:
 *
 *   0 -> me                 claimed: new readers stay out, those who are in may finish
 *     -> me|HELD            no reader was left: me writes
 *     -> 0                  released, or given up
 *
 * CONTENDED beside it says that writers may sleep on its low half, WAITED_FOR that
 * readers may sleep on `gate`; both are set by those who go to sleep, and stay until
 * the word becomes 0.  The claimant sleeps on `drain` while readers are in.
 *
 * A reader's word is 0, or names a member and counts its reads.  Each member has a word
 * of its own, found by its number; a word of another generation is of a dead process.
 * To read is to count one up and then to look at the writer word: partner is the
 * claimant, which claims first and then looks at all readers' words.
 *
 * Under a claim, as long as it is not HELD, some may go in: who reads already (else a
 * second read would wait for a writer that waits for the first), and who has waited for
 * a writer before this one.  They count up first and then set ENTERED, which makes the
 * claimant look at the readers once more, for it goes on to HELD only from a word
 * without it.  Under HELD nobody goes in, whatever stands in the readers' words: counts
 * of threads that have yet to see that they came too late.
 *
 * What a death leaves.  A reader: its count, which the claimant takes for 0.  A
 * claimant: its claim, which a writer takes over and a reader takes away.  A writer:
 * dead|HELD, which the next one to come, for whatever it comes, exchanges for its own
 * name and HELD; that exchange is the report.  Anyone who is killed after it changed a
 * word and before it woke those who wait: sleepers that are woken when it is buried,
 * and that then find the word changed.  Who is killed after it made a further table and
 * before it published it: that much memory, for as long as the family lives.
 */
#include <mp/rwlock.h>

#include <errno.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "base/options.h"
#include "base/thread_local.h"
#include "mp/shared.h"
#include "shm/alloc.h"
#include "shm/arena.h"
#include "shm/member.h"
#include "sync/park.h"

/* Beside the owner in the writer word. */
#define CONTENDED  UINT64_C(1)
#define HELD       UINT64_C(2)
#define WAITED_FOR UINT64_C(4)
#define ENTERED    UINT64_C(8)

/* Beside the owner in a reader's word. */
#define COUNT  UINT64_C(0xffff)

#define FIRST  64u /* readers' words in the lock itself */
#define LEVELS 8   /* further tables, each as large as all before it */
#define LINE   (MP__CACHE_LINE / 8)

_Static_assert(((CONTENDED | HELD | WAITED_FOR | ENTERED | COUNT) & MP__MEMBER_MASK) ==
                   0,
               "beside the owner");
_Static_assert(FIRST << LEVELS == MP__MEMBERS_MAX + 1, "a word for each member");
_Static_assert(FIRST == LINE * LINE, "as `place` has it");

struct reader {
    _Atomic uint64_t word;
};

/* In shared memory. */
struct mp_rwlock {
    _Alignas(MP__CACHE_LINE) _Atomic uint64_t writer;
    _Atomic uint32_t gate;  /* how often readers were let go on */
    _Atomic uint32_t drain; /* how often a claimant was told to look */
    /* Of members FIRST << level and up, for as long as the lock is there. */
    _Alignas(MP__CACHE_LINE) _Atomic(struct reader *) more[LEVELS];
    _Alignas(MP__CACHE_LINE) struct reader first[FIRST];
};

_Static_assert(sizeof(struct mp_rwlock) <= 768, "a size of cell: see rwlock.h");

static MP__THREAD_LOCAL struct mp__spin spin;

int mp_rwlock_new(mp_rwlock **out, const mp_rwlock_options *options)
{
    mp_rwlock_options known;

    if (!out)
        return EINVAL;
    int err = mp__options_read(&known, sizeof(known), options);
    if (err)
        return err;

    mp_rwlock *lock = mp_shared_alloc(sizeof(*lock));
    if (!lock)
        return ENOMEM;
    *out = lock;
    return 0;
}

void mp_rwlock_free(mp_rwlock *lock)
{
    if (!mp__alloc_is_block(lock))
        return;
    for (unsigned level = 0; level < LEVELS; level++)
        mp_shared_free(atomic_load(&lock->more[level]));
    mp_shared_free(lock);
}

static uint64_t owner_of(uint64_t word)
{
    return word & MP__MEMBER_MASK;
}

static bool is_of_dead(uint64_t word)
{
    return owner_of(word) != mp__self && mp__member_is_dead(owner_of(word));
}

/* The order of all that a reader and a claimant must see of each other. */
static bool exchange(_Atomic uint64_t *word, uint64_t *old, uint64_t new)
{
    return atomic_compare_exchange_strong(word, old, new);
}

/* --- readers' words --------------------------------------------------------------- */

/* Members that joined one after the other get words in different cache lines. */
static uint32_t place(uint32_t number)
{
    return (number & ~(FIRST - 1)) | (number % LINE * LINE) | (number / LINE % LINE);
}

/* Which of the further tables has the word of a member, from FIRST on. */
static unsigned level_of(uint32_t number)
{
    unsigned level = 0;

    while (number >= FIRST << (level + 1))
        level++;
    return level;
}

static uint32_t own_number(void)
{
    return (uint32_t)(mp__self >> 16 & MP__MEMBERS_MAX);
}

static __attribute__((noinline)) struct reader *further_reader(mp_rwlock *lock,
                                                               uint32_t number)
{
    unsigned level = level_of(number);
    struct reader *table = atomic_load(&lock->more[level]);

    return table ? &table[place(number - (FIRST << level))] : NULL;
}

/* The word of the calling process, or NULL if its table is not there yet. */
static inline struct reader *own_reader(mp_rwlock *lock)
{
    uint32_t number = own_number();

    return number < FIRST ? &lock->first[place(number)] : further_reader(lock, number);
}

/* As own_reader, which makes the table. */
static struct reader *own_reader_made(mp_rwlock *lock)
{
    struct reader *reader = own_reader(lock), *none = NULL;
    if (reader)
        return reader;

    unsigned level = level_of(own_number());
    struct reader *table = mp_shared_alloc((FIRST << level) * sizeof(*table));
    if (!table)
        return NULL;
    if (!atomic_compare_exchange_strong(&lock->more[level], &none, table))
        mp_shared_free(table);
    return own_reader(lock);
}

/* Whether anyone alive is in this word; who is dead is taken out. */
static bool is_reading(struct reader *reader)
{
    uint64_t word = atomic_load(&reader->word);

    return word && (!is_of_dead(word) || !exchange(&reader->word, &word, 0));
}

/* Looks at the words of the first `count` members of a table, and at few others. */
static bool table_has_reader(struct reader *table, uint32_t count)
{
    for (uint32_t block = 0; block < count; block += FIRST)
        for (uint32_t i = 0; i < LINE && block + i * LINE < count; i++)
            for (uint32_t line = 0; line < FIRST; line += LINE)
                if (is_reading(&table[block + line + i]))
                    return true;
    return false;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool has_reader(mp_rwlock *lock)
{
    /* A member is counted here before it can read: see raise_members_used. */
    uint32_t used = atomic_load(&mp__arena->members_used);
    uint32_t before = FIRST;

    if (table_has_reader(lock->first, smaller(used, FIRST)))
        return true;
    for (unsigned level = 0; before < used; level++, before *= 2) {
        struct reader *table = atomic_load(&lock->more[level]);
        if (table && table_has_reader(table, smaller(used - before, before)))
            return true;
    }
    return false;
}

/* --- wakes ------------------------------------------------------------------------ */

/* The writer word was `word`, and became 0. */
static void wake_after(mp_rwlock *lock, uint64_t word)
{
    if (word & WAITED_FOR) {
        atomic_fetch_add(&lock->gate, 1);
        mp__unpark(&lock->gate, INT32_MAX);
    }
    if (word & CONTENDED)
        mp__unpark(mp__low_half(&lock->writer), 1);
}

/* The process's last read ended.  Partner of try_hold: there the writer word is
   changed, then the readers are looked at. */
static __attribute__((noinline)) int tell_claimant(mp_rwlock *lock)
{
    uint64_t writer = atomic_load(&lock->writer);

    if (writer && !(writer & HELD)) {
        atomic_fetch_add(&lock->drain, 1);
        mp__unpark(&lock->drain, INT32_MAX);
    }
    return 0;
}

/* One of several reads ends, or none. */
static __attribute__((noinline)) int leave_slowly(mp_rwlock *lock,
                                                  struct reader *reader)
{
    uint64_t word = atomic_load_explicit(&reader->word, memory_order_relaxed);

    do {
        if (!mp__self || owner_of(word) != mp__self)
            return EPERM;
    } while (!exchange(&reader->word, &word, (word & COUNT) > 1 ? word - 1 : 0));
    return (word & COUNT) > 1 ? 0 : tell_claimant(lock);
}

/* Count one read down. */
static inline int leave(mp_rwlock *lock, struct reader *reader)
{
    uint64_t only = mp__self | 1;

    if (!exchange(&reader->word, &only, 0))
        return leave_slowly(lock, reader);
    return atomic_load(&lock->writer) ? tell_claimant(lock) : 0;
}

/* --- waiting ---------------------------------------------------------------------- */

static bool has_no_writer(const mp_rwlock *lock)
{
    return !atomic_load_explicit(&lock->writer, memory_order_relaxed);
}

struct change {
    const mp_rwlock *lock;
    uint32_t drain; /* before */
};

static bool writer_left(void *arg)
{
    const struct change *change = arg;

    return has_no_writer(change->lock);
}

/* Not by looking at their words, which would disturb them. */
static bool reader_left(void *arg)
{
    const struct change *change = arg;

    return atomic_load_explicit(&change->lock->drain, memory_order_relaxed) !=
           change->drain;
}

/* Wait for a moment for others that run elsewhere: whether `over` came true. */
static bool spin_until(bool (*over)(void *change), const mp_rwlock *lock, uint32_t drain,
                       int64_t deadline)
{
    struct change change = {lock, drain};

    return mp__spin_until(&spin, deadline, over, &change);
}

/* Sleep while `met` is the writer word: writers on it, readers on the gate. */
static int sleep_on(mp_rwlock *lock, uint64_t met, struct mp__sleep *sleep)
{
    uint64_t word = met | CONTENDED;

    if (met != word && !exchange(&lock->writer, &met, word))
        return 0;
    return mp__park(sleep, mp__low_half(&lock->writer), (uint32_t)word, owner_of(word));
}

static int sleep_at_gate(mp_rwlock *lock, uint64_t met, uint32_t gate,
                         struct mp__sleep *sleep)
{
    uint64_t word = met | WAITED_FOR;

    if (met != word && !exchange(&lock->writer, &met, word))
        return 0;
    return mp__park(sleep, &lock->gate, gate, owner_of(word));
}

/* --- reading ---------------------------------------------------------------------- */

static bool admits(uint64_t writer, bool privileged)
{
    return !writer || (privileged && !(writer & HELD));
}

/* The read is counted: whether it may stay.  If not, `*met` is the writer. */
static bool may_stay(mp_rwlock *lock, bool privileged, uint64_t *met)
{
    *met = atomic_load(&lock->writer);
    while (admits(*met, privileged))
        if (!*met || *met & ENTERED || exchange(&lock->writer, met, *met | ENTERED))
            return true;
    return false;
}

/* 0 if the process reads, EOVERFLOW, or EBUSY and the writer word that was met. */
static int try_read(mp_rwlock *lock, struct reader *reader, bool waited, uint64_t *met)
{
    uint64_t word = atomic_load_explicit(&reader->word, memory_order_relaxed);

    for (;;) {
        uint64_t count = owner_of(word) == mp__self ? word & COUNT : 0;
        bool privileged = waited || count;

        *met = atomic_load(&lock->writer);
        if (!admits(*met, privileged))
            return EBUSY;
        if (count == COUNT)
            return EOVERFLOW;
        if (!exchange(&reader->word, &word, mp__self | (count + 1)))
            continue;
        if (may_stay(lock, privileged, met))
            return 0;
        leave(lock, reader);
        return EBUSY;
    }
}

/* A reader met a dead writer: EOWNERDEAD if it writes now, 0 to look again. */
static int succeed(mp_rwlock *lock, uint64_t met)
{
    if (met & HELD)
        return exchange(&lock->writer, &met, mp__self | (met & ~MP__MEMBER_MASK))
                   ? EOWNERDEAD
                   : 0;
    if (exchange(&lock->writer, &met, 0))
        wake_after(lock, met);
    return 0;
}

static int read_until(mp_rwlock *lock, struct reader *reader, int64_t deadline)
{
    struct mp__sleep sleep = mp__sleep_until(deadline);
    bool waited = false;
    uint64_t met;
    int err = 0;

    for (;;) {
        /* Before the writer word, for after that the gate may move. */
        uint32_t gate = atomic_load(&lock->gate);
        int taken = try_read(lock, reader, waited, &met);
        if (taken != EBUSY)
            return taken;
        if (is_of_dead(met)) {
            if (succeed(lock, met) == EOWNERDEAD)
                return EOWNERDEAD;
            continue;
        }
        if (err || !deadline)
            return ETIMEDOUT;

        /* After the deadline it is tried once more. */
        err = sleep_at_gate(lock, met, gate, &sleep);
        waited = waited || atomic_load(&lock->gate) != gate;
    }
}

static __attribute__((noinline)) int read_slowly(mp_rwlock *lock, int timeout_ms)
{
    int64_t deadline;

    if (!lock)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__join();
    if (err)
        return err;

    struct reader *reader = own_reader_made(lock);
    if (!reader)
        return ENOMEM;
    /* Who reads already need not wait for anybody. */
    if (!has_no_writer(lock) &&
        !atomic_load_explicit(&reader->word, memory_order_relaxed))
        spin_until(writer_left, lock, 0, deadline);
    return read_until(lock, reader, deadline);
}

static __attribute__((noinline)) int read_too_late(mp_rwlock *lock,
                                                   struct reader *reader,
                                                   int timeout_ms)
{
    leave(lock, reader);
    return read_slowly(lock, timeout_ms);
}

int mp_rwlock_acquire_read(mp_rwlock *lock, int timeout_ms)
{
    uint64_t none = 0;

    if (!lock || timeout_ms < MP_FOREVER || !mp__self || !has_no_writer(lock))
        return read_slowly(lock, timeout_ms);
    struct reader *reader = own_reader(lock);
    if (!reader || !exchange(&reader->word, &none, mp__self | 1))
        return read_slowly(lock, timeout_ms);
    return atomic_load(&lock->writer) ? read_too_late(lock, reader, timeout_ms) : 0;
}

/* --- writing ---------------------------------------------------------------------- */

/*
 * Claim the writer word if it is free or its owner dead: 0, EOWNERDEAD if that one
 * wrote and the caller writes now, or EBUSY and the word that was met.
 */
static int try_claim(mp_rwlock *lock, uint64_t contended, uint64_t *met)
{
    uint64_t word = atomic_load_explicit(&lock->writer, memory_order_relaxed);

    for (;;) {
        if (!word) {
            if (exchange(&lock->writer, &word, mp__self | contended))
                return 0;
        } else if (is_of_dead(word)) {
            uint64_t flags = word & (HELD | WAITED_FOR);
            if (exchange(&lock->writer, &word, mp__self | flags | CONTENDED))
                return flags & HELD ? EOWNERDEAD : 0;
        } else {
            *met = word;
            return EBUSY;
        }
    }
}

/* The caller's claim or hold ends.  Flags may come until it does, but no other owner.
 */
static __attribute__((noinline)) int unclaim(mp_rwlock *lock, uint64_t word)
{
    while (!exchange(&lock->writer, &word, 0))
        if (owner_of(word) != mp__self)
            return EPERM;
    wake_after(lock, word);
    return 0;
}

/* From the claim on to HELD, if no reader is there: partner of may_stay and of leave.
 */
static bool try_hold(mp_rwlock *lock)
{
    uint64_t word = atomic_load(&lock->writer);

    do {
        if (word & ENTERED)
            word = atomic_fetch_and(&lock->writer, ~ENTERED) & ~ENTERED;
        if (has_reader(lock))
            return false;
        while (!(word & ENTERED))
            if (exchange(&lock->writer, &word, word | HELD))
                return true;
    } while (true);
}

/* Wait until the readers have left; the claim is given up if they don't. */
static int hold_claim(mp_rwlock *lock, int64_t deadline, struct mp__sleep *sleep)
{
    int err = deadline ? 0 : ETIMEDOUT;

    for (;;) {
        /* Any of the readers may die from now on. */
        uint32_t drain = atomic_load(&lock->drain);
        mp__sleep_watch(sleep);
        if (try_hold(lock))
            return 0;
        if (err) {
            unclaim(lock, atomic_load(&lock->writer));
            return err;
        }
        if (!spin_until(reader_left, lock, drain, deadline))
            err = mp__park(sleep, &lock->drain, drain, 0);
    }
}

static int write_until(mp_rwlock *lock, int64_t deadline)
{
    struct mp__sleep sleep = mp__sleep_until(deadline);
    uint64_t met, contended = 0;
    int err = 0;

    for (;;) {
        int taken = try_claim(lock, contended, &met);
        if (taken == EOWNERDEAD)
            return EOWNERDEAD;
        if (!taken)
            return hold_claim(lock, deadline, &sleep);
        if (err || !deadline)
            return ETIMEDOUT;

        /* After the deadline it is tried once more. */
        contended = CONTENDED;
        err = sleep_on(lock, met, &sleep);
    }
}

int mp_rwlock_acquire_write(mp_rwlock *lock, int timeout_ms)
{
    int64_t deadline;

    if (!lock)
        return EINVAL;
    int err = mp__deadline(timeout_ms, &deadline);
    if (!err)
        err = mp__join();
    if (err)
        return err;

    /* A claim that surely fails would only stop readers on their way. */
    if (!deadline && has_no_writer(lock) && has_reader(lock))
        return ETIMEDOUT;
    if (!has_no_writer(lock))
        spin_until(writer_left, lock, 0, deadline);
    return write_until(lock, deadline);
}

int mp_rwlock_release(mp_rwlock *lock)
{
    if (!lock)
        return EINVAL;

    uint64_t word = atomic_load_explicit(&lock->writer, memory_order_relaxed);
    if (word && owner_of(word) == mp__self && word & HELD)
        return unclaim(lock, word);
    struct reader *reader = own_reader(lock);
    return reader ? leave(lock, reader) : EPERM;
}
