/* SPDX-License-Identifier: MIT */
/* trace.c - what workers did when: recording it, and writing it to the file: trace.h. */
#include "pool/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mp/shared.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "pool/job.h"
#include "pool/trace_text.h"
#include "proc/process.h"
#include "shm/arena.h"

/* Room that a burial needs besides what a worker has made. */
#define SPARE 4

/* Once a buffer is half full, so many events go by from one try to write them to the
   next, as long as somebody else is writing. */
#define TRY_EVERY 16

/* A process that is stopped with the lock must not stop all others. */
#define LOCK_PATIENCE_NS (500 * MP__MILLISECOND)

struct mp__trace *mp__trace_own;

static char path[PATH_MAX]; /* "": no trace */

/* `wanted`, with the program's pid for "%p", and from the root: a program may change its
   directory.  A path that is too long is none. */
__attribute__((constructor)) static void read_environment(void)
{
    const char *wanted = mp__environment("MP_TRACE");
    const char *mark = wanted ? strstr(wanted, "%p") : NULL;
    char directory[PATH_MAX] = "", pid[24] = "";

    if (!wanted || !*wanted)
        return;
    if (*wanted != '/' && !getcwd(directory, sizeof(directory)))
        return;
    if (mark)
        snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    int length = snprintf(path, sizeof(path), "%s%s%.*s%s%s", directory,
                          *wanted == '/' ? "" : "/",
                          mark ? (int)(mark - wanted) : (int)strlen(wanted), wanted, pid,
                          mark ? mark + 2 : "");
    if (length < 0 || (size_t)length >= sizeof(path))
        path[0] = '\0';
}

/* The file */

/* Not among the standard streams, should the host have closed them. */
static int open_file(int flags)
{
    int fd = open(path, flags | O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);

    if (fd >= 0 && fd <= STDERR_FILENO) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(fd);
        fd = moved;
    }
    return fd;
}

static bool lock_file(int fd, int64_t patience)
{
    int64_t deadline = patience ? mp__now() + patience : 0;

    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || !patience || mp__now() > deadline)
            return false;
        mp__poll_one(-1, 0, mp__now() + MP__MILLISECOND);
    }
    return true;
}

/* With the lock: decide what a writer that died did, and see that the file is ours. */
static bool recover(int fd)
{
    struct mp__trace *other = mp__arena->trace_writer;
    uint64_t end = atomic_load(&mp__arena->trace_end);
    struct stat stat;

    if (fstat(fd, &stat) || !S_ISREG(stat.st_mode) || (uint64_t)stat.st_size < end)
        return false;
    if (other && end == atomic_load(&other->end))
        atomic_store(&other->written, atomic_load(&other->upto));
    atomic_store(&mp__arena->trace_writer, NULL);
    return (uint64_t)stat.st_size == end || ftruncate(fd, (off_t)end) == 0;
}

/* An open and locked file at whose end can be written, or -1. */
static int open_locked(int flags, int64_t patience)
{
    int fd = open_file(flags);

    if (fd >= 0 && (!lock_file(fd, patience) || !recover(fd))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* A child that another thread forked meanwhile may hold the descriptor too. */
static void close_locked(int fd)
{
    flock(fd, LOCK_UN);
    close(fd);
}

static bool write_whole(int fd, const char *text, size_t size)
{
    ssize_t written = write(fd, text, size);

    if (written == (ssize_t)size)
        return true;
    if (written > 0)
        (void)!ftruncate(fd, (off_t)atomic_load(&mp__arena->trace_end));
    return false;
}

/* Lines of the records below `upto`.  See trace.h. */
static bool write_lines(int fd, struct mp__trace *trace, const struct mp__text *text,
                        uint64_t upto)
{
    size_t size = mp__text_size(text);
    uint64_t end = atomic_load(&mp__arena->trace_end) + size;

    atomic_store(&trace->upto, upto);
    atomic_store(&trace->end, end);
    atomic_store(&mp__arena->trace_writer, trace);
    bool done = write_whole(fd, text->begin, size);
    if (done) {
        atomic_store(&mp__arena->trace_end, end);
        atomic_store(&trace->written, upto);
    }
    atomic_store(&mp__arena->trace_writer, NULL);
    return done;
}

/* Write as many records as have room; false if that can't be done. */
static bool write_some(struct mp__trace *trace, int64_t patience)
{
    char buffer[16384];
    struct mp__text text = {.begin = buffer, .at = buffer, .room = sizeof(buffer)};
    uint64_t first = atomic_load(&trace->written), upto = first;
    uint64_t made = atomic_load(&trace->made);

    for (; upto < made && mp__text_room(&text) >= MP__TRACE_LINE; upto++)
        mp__trace_print(&text, &trace->records[upto % MP__TRACE_RECORDS], trace->place);
    int fd = open_locked(0, patience);
    if (fd < 0)
        return false;
    /* A dead worker's last lines may turn out to have been written. */
    bool done = atomic_load(&trace->written) != first ||
                write_lines(fd, trace, &text, upto);
    close_locked(fd);
    return done;
}

static bool is_written(const struct mp__trace *trace)
{
    return atomic_load(&trace->written) == atomic_load(&trace->made);
}

/* Write everything, or give up what can't be written: there are other things to do. */
static void flush(struct mp__trace *trace)
{
    int saved = errno;

    while (!is_written(trace) && write_some(trace, LOCK_PATIENCE_NS))
        continue;
    atomic_store(&trace->written, atomic_load(&trace->made));
    errno = saved;
}

/* Write if nobody else is writing, as long as there is room. */
static void flush_early(struct mp__trace *trace)
{
    int saved = errno;

    (void)write_some(trace, 0);
    errno = saved;
}

/* The first pool of the family begins the file. */
static bool begin_file(void)
{
    static const char beginning[] = "[\n";
    bool begun = atomic_load(&mp__arena->trace_end) != 0;
    int fd = open_locked(begun ? 0 : O_CREAT, LOCK_PATIENCE_NS);

    if (fd < 0)
        return false;
    /* Another process may have been faster. */
    begun = atomic_load(&mp__arena->trace_end) != 0;
    if (!begun && write_whole(fd, beginning, sizeof(beginning) - 1)) {
        atomic_store(&mp__arena->trace_end, sizeof(beginning) - 1);
        begun = true;
    }
    close_locked(fd);
    return begun;
}

void mp__trace_prepare(struct mp__pool_shared *shared)
{
    if (!*path)
        return;
    /* Pools that nobody frees are ended at exit, and so write what they have. */
    if (mp__children_at_exit() || !begin_file()) {
        mp__log(MP_LOG_WARNING, "%s cannot be written: no trace", path);
        return;
    }
    shared->traces = mp_shared_alloc(shared->place_count * sizeof(struct mp__trace));
    if (!shared->traces)
        mp__log(MP_LOG_WARNING, "no memory for a trace");
}

/* Recording */

static void add(struct mp__trace *trace, const struct mp__trace_record *record)
{
    uint64_t made = atomic_load_explicit(&trace->made, memory_order_relaxed);

    trace->records[made % MP__TRACE_RECORDS] = *record;
    mp__kill_point_order();
    atomic_store_explicit(&trace->made, made + 1, memory_order_release);
}

static void enter(struct mp__pool_shared *shared, unsigned place, unsigned shown)
{
    struct mp__trace *trace = &shared->traces[place];

    trace->place = shown;
    trace->born = mp__now();
    trace->done_before = atomic_load(&shared->workers[place].done);
    add(trace, &(struct mp__trace_record){.kind = MP__TRACE_BIRTH, .pid = getpid()});
    atomic_store(&trace->pid, getpid());
}

void mp__trace_enter(struct mp__pool_shared *shared, unsigned place)
{
    /* Not that of a pool in whose worker this one was made. */
    mp__trace_own = shared->traces ? &shared->traces[place] : NULL;
    if (shared->traces)
        enter(shared, place, place);
}

void mp__trace_enter_serial(struct mp__pool_shared *shared)
{
    if (shared->traces)
        enter(shared, 0, MP__TRACE_SERIAL);
}

/* The event begins, and is to be found if the worker dies. */
static bool begin(struct mp__trace_record *event, const struct mp__worker *self)
{
    struct mp__trace *trace = mp__trace_own;
    uint64_t made = atomic_load_explicit(&trace->made, memory_order_relaxed);
    uint64_t current = atomic_load_explicit(&self->current, memory_order_relaxed);

    event->number = (current & ~MP__DOOMED) - 1;
    event->pid = atomic_load_explicit(&trace->pid, memory_order_relaxed);
    event->failed = (uint32_t)atomic_load_explicit(&self->failed, memory_order_relaxed);
    event->began = mp__now();
    trace->now = *event;
    mp__kill_point_order();
    atomic_store_explicit(&trace->open, made + 1, memory_order_relaxed);
    return true;
}

bool mp__trace_task(struct mp__trace_record *event, const struct mp__worker *self,
                    const struct mp__task *task)
{
    *event = (struct mp__trace_record){.kind = MP__TRACE_TASK,
                                       .function = (uintptr_t)task->task,
                                       .first = task->index,
                                       .items = 1};
    return begin(event, self);
}

bool mp__trace_batch(struct mp__trace_record *event, const struct mp__worker *self,
                     const struct mp__job *job, uint32_t next)
{
    *event = (struct mp__trace_record){.kind = MP__TRACE_MAP,
                                       .function = (uintptr_t)job->task,
                                       .first = job->first + next,
                                       .next = next};
    return begin(event, self);
}

void mp__trace_end(struct mp__trace_record *event, const struct mp__worker *self,
                   uint32_t items, int error)
{
    struct mp__trace *trace = mp__trace_own;

    event->ended = mp__now();
    event->items = items;
    event->error = error;
    event->failed =
        (uint32_t)atomic_load_explicit(&self->failed, memory_order_relaxed) - event->failed;
    add(trace, event);
    uint64_t waiting = atomic_load_explicit(&trace->made, memory_order_relaxed) -
                       atomic_load_explicit(&trace->written, memory_order_relaxed);
    if (waiting >= MP__TRACE_RECORDS - SPARE)
        flush(trace);
    else if (waiting >= MP__TRACE_RECORDS / 2 && waiting % TRY_EVERY == 0)
        flush_early(trace);
}

/* What it was at has ended here: of a map, it may have been between two items. */
static void end_open(struct mp__trace *trace, const struct mp__worker *dead,
                     const mp_task_failure *death)
{
    struct mp__trace_record record = trace->now;
    uint64_t at = mp__worker_at(dead);
    bool map = record.kind == MP__TRACE_MAP;
    bool lost = !map || at & 1;

    record.ended = mp__now();
    record.error = lost ? death->error : 0;
    record.failed = (uint32_t)atomic_load(&dead->failed) - record.failed + lost;
    if (map)
        record.items = (uint32_t)(at >> 1) - record.next + lost;
    if (record.items)
        add(trace, &record);
}

void mp__trace_bury(struct mp__pool_shared *shared, unsigned place,
                    const mp_task_failure *death)
{
    if (!shared->traces)
        return;
    struct mp__trace *trace = &shared->traces[place];
    const struct mp__worker *worker = &shared->workers[place];
    uint64_t made = atomic_load(&trace->made);
    int pid = atomic_load(&trace->pid);
    if (!pid)
        return;

    /* Another may have come here before, and been killed. */
    struct mp__trace_record *last =
        made ? &trace->records[(made - 1) % MP__TRACE_RECORDS] : NULL;
    if (!last || last->kind != MP__TRACE_LIFE || last->pid != pid) {
        if (atomic_load(&trace->open) == made + 1)
            end_open(trace, worker, death);
        add(trace, &(struct mp__trace_record){
                       .kind = MP__TRACE_LIFE,
                       .pid = pid,
                       .began = trace->born,
                       .ended = mp__now(),
                       .items = (uint32_t)(atomic_load(&worker->done) - trace->done_before),
                       .error = death->exitcode});
    }
    flush(trace);
    atomic_store(&trace->pid, 0);
}

void mp__trace_free(struct mp__pool_shared *shared)
{
    struct mp__trace *traces = shared->traces;

    if (!traces)
        return;
    /* One that nobody could decide on must not be looked for here any more. */
    for (unsigned i = 0; i < shared->place_count; i++) {
        void *writer = &traces[i];
        atomic_compare_exchange_strong(&mp__arena->trace_writer, &writer, NULL);
    }
    if (mp__trace_own >= traces && mp__trace_own < traces + shared->place_count)
        mp__trace_own = NULL;
    mp_shared_free(traces);
    shared->traces = NULL;
}
