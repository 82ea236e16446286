/* SPDX-License-Identifier: MIT */
/*
 * lock.c - five processes print to one terminal, one at a time.
 *
 * A line goes out in several writes.  Under the lock no other process prints in
 * between, and all sixty lines are whole.
 *
 *   lock             takes the lock
 *   lock --no-lock   does not, and the lines mix
 *   lock --kill      the first process kills itself in the middle of its third line,
 *                    holding the lock: the next one finds out, and all go on
 */
#include <signal.h>

#include "example.h"

struct my_data {
    int loop;
    int dies_at;   /* the count at which it kills itself, or -1 */
    mp_lock *lock; /* in shared memory: the pointer is good in every process */
};

/* Lets one piece of a line out, and gives others the time to get between. */
static void put(const char *piece)
{
    fputs(piece, stdout);
    fflush(stdout);
    sleep_seconds(0.001);
}

static void print_line(long pid, int count, bool dies)
{
    char number[32];

    put("Pid: ");
    snprintf(number, sizeof(number), "%ld", pid);
    put(number);
    if (dies)
        raise(SIGKILL);
    put(" LoopCount: ");
    snprintf(number, sizeof(number), "%d", count);
    put(number);
    put("\n");
}

/* self.lock.acquire() */
static void acquire(mp_lock *lock)
{
    int err = mp_lock_acquire(lock, MP_FOREVER);

    /*
     * EOWNERDEAD: the lock is ours, but whoever held it died half-way.  What this
     * lock guards is the line being printed, so its repair is to end that line.
     */
    if (err == EOWNERDEAD)
        put(" (killed)\n");
    else
        check(err, "mp_lock_acquire");
}

static int my_run(mp_process *self) /* def run(self): */
{
    const struct my_data *data = mp_process_data(self);

    for (int count = 0; count < data->loop; count++) { /* in range(self.loop): */
        sleep_seconds(0.1);
        if (data->lock)
            acquire(data->lock);
        print_line((long)mp_process_pid(self), count, count == data->dies_at);
        if (data->lock)
            check(mp_lock_release(data->lock), "mp_lock_release"); /* .release() */
    }
    return 0;
}

static const mp_process_class my_process = {
    .name = "MyProcess",
    .data_size = sizeof(struct my_data),
    .run = my_run,
};

int main(int argc, char **argv)
{
    mp_process *children[5];
    mp_lock *lock = NULL;

    begin(argc, argv);
    const bool kills = has_option(argc, argv, "--kill");
    if (!has_option(argc, argv, "--no-lock"))
        check(mp_lock_new(&lock, NULL), "mp_lock_new"); /* lock = Lock() */

    for (int i = 0; i < 5; i++) { /* for i in range(10, 15): */
        const struct my_data data = {
            .loop = 10 + i,
            .dies_at = kills && i == 0 ? 2 : -1,
            .lock = lock,
        };
        int err = mp_process_new_of(&children[i], &my_process, &data, NULL);
        check(err, "mp_process_new_of");
        check(mp_process_start(children[i]), "mp_process_start");
    }
    for (int i = 0; i < 5; i++) { /* The lock must outlive those who use it. */
        check(mp_process_join(children[i], MP_FOREVER), "mp_process_join");
        mp_process_free(children[i]);
    }
    if (lock)
        acquire(lock); /* Should the last one to print have been the one to die. */
    mp_lock_free(lock);
    return 0;
}
