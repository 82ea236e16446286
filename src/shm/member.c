/* SPDX-License-Identifier: MIT */
/*
 * member.c - slots of processes, and the question who is alive.
 *
 *   FREE(g) -> CLAIMED(g + 1, pid) -> LIVE -> DEAD -> FREE(g + 1)
 *
 * The pid stands in the word from the first step on, so that a member which dies while
 * it joins is found as well.  A live member holds the robust mutex in its slot: asking
 * whether it is alive is an attempt to lock it, which fails without a system call.  If
 * the attempt succeeds the system is asked a second time, because the kernel drops the
 * token with the thread that took it, and not only with the process.
 *
 * Burying repeats safely: the state goes to FREE only after somebody has done all of
 * it, and what someone slower does afterwards concerns a generation that is over.
 */
#include "shm/member.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shm/alloc.h"
#include "shm/arena.h"
#include "shm/member_slot.h"

enum state { FREE, CLAIMED, LIVE, DEAD };

#define PID_MASK UINT64_C(0x0fffffff)
#define GROWTH   64 /* slots */

uint64_t mp__self;
unsigned mp__fork_epoch;
void (*mp__member_on_death)(void);

static struct mp__member *own;
static pthread_mutex_t joining = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t prepared = PTHREAD_ONCE_INIT;
static int prepare_error;
static pthread_key_t token_key;

/* Words and identities */

static enum state state_of(uint64_t word)
{
    return (enum state)(word >> 28 & 15);
}

static pid_t pid_of(uint64_t word)
{
    return (pid_t)(word & PID_MASK);
}

static uint64_t word_with(uint64_t word, enum state state)
{
    return (word & ~(UINT64_C(15) << 28)) | (uint64_t)state << 28;
}

static bool is_there(uint64_t word)
{
    return state_of(word) == CLAIMED || state_of(word) == LIVE;
}

static uint64_t identity(uint32_t slot, uint64_t word)
{
    return (word >> 32 << 32) | (uint64_t)slot << 16;
}

static uint32_t members_used(void)
{
    if (!mp__arena)
        return 0;
    return atomic_load_explicit(&mp__arena->members_used, memory_order_acquire);
}

/* The slot of `member`, or NULL if there can't be one. */
static struct mp__member *slot_of(uint64_t member)
{
    uint32_t slot = (uint32_t)(member >> 16 & MP__MEMBERS_MAX);
    if (!slot || slot >= members_used())
        return NULL;
    return &mp__arena->members[slot];
}

static bool slot_change(struct mp__member *slot, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong(&slot->word, &from, to);
}

/* What happens in forks and at the end of threads */

static void forget_parent(void)
{
    mp__self = 0;
    ++mp__fork_epoch;
    own = NULL;
    joining = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pthread_setspecific(token_key, NULL);
    mp__alloc_after_fork();
}

/* Runs when the thread that joined ends: the process lives on without the token. */
static void lose_token(void *slot)
{
    struct mp__member *member = slot;
    atomic_store(&member->token_state, MP__TOKEN_LOST);
}

static void prepare(void)
{
    prepare_error = pthread_key_create(&token_key, lose_token);
    if (!prepare_error)
        prepare_error = pthread_atfork(NULL, NULL, forget_parent);
}

/* Joining */

static int64_t system_age(void)
{
    struct timespec now;
#if defined(CLOCK_BOOTTIME) && !defined(MP_PORTABLE)
    clock_gettime(CLOCK_BOOTTIME, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int token_make(pthread_mutex_t *token)
{
    pthread_mutexattr_t attributes;
    int err = pthread_mutexattr_init(&attributes);
    if (err)
        return err;
    err = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!err)
        err = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!err)
        err = pthread_mutex_init(token, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return err;
}

static int token_trylock(pthread_mutex_t *token)
{
    int err = pthread_mutex_trylock(token);
    if (err == EOWNERDEAD)
        err = pthread_mutex_consistent(token);
    return err;
}

/*
 * Without a token a member can live: then its pid is what others ask for.  That happens
 * if someone holds it who asks after its last owner, and where robust mutexes don't
 * work.
 */
static void token_take(struct mp__member *slot)
{
    int err = 0;
    if (!atomic_load(&slot->token_made)) {
        err = token_make(&slot->token);
        if (!err)
            atomic_store(&slot->token_made, 1);
    }
    if (!err)
        err = token_trylock(&slot->token);
    if (!err)
        err = pthread_setspecific(token_key, slot);
    atomic_store(&slot->token_state, err ? MP__TOKEN_LOST : MP__TOKEN_HELD);
}

static uint32_t hint_get(void)
{
    return atomic_load_explicit(&mp__arena->members_free, memory_order_relaxed);
}

static void hint_set(uint32_t number)
{
    atomic_store_explicit(&mp__arena->members_free, number, memory_order_relaxed);
}

/* Everybody who looks at all members must see a slot before anyone can die in it. */
static void raise_members_used(uint32_t least)
{
    uint32_t used = atomic_load(&mp__arena->members_used);
    while (used < least)
        if (atomic_compare_exchange_weak(&mp__arena->members_used, &used, least))
            break;
}

static bool slot_join(uint32_t number, pid_t pid)
{
    struct mp__member *slot = &mp__arena->members[number];
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    if (state_of(word) != FREE)
        return false;

    raise_members_used(number + 1);
    uint64_t generation = ((word >> 32) + 1) & UINT32_MAX;
    if (!generation)
        generation = 1;
    uint64_t mine = generation << 32 | (uint64_t)CLAIMED << 28 | (uint64_t)pid;
    if (!slot_change(slot, word, mine))
        return false;

    atomic_store_explicit(&slot->busy, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->registered, system_age(), memory_order_relaxed);
    token_take(slot);
    if (!slot_change(slot, mine, word_with(mine, LIVE)))
        return false;
    own = slot;
    __atomic_store_n(&mp__self, identity(number, mine), __ATOMIC_RELEASE);
    return true;
}

/* Low slots are preferred: their pages are warm, and looking at all means few looks. */
static int take_free_slot(void)
{
    pid_t pid = getpid();
    uint32_t number = hint_get();
    if (!number)
        number = 1;

    for (uint32_t tried = 0; tried < MP__MEMBERS_MAX; ++tried, ++number) {
        if (number > MP__MEMBERS_MAX)
            number = 1;
        if (slot_join(number, pid)) {
            hint_set(number + 1);
            return 0;
        }
    }
    return EAGAIN;
}

/*
 * A child that the host forked and reaped is buried by whoever sleeps.  If nobody does,
 * those who join look for the dead, each time that the table would grow by so much.
 */
static int find_slot(void)
{
    uint32_t used = atomic_load(&mp__arena->members_used);

    if (hint_get() >= used && used % GROWTH == 0)
        mp__member_watch();
    int err = take_free_slot();
    if (err != EAGAIN)
        return err;
    mp__member_watch();
    return take_free_slot();
}

static int join_family(void)
{
    int err = mp__arena_open();
    if (err)
        return err;
    pthread_once(&prepared, prepare);
    if (prepare_error)
        return prepare_error == EAGAIN ? EAGAIN : ENOMEM;

    pthread_mutex_lock(&joining);
    if (!mp__self)
        err = find_slot();
    pthread_mutex_unlock(&joining);
    return err;
}

/* A signal handler that releases a lock may join, and must not wait for its own thread. */
int mp__member_join(void)
{
    sigset_t all, mask;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    int err = join_family();
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return err;
}

/* Who is alive */

enum verdict { ALIVE, GONE, UNKNOWN };

#ifndef MP_PORTABLE

struct stat_line {
    char state;
    long threads;
    int64_t started; /* after boot, in nanoseconds, rounded down to a tick */
};

/* The n-th field behind the name, which may hold blanks and parentheses itself. */
static const char *stat_field(const char *state, int n)
{
    while (n-- > 0 && state) {
        state = strchr(state, ' ');
        if (state)
            ++state;
    }
    return state;
}

static int stat_parse(const char *text, struct stat_line *line)
{
    const char *name_end = strrchr(text, ')');
    if (!name_end || name_end[1] != ' ')
        return EINVAL;
    const char *state = name_end + 2;
    const char *threads = stat_field(state, 17);
    const char *started = stat_field(state, 19);
    long hertz = sysconf(_SC_CLK_TCK);
    if (!threads || !started || hertz <= 0)
        return EINVAL;
    line->state = *state;
    line->threads = strtol(threads, NULL, 10);
    line->started = strtoll(started, NULL, 10) * (INT64_C(1000000000) / hertz);
    return 0;
}

static int stat_read(pid_t pid, struct stat_line *line)
{
    char path[32] = "/proc/";
    char digits[16];
    char *digit = digits + sizeof(digits);
    *--digit = '\0';
    for (pid_t rest = pid; rest > 0; rest /= 10)
        *--digit = (char)('0' + rest % 10);
    strcat(strcat(path, digit), "/stat");

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    char text[1024];
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (got <= 0)
        return EIO;
    text[got] = '\0';
    return stat_parse(text, line);
}

/* A zombie that still has threads is a process whose main thread has ended early. */
static enum verdict ask_proc(pid_t pid, int64_t registered)
{
    struct stat_line line;
    if (stat_read(pid, &line))
        return kill(pid, 0) && errno == ESRCH ? GONE : UNKNOWN;
    if ((line.state == 'Z' || line.state == 'X') && line.threads <= 1)
        return GONE;
    return line.started > registered ? GONE : ALIVE;
}

#endif

/* What the system says of the process that had `pid` at the time `registered`. */
static enum verdict ask_system(pid_t pid, int64_t registered)
{
    if (kill(pid, 0) && errno == ESRCH)
        return GONE;
#ifdef MP_PORTABLE
    (void)registered;
    return UNKNOWN;
#else
    return ask_proc(pid, registered);
#endif
}

static void token_change(struct mp__member *slot, uint32_t from, uint32_t to)
{
    atomic_compare_exchange_strong(&slot->token_state, &from, to);
}

/*
 * What the token says.  Whoever takes that of a dead member notes it down before giving
 * it back, so that nobody else need take it, or find it taken and believe in the owner.
 * While it is held here nobody else can join with it, so the note is not about someone
 * who took the slot over.
 */
static enum mp__token_state token_ask(struct mp__member *slot)
{
    if (atomic_load(&slot->token_state) == MP__TOKEN_HELD) {
        int err = token_trylock(&slot->token);
        if (err == EBUSY)
            return MP__TOKEN_HELD;
        token_change(slot, MP__TOKEN_HELD, err ? MP__TOKEN_LOST : MP__TOKEN_DROPPED);
        if (!err)
            pthread_mutex_unlock(&slot->token);
    }
    return (enum mp__token_state)atomic_load(&slot->token_state);
}

static bool live_is_dead(struct mp__member *slot, pid_t pid)
{
    enum mp__token_state token = token_ask(slot);
    if (token == MP__TOKEN_HELD)
        return false;

    int64_t registered = atomic_load_explicit(&slot->registered, memory_order_relaxed);
    enum verdict verdict = ask_system(pid, registered);
    if (verdict == ALIVE)
        token_change(slot, MP__TOKEN_DROPPED, MP__TOKEN_LOST);
    return verdict == GONE || (verdict == UNKNOWN && token == MP__TOKEN_DROPPED);
}

static bool slot_is_dead(struct mp__member *slot, uint64_t word)
{
    switch (state_of(word)) {
    case CLAIMED:
        /* When it registered is not written yet, so a reused pid can't be told. */
        return ask_system(pid_of(word), INT64_MAX) == GONE;
    case LIVE:
        return live_is_dead(slot, pid_of(word));
    default:
        return true;
    }
}

bool mp__member_is_dead(uint64_t member)
{
    member &= MP__MEMBER_MASK;
    if (member && member == mp__self)
        return false;
    struct mp__member *slot = slot_of(member);
    if (!slot)
        return true;
    uint64_t word = atomic_load(&slot->word);
    if (word >> 32 != member >> 32)
        return true;
    return slot_is_dead(slot, word);
}

pid_t mp__member_pid(uint64_t member)
{
    struct mp__member *slot = slot_of(member & MP__MEMBER_MASK);
    if (!slot)
        return 0;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    return word >> 32 == member >> 32 ? pid_of(word) : 0;
}

/* Burying */

static bool hushed, untold;

static void tell_of_death(void)
{
    untold = hushed;
    if (!hushed && mp__member_on_death)
        mp__member_on_death();
}

void mp__member_hush(bool on)
{
    hushed = on;
    if (untold)
        tell_of_death();
}

void mp__member_bury(uint64_t member)
{
    member &= MP__MEMBER_MASK;
    struct mp__member *slot = slot_of(member);
    if (!slot || member == mp__self)
        return;

    uint64_t word = atomic_load(&slot->word);
    while (word >> 32 == member >> 32 && is_there(word))
        if (atomic_compare_exchange_weak(&slot->word, &word, word_with(word, DEAD)))
            word = word_with(word, DEAD);
    if (word >> 32 != member >> 32 || state_of(word) != DEAD)
        return;

    if (atomic_load(&slot->busy))
        mp__alloc_sweep(member);
    tell_of_death();
    if (!slot_change(slot, word, word_with(word, FREE)))
        return;
    uint32_t number = (uint32_t)(slot - mp__arena->members);
    if (number < hint_get())
        hint_set(number);
}

/* A member whose death nobody has noticed may have had the same pid earlier. */
uint64_t mp__member_of_pid(pid_t pid)
{
    uint64_t found = 0;
    int64_t latest = INT64_MIN;
    uint32_t used = members_used();

    for (uint32_t number = 1; number < used; ++number) {
        struct mp__member *slot = &mp__arena->members[number];
        uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
        if (!is_there(word) || pid_of(word) != pid)
            continue;
        int64_t joined = atomic_load_explicit(&slot->registered, memory_order_relaxed);
        if (joined >= latest) {
            latest = joined;
            found = identity(number, word);
        }
    }
    return found;
}

void mp__member_watch(void)
{
    uint32_t used = members_used();
    for (uint32_t number = 1; number < used; ++number) {
        struct mp__member *slot = &mp__arena->members[number];
        uint64_t word = atomic_load(&slot->word);
        uint64_t member = identity(number, word);
        if (state_of(word) == FREE || member == mp__self)
            continue;
        /* One that is marked dead was left by someone who died while burying it. */
        if (slot_is_dead(slot, word))
            mp__member_bury(member);
    }
}

/* In the allocator */

void mp__member_enter(void)
{
    if (mp__join())
        return;
    atomic_fetch_add_explicit(&own->busy, 1, memory_order_relaxed);
    mp__kill_point_order();
}

void mp__member_leave(void)
{
    mp__kill_point_order();
    if (mp__self)
        atomic_fetch_sub_explicit(&own->busy, 1, memory_order_relaxed);
}
