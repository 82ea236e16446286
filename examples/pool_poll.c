/* SPDX-License-Identifier: MIT */
/*
 * pool_poll.c - a pool in an event loop: poll(2) waits for the pool, for input and for a
 * timer at once, and one thread does everything.
 *
 *   seq 20 | pool_poll        reads numbers from standard input and prints which of them
 *                             are prime, each as soon as a worker has found out
 *
 * Every second it says how many answers are to come.  Python's Pool has a hidden thread
 * for its callbacks; here they run where mp_pool_poll is called.
 */
#include <poll.h>
#include <unistd.h>

#include "example.h"

static mp_pool *pool;
static unsigned pending; /* callbacks that have not run yet */
static unsigned primes;
static bool input_open = true;

static int is_prime(const void *arg, void *result, void *context) /* (number): */
{
    unsigned long number = *(const unsigned long *)arg;
    bool prime = number > 1;

    (void)context;
    for (unsigned long i = 2; prime && i <= number / i; i++)
        prime = number % i != 0;
    *(bool *)result = prime;
    return 0;
}

/* Runs in this program's thread, within mp_pool_poll. */
static void print_answer(mp_async_result *result, void *arg)
{
    unsigned long *number = arg;
    bool prime;
    int err = mp_async_result_get(result, &prime, sizeof(prime), MP_NOWAIT);

    if (err)
        printf("%lu: %s\n", *number, mp_strerror(err));
    else
        printf("%lu is %s\n", *number, prime ? "prime" : "not prime");
    fflush(stdout);
    primes += !err && prime;
    pending--;
    free(number);
}

static void ask(unsigned long value)
{
    unsigned long *number = malloc(sizeof(*number));

    if (!number)
        check(ENOMEM, "malloc");
    *number = value;
    /* pool.apply_async(is_prime, (number,), callback=print_answer) */
    int err = mp_pool_apply_async(
        pool, is_prime, number, sizeof(*number), sizeof(bool),
        MP_TASK_OPTIONS(.callback = print_answer, .callback_arg = number), NULL);
    check(err, "mp_pool_apply_async");
    pending++;
}

/* Whatever there is of standard input: digits are numbers, all else separates them. */
static void read_input(void)
{
    static unsigned long number;
    static bool in_number;
    char bytes[4096];
    ssize_t count = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (count < 0 && errno == EINTR)
        return;
    for (ssize_t i = 0; i < count; i++) {
        bool digit = bytes[i] >= '0' && bytes[i] <= '9';
        if (digit)
            number = 10 * number + (unsigned long)(bytes[i] - '0');
        else if (in_number)
            ask(number);
        if (!digit)
            number = 0;
        in_number = digit;
    }
    if (count > 0)
        return;
    input_open = false;
    if (in_number)
        ask(number);
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    begin(argc, argv);
    check(mp_pool_new(&pool, MP_POOL_OPTIONS(.processes = 3, .pollable = true)),
          "mp_pool_new");

    struct pollfd watched[2] = {{.events = POLLIN}, {.events = POLLIN}};
    check(mp_pool_fileno(pool, &watched[0].fd), "mp_pool_fileno");

    long long tick = now_ms() + 1000;
    while (input_open || pending) {
        /* A descriptor below 0 is not watched. */
        watched[1].fd = input_open ? STDIN_FILENO : -1;
        long long left = tick - now_ms();
        if (poll(watched, 2, left > 0 ? (int)left : 0) < 0) {
            if (errno != EINTR)
                check(errno, "poll");
            continue;
        }
        if (watched[0].revents) {
            int err = mp_pool_poll(pool, MP_NOWAIT);
            if (err != ETIMEDOUT && err != EPIPE) /* Nothing yet; nothing any more. */
                check(err, "mp_pool_poll");
        }
        if (watched[1].revents)
            read_input();
        if (now_ms() >= tick) {
            printf("(%u to come)\n", pending);
            fflush(stdout);
            tick += 1000;
        }
    }

    printf("%u primes\n", primes);
    mp_pool_free(pool);
    return 0;
}
