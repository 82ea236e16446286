/* SPDX-License-Identifier: MIT */
/* step_queue.c - a queue, and a log of what went through it: see step_queue.h. */
#include "step_queue.h"

#include <poll.h>
#include <unistd.h>

#include "sync/park.h"

enum { PRIORITIES = 8, MANY = 8 };

mp_queue *queue;
struct message_log *message_log;

/* While there is a queue: the watchman is to look around soon. */
static int64_t slice_factor = 1;

/* How a message begins; the rest of its bytes are all alike. */
struct head {
    uint16_t sender;
    uint16_t priority;
    uint32_t number;
};

/* What this process has had so far. */
static uint32_t last[SENDERS][PRIORITIES];

void log_begin(void)
{
    message_log = shared_page(sizeof *message_log);
}

void make_queue(void *how)
{
    const struct queue_case *c = how;
    mp_queue_options options = c->options;
    int seen_lost = message_log->seen_lost;

    memset(last, 0, sizeof last);
    memset(message_log, 0, sizeof *message_log);
    message_log->seen_lost = seen_lost;
    options.struct_size = sizeof options;
    if (mp_queue_new(&queue, &options) != 0)
        abort();
    mp__slice_factor = slice_factor;
    put_earlier(c->earlier, c->size);
}

void discard_queue(void)
{
    mp_queue_free(queue);
    mp__slice_factor = 1;
}

/* --- messages --------------------------------------------------------------------- */

static unsigned char filling(const struct head *head)
{
    return (unsigned char)(head->number * 5 + head->sender + head->priority * 3 + 1);
}

static void *make_message(enum sender sender, unsigned priority, size_t size)
{
    struct head head = {(uint16_t)sender, (uint16_t)priority,
                        atomic_fetch_add(&message_log->begun[sender], 1) + 1};
    unsigned char *message = malloc(size);

    if (!message || size < sizeof head || head.number > MESSAGES)
        abort();
    memcpy(message, &head, sizeof head);
    memset(message + sizeof head, filling(&head), size - sizeof head);
    return message;
}

int put_as(enum sender sender, unsigned priority, size_t size, int timeout_ms)
{
    void *message = make_message(sender, priority, size);
    int err = mp_queue_put_priority(queue, priority, message, size, timeout_ms);

    free(message);
    atomic_fetch_add(err ? &message_log->begun[sender] : &message_log->put[sender],
                     err ? -1u : 1u);
    return err;
}

static bool is_whole(const unsigned char *message, size_t size, struct head *head)
{
    if (size < sizeof *head)
        return false;
    memcpy(head, message, sizeof *head);
    if (head->sender >= SENDERS || head->priority >= PRIORITIES || head->number < 1 ||
        head->number > MESSAGES)
        return false;
    for (size_t i = sizeof *head; i < size; i++)
        if (message[i] != filling(head))
            return false;
    return true;
}

bool enter_message(const void *message, size_t size)
{
    struct head head;

    if (!is_whole(message, size, &head))
        return false;
    uint32_t *before = &last[head.sender][head.priority];
    if (head.number <= *before)
        return false;
    *before = head.number;
    return atomic_fetch_add(&message_log->got[head.sender][head.number], 1) == 0;
}

int take(int timeout_ms)
{
    void *message;
    size_t size;
    int err = mp_queue_get_alloc(queue, &message, &size, timeout_ms);

    if (err)
        return err;
    bool right = enter_message(message, size);
    free(message);
    return right ? 0 : EBADMSG;
}

void put_earlier(unsigned count, size_t size)
{
    while (count-- > 0)
        if (put_as(EARLIER, 0, size ? size : SMALL, MP_NOWAIT) != 0)
            abort();
}

bool drain(void)
{
    size_t there = mp_queue_qsize(queue), taken = 0;
    int err;

    while ((err = take(MP_NOWAIT)) == 0)
        taken++;
    return err == (mp_queue_closed(queue) ? EPIPE : ETIMEDOUT) && taken == there &&
           mp_queue_qsize(queue) == 0 && mp_queue_empty(queue);
}

bool count_up(unsigned *there, unsigned *missing)
{
    *there = *missing = 0;
    for (int sender = 0; sender < SENDERS; sender++)
        for (uint32_t number = 1; number <= MESSAGES; number++) {
            unsigned got = message_log->got[sender][number];
            bool put = number <= message_log->put[sender];
            if (got > 1 || (got && !put && sender != VICTIM))
                return false;
            *missing += put && !got;
            if (sender == VICTIM && got && number != ++*there)
                return false;
        }
    return true;
}

/* --- the victim ------------------------------------------------------------------- */

static struct iovec own_messages[MANY];
static unsigned char own_buffer[1 << 17];

static size_t size_of(const struct queue_case *c)
{
    return c->size ? c->size : SMALL;
}

static unsigned messages_of(const struct queue_case *c)
{
    return c->count ? c->count : 1;
}

bool make_messages(void *how)
{
    const struct queue_case *c = how;

    for (unsigned i = 0; i < messages_of(c); i++) {
        own_messages[i].iov_len = size_of(c);
        own_messages[i].iov_base = make_message(VICTIM, c->priority, size_of(c));
    }
    return true;
}

bool victim_puts(void *how)
{
    const struct queue_case *c = how;
    return mp_queue_put_priority(queue, c->priority, own_messages[0].iov_base,
                                 own_messages[0].iov_len, MP_FOREVER) == 0;
}

bool victim_puts_many(void *how)
{
    const struct queue_case *c = how;
    size_t put = 0;
    int err = mp_queue_put_many(queue, own_messages, c->count, &put, MP_FOREVER);
    return err == 0 && put == c->count;
}

bool victim_gets(void *how)
{
    (void)how;
    size_t size;
    struct head head;
    int err = mp_queue_get(queue, own_buffer, sizeof own_buffer, &size, MP_FOREVER);
    return err == 0 && size >= sizeof head;
}

bool victim_gets_many(void *how)
{
    const struct queue_case *c = how;
    size_t sizes[MANY], count = 0;
    int err = mp_queue_get_many(queue, own_buffer, sizeof own_buffer, sizes, c->count,
                                &count, MP_FOREVER);
    return err == 0 && count == c->count;
}

/* --- others ----------------------------------------------------------------------- */

bool sleeper_gets(void *how)
{
    (void)how;
    return take(MP_FOREVER) == 0;
}

bool sleeper_puts(void *how)
{
    return put_as(OTHER, 0, size_of(how), MP_FOREVER) == 0;
}

static int bystander_body(void *arg)
{
    const struct queue_case *c = arg;
    int err = 0;

    /* Numbers are left for the check, however long the victim takes. */
    while (!message_log->stop && !err) {
        bool enough = message_log->put[OTHER] > MESSAGES / 2;
        int put = enough ? ETIMEDOUT : put_as(OTHER, 0, size_of(c), 1);
        int got = take(1);
        if (put != ETIMEDOUT)
            err = put;
        if (got != ETIMEDOUT && !err)
            err = got;
        usleep(100);
    }
    if (err)
        note_failure();
    atomic_fetch_sub(&message_log->bystanders, 1);
    return 0;
}

void start_bystander(void *how)
{
    atomic_fetch_add(&message_log->bystanders, 1);
    start_helper(bystander_body, how);
}

bool bystanders_leave(void)
{
    atomic_store(&message_log->stop, 1);
    while (atomic_load(&message_log->bystanders) > 0)
        pause_shortly();
    return !roles->failed;
}

void give_message(void *how)
{
    if (put_as(LATER, 0, size_of(how), MP_NOWAIT) != 0)
        abort();
}

void give_room(void *how)
{
    (void)how;
    if (take(MP_NOWAIT) != 0)
        abort();
}

/* --- the check -------------------------------------------------------------------- */

static int late_taker(void *arg)
{
    (void)arg;
    return take(1500);
}

static int late_putter(void *arg)
{
    return put_as(LATER, 0, size_of(arg), 1500);
}

bool is_readable(void)
{
    int fd;

    if (mp_queue_fileno(queue, &fd) != 0)
        abort();
    struct pollfd poll_one = {.fd = fd, .events = POLLIN};
    return poll(&poll_one, 1, 0) == 1;
}

/* One who sleeps is woken by what it waits for. */
static bool wakes(child_body *late, void *arg, bool by_put)
{
    pid_t pid = start_helper(late, arg);
    bool slept = process_sleeps(pid, 1000);
    int err = by_put ? put_as(OTHER, 0, size_of(arg), MP_NOWAIT) : take(MP_NOWAIT);

    return slept && err == 0 && wait_helper(pid, 1500) == 0;
}

static bool fills_up(const struct queue_case *c)
{
    for (size_t i = 0; i < c->options.max_messages; i++)
        if (put_as(OTHER, 0, size_of(c), MP_NOWAIT) != 0)
            return false;
    return mp_queue_full(queue) &&
           put_as(OTHER, 0, size_of(c), MP_NOWAIT) == ETIMEDOUT &&
           wakes(late_putter, (void *)c, false) && drain();
}

bool still_works(const struct queue_case *c)
{
    if (c->options.pollable && is_readable())
        return false;
    if (take(MP_NOWAIT) != ETIMEDOUT || !wakes(late_taker, (void *)c, true))
        return false;
    if (c->options.pollable && (put_as(OTHER, 0, size_of(c), MP_NOWAIT) != 0 ||
                                !is_readable() || !drain() || is_readable()))
        return false;
    return !c->options.max_messages || fills_up(c);
}

static bool nothing_for_sleepers(const struct queue_case *c)
{
    return c->others_put ? mp_queue_full(queue) : mp_queue_empty(queue);
}

/* Those who sleep get what there is without help, and then as much as they need. */
static bool serve_sleepers(void *how)
{
    const struct queue_case *c = how;

    while (atomic_load(&roles->got) < roles->sleepers && !roles->failed &&
           !nothing_for_sleepers(c))
        pause_shortly();
    for (int i = roles->got; i < roles->sleepers; i++)
        (c->others_put ? give_room : give_message)(how);
    return all_sleepers_got_in();
}

static bool all_but_victim_get_on(void *how, void (*give)(void *how))
{
    const struct queue_case *c = how;

    if (!bystanders_leave())
        return false;
    if (c->waits && !roles->unblocked)
        give(how);
    if (c->options.pollable && !mp_queue_empty(queue) && !is_readable())
        return false;
    return serve_sleepers(how) && drain();
}

bool check_put(void *how)
{
    const struct queue_case *c = how;
    unsigned there, missing;

    if (!all_but_victim_get_on(how, give_room) || !count_up(&there, &missing))
        return false;
    return missing == 0 && (!there || c->piecemeal || there == messages_of(c)) &&
           mp_queue_lost(queue) == 0 && is_plausible(there == messages_of(c)) &&
           still_works(c) && count_up(&there, &missing) && missing == 0;
}

/* Lost is what was taken while the victim cannot have known that it has it. */
static bool lost_is_right(unsigned missing)
{
    uint64_t lost = mp_queue_lost(queue);

    if (lost)
        message_log->seen_lost = 1;
    return !lost || (lost == missing && !roles->finished);
}

bool check_get(void *how)
{
    const struct queue_case *c = how;
    unsigned there, missing;

    if (!all_but_victim_get_on(how, give_message) || !count_up(&there, &missing))
        return false;
    if (there != 0 || (missing && !c->piecemeal && missing != messages_of(c)))
        return false;
    return lost_is_right(missing) && is_plausible(missing) && still_works(c);
}

void expect_queue_survives(const struct role_case *c)
{
    slice_factor = 100;
    expect_no_failure(c, BURIED);
    slice_factor = 1;
    expect_no_failure(c, NOT_BURIED);
}
