/* SPDX-License-Identifier: MIT */
/*
 * bench.c - the driver: runs the contests and prints the table.
 *
 *   bench [filter] [--rounds=N] [--quick] [--markdown] [--svg=DIRECTORY]
 *
 * The filter picks the contests whose name, or one of whose rows, contains it.  With
 * `--svg` the ratios are also drawn, as bench_plot.h says.
 *
 * Between the driver and each contestant is a socket.  The contestant reports once when
 * it is prepared, and after that once for every byte that it gets.  Figures and ratios
 * are medians over the rounds; the spread is the smallest and the largest ratio.
 *
 * The exit status is 1 if a contestant failed, died, hung or computed wrong values.  A
 * figure that misses its target does not change it: machines differ.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "bench.h"
#include "bench_plot.h"

enum {
    MOST_CONTESTANTS = 16,
    MOST_STANDING = 16,
    MOST_ROUNDS = 1000,
    DEFAULT_ROUNDS = 11
};

/* A round takes a few seconds at most; past this the contestant will never answer. */
enum { PATIENCE_MS = 120000 };

/* Threads of OpenMP spin this long after their loop, on the next contestant's time. */
static const double PAUSE = 0.02;

typedef struct report {
    int error;
    double figures[BENCH_FIGURES];
} report;

typedef struct entrant {
    pid_t pid;
    int line; /* the driver's end of the socket */
    int error;
    double samples[BENCH_FIGURES][MOST_ROUNDS];
} entrant;

static struct {
    const char *filter;
    const char *plots; /* the directory that they go to, or NULL */
    int rounds;
    bool quick;
    bool markdown;
    bool failed;
} run = {.rounds = DEFAULT_ROUNDS};

static entrant entrants[MOST_CONTESTANTS];

/* In a contestant: its end of the socket. */
static int own_line = -1;

/* In a contestant: the standing workers, who wait for work for ever. */
static pid_t standing[MOST_STANDING];
static size_t standing_count;

bool bench_is_quick(void)
{
    return run.quick;
}

size_t bench_size(size_t full, size_t quick)
{
    return run.quick ? quick : full;
}

double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void bench_sleep(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};

    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

void *bench_shared(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

#if defined(__linux__)
/* The processors that this program was started with. */
static const cpu_set_t *all_processors(void)
{
    static cpu_set_t all;

    if (!CPU_COUNT(&all) && sched_getaffinity(0, sizeof(all), &all))
        CPU_ZERO(&all);
    return &all;
}
#endif

int bench_move(pid_t pid, unsigned nth)
{
#if defined(__linux__)
    cpu_set_t one;
    size_t cpu = 0;

    if (nth >= (unsigned)CPU_COUNT(all_processors()))
        return BENCH_ABSENT;
    for (; !CPU_ISSET(cpu, all_processors()) || nth > 0; cpu++)
        if (CPU_ISSET(cpu, all_processors()))
            nth--;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(pid, sizeof(one), &one) ? BENCH_ABSENT : 0;
#else
    (void)pid;
    (void)nth;
    return BENCH_ABSENT;
#endif
}

void bench_take_processor(unsigned nth, unsigned of)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", of);
    if (!bench_move(0, nth))
        setenv("MP_CPU_COUNT", text, 1);
}

void bench_end_with(pid_t parent)
{
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    /* The parent may have gone before the request was made. */
    if (getppid() != parent)
        _exit(1);
}

static void end_standing(void)
{
    for (size_t i = 0; i < standing_count; i++) {
        kill(standing[i], SIGKILL);
        waitpid(standing[i], NULL, 0);
    }
}

pid_t bench_fork(void)
{
    if (standing_count == MOST_STANDING) {
        errno = EAGAIN;
        return -1;
    }
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid == 0) {
        bench_end_with(parent);
        close(own_line);
    } else if (pid > 0) {
        if (standing_count == 0)
            atexit(end_standing);
        standing[standing_count++] = pid;
    }
    return pid;
}

static void serve(const bench_contestant *contestant)
{
    report answer = {0};
    char request;

    if (contestant->prepare)
        answer.error = contestant->prepare(contestant->argument);
    while (send(own_line, &answer, sizeof(answer), MSG_NOSIGNAL) == sizeof(answer) &&
           recv(own_line, &request, 1, 0) == 1)
        answer.error = contestant->round(contestant->argument, answer.figures);
}

static void enter(const bench_contest *contest, size_t index)
{
    entrant *e = &entrants[index];
    int ends[2];

    e->error = 0;
    e->line = -1;
    e->pid = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
        e->error = errno;
        return;
    }
    fflush(stdout);
    pid_t parent = getpid();
    e->pid = fork();
    if (e->pid == 0) {
        bench_end_with(parent);
        for (size_t i = 0; i < index; i++)
            close(entrants[i].line);
        close(ends[0]);
        own_line = ends[1];
        serve(&contest->contestants[index]);
        exit(0);
    }
    if (e->pid < 0)
        e->error = errno;
    close(ends[1]);
    e->line = ends[0];
}

static void await_report(entrant *e, report *answer)
{
    struct pollfd line = {.fd = e->line, .events = POLLIN};

    if (poll(&line, 1, PATIENCE_MS) <= 0)
        e->error = BENCH_HUNG;
    else if (recv(e->line, answer, sizeof(*answer), MSG_WAITALL) != sizeof(*answer))
        e->error = BENCH_DIED;
    else
        e->error = answer->error;
}

static void ask(entrant *e, report *answer)
{
    if (e->error)
        return;
    if (send(e->line, "", 1, MSG_NOSIGNAL) != 1)
        e->error = BENCH_DIED;
    else
        await_report(e, answer);
}

/* Odd rounds go backwards, so that nobody always comes after the same neighbour. */
static size_t turn(int round, size_t place, size_t count)
{
    return round % 2 ? count - 1 - place : place;
}

static void go_rounds(const bench_contest *contest, int rounds)
{
    /* Round -1 is to get everything warm, and does not count. */
    for (int round = -1; round < rounds; round++) {
        for (size_t place = 0; place < contest->contestant_count; place++) {
            entrant *e = &entrants[turn(round + 2, place, contest->contestant_count)];
            report answer = {0};

            bench_sleep(run.quick ? 0 : PAUSE);
            ask(e, &answer);
            for (int f = 0; f < BENCH_FIGURES && round >= 0; f++)
                e->samples[f][round] = answer.figures[f];
        }
    }
}

/* A contestant that does not end by itself has a fault, but its rows stand. */
static void dismiss(const bench_contestant *contestant, entrant *e)
{
    int status = 0;

    if (e->pid < 0)
        return;
    shutdown(e->line, SHUT_RDWR);
    double limit = bench_now() + (e->error == BENCH_HUNG ? 0 : 10);
    while (waitpid(e->pid, &status, WNOHANG) == 0) {
        if (bench_now() > limit) {
            kill(e->pid, SIGKILL);
            limit = bench_now() + 3600;
        }
        bench_sleep(0.001);
    }
    close(e->line);
    if (status != 0) {
        printf("%s: the process of `%s` ended with status %#x\n",
               run.markdown ? "\nNote" : "note", contestant->name, (unsigned)status);
        run.failed = true;
    }
}

static double scale_of(const char *unit)
{
    static const struct {
        const char *unit;
        double scale;
    } known[] = {{"ns", 1e9}, {"us", 1e6}, {"ms", 1e3}, {"M/s", 1e-6}, {"k/s", 1e-3}};

    for (size_t i = 0; i < BENCH_COUNT(known); i++)
        if (strcmp(unit, known[i].unit) == 0)
            return known[i].scale;
    return 1;
}

/* Three digits that count, without exponents. */
static void put_number(char *text, size_t size, double value)
{
    double much = fabs(value);
    int digits = much >= 99.95 ? 0 : much >= 9.995 ? 1 : much >= 0.0995 ? 2 : 4;

    snprintf(text, size, "%.*f", digits, value);
}

static void put_figure(char *text, size_t size, double value, const char *unit)
{
    char number[32];

    put_number(number, sizeof(number), value * scale_of(unit));
    snprintf(text, size, "%s%s%s", number, *unit ? " " : "", unit);
}

static void put_line(const char *const cells[7])
{
    const char *text = run.markdown ? "| %s | %s | %s | %s | %s | %s | %s |\n"
                                    : "%-40s %10s  %-27s %10s %7s %14s  %s\n";

    printf(text, cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]);
}

static void put_heading(void)
{
    put_line((const char *const[7]){"what", "libmp", "yardstick", "its figure", "ratio",
                                    "spread", "target"});
    if (run.markdown)
        puts("|---|---:|---|---:|---:|---:|---|");
}

static const char *error_text(int error)
{
    switch (error) {
    case BENCH_WRONG:
        return "computed a wrong result";
    case BENCH_ABSENT:
        return "not here";
    case BENCH_DIED:
        return "its process died";
    case BENCH_HUNG:
        return "its process hung";
    default:
        return mp_strerror(error);
    }
}

static void put_target(char *text, size_t size, const bench_row *row, double value)
{
    char number[32];

    if (row->sense == BENCH_INFO) {
        snprintf(text, size, "info");
        return;
    }
    bool met =
        row->sense == BENCH_AT_MOST ? value <= row->target : value >= row->target;
    put_number(number, sizeof(number), row->target);
    snprintf(text, size, "%s %s %s", row->sense == BENCH_AT_MOST ? "<=" : ">=", number,
             met ? "ok" : "below");
}

/* A row that has no ratio, because somebody failed or is not to be had. */
static void put_incomplete(const bench_row *row, const bench_contest *contest,
                           const entrant *culprit, const char *figure)
{
    char text[256];
    const char *name = contest->contestants[culprit - entrants].name;
    bool absent = culprit->error == BENCH_ABSENT;

    snprintf(text, sizeof(text), "%s%s: %s", absent ? "" : "FAILED: ", name,
             error_text(culprit->error));
    put_line((const char *const[7]){
        row->what, figure,
        row->theirs < 0 ? "-" : contest->contestants[row->theirs].name, "-", "-", "-",
        text});
    run.failed |= !absent;
}

/* More is better of what is counted per second, and less of everything else. */
static bool is_rate(const char *unit)
{
    return strstr(unit, "/s") != NULL;
}

/* Hand a row with a yardstick to the plots: `sorted` are the ratios of `count` rounds.
 */
static void plot_row(const bench_row *row, const char *yardstick, const char *figures,
                     double ratio, const double *sorted, size_t count)
{
    double low = sorted[0], high = sorted[count - 1];
    bool more = is_rate(row->unit);

    bench_plot_add(&(const bench_bar){.what = row->what,
                                      .yardstick = yardstick,
                                      .figures = figures,
                                      .ratio = more ? ratio : 1 / ratio,
                                      .low = more ? low : 1 / high,
                                      .high = more ? high : 1 / low,
                                      .has_target = row->sense != BENCH_INFO});
}

static void put_row(const bench_contest *contest, const bench_row *row, int rounds)
{
    const entrant *ours = &entrants[row->ours];
    const entrant *theirs = row->theirs < 0 ? NULL : &entrants[row->theirs];
    double own[MOST_ROUNDS], other[MOST_ROUNDS], ratios[MOST_ROUNDS];
    char own_text[48], other_text[48] = "-", ratio_text[32] = "-", low[32], high[32];
    char spread[80], target[64], figures[100];
    size_t count = (size_t)rounds;

    if (ours->error) {
        put_incomplete(row, contest, ours, "-");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        own[i] = ours->samples[row->figure][i];
        other[i] = theirs ? theirs->samples[row->figure][i] : 0;
        ratios[i] = theirs ? own[i] / other[i] : own[i] * scale_of(row->unit);
    }
    put_figure(own_text, sizeof(own_text), bench_median(own, count), row->unit);
    if (theirs && theirs->error) {
        put_incomplete(row, contest, theirs, own_text);
        return;
    }
    double ratio = bench_median(ratios, count);
    put_target(target, sizeof(target), row, ratio);
    put_number(low, sizeof(low), ratios[0]);
    put_number(high, sizeof(high), ratios[count - 1]);
    snprintf(spread, sizeof(spread), "%s-%s", low, high);
    if (theirs) {
        put_figure(other_text, sizeof(other_text), bench_median(other, count),
                   row->unit);
        put_number(ratio_text, sizeof(ratio_text), ratio);
        snprintf(figures, sizeof(figures), "%s : %s", own_text, other_text);
        plot_row(row, contest->contestants[row->theirs].name, figures, ratio, ratios,
                 count);
    }
    put_line((const char *const[7]){
        row->what, own_text, theirs ? contest->contestants[row->theirs].name : "-",
        other_text, ratio_text, spread, target});
}

static void hold(const bench_contest *contest)
{
    int rounds = run.rounds;
    report answer;

    if (contest->most_rounds && rounds > contest->most_rounds)
        rounds = contest->most_rounds;
    for (size_t i = 0; i < contest->contestant_count; i++) {
        enter(contest, i);
        if (!entrants[i].error)
            await_report(&entrants[i], &answer);
    }
    go_rounds(contest, rounds);
    for (size_t i = 0; i < contest->row_count; i++)
        put_row(contest, &contest->rows[i], rounds);
    for (size_t i = 0; i < contest->contestant_count; i++)
        dismiss(&contest->contestants[i], &entrants[i]);
    fflush(stdout);
}

static bool is_wanted(const bench_contest *contest)
{
    if (!run.filter || strstr(contest->name, run.filter))
        return true;
    for (size_t i = 0; i < contest->row_count; i++)
        if (strstr(contest->rows[i].what, run.filter))
            return true;
    return false;
}

static bool read_options(int argc, char **argv)
{
    bool rounds_given = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            run.quick = true;
        else if (strcmp(argv[i], "--markdown") == 0)
            run.markdown = true;
        else if (strncmp(argv[i], "--svg=", 6) == 0 && argv[i][6])
            run.plots = argv[i] + 6;
        else if (strncmp(argv[i], "--rounds=", 9) == 0) {
            run.rounds = atoi(argv[i] + 9);
            rounds_given = true;
        } else if (argv[i][0] != '-' && !run.filter)
            run.filter = argv[i];
        else
            return false;
    }
    if (run.quick && !rounds_given)
        run.rounds = 1;
    return run.rounds >= 1 && run.rounds <= MOST_ROUNDS;
}

/* Whoever else computes takes time from one contestant and not from another. */
static void warn_of_load(void)
{
    double load;

    if (getloadavg(&load, 1) == 1 && load > 0.7 && !run.quick)
        fprintf(stderr, "bench: the load is %.1f; figures need a machine at rest\n",
                load);
}

static const struct {
    const char *name;
    const bench_contest *contests;
} subjects[] = {
    {"process", bench_process_contests},   {"lock", bench_lock_contests},
    {"sync", bench_sync_contests},         {"wake", bench_wake_contests},
    {"barrier", bench_barrier_contests},   {"map", bench_map_contests},
    {"map_long", bench_map_long_contests}, {"apply", bench_apply_contests},
    {"stream", bench_stream_contests},     {"life", bench_life_contests},
    {"death", bench_death_contests},       {"queue", bench_queue_contests},
    {"queue_stream", bench_queue_stream_contests},
    {"connection", bench_connection_contests},
};

/* Returns how many contests were held. */
static size_t hold_all(void)
{
    size_t held = 0;

    for (size_t i = 0; i < BENCH_COUNT(subjects); i++) {
        bench_plot_begin(subjects[i].name);
        for (const bench_contest *c = subjects[i].contests; c->name; c++)
            if (is_wanted(c)) {
                hold(c);
                held++;
            }
    }
    return held;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr,
                "usage: bench [filter] [--rounds=1..%d] [--quick] [--markdown] "
                "[--svg=DIRECTORY]\n",
                MOST_ROUNDS);
        return 2;
    }
    warn_of_load();
    put_heading();
    size_t held = hold_all();
    if (!held)
        fprintf(stderr, "bench: nothing is called `%s`\n", run.filter);
    int err = run.plots ? bench_plot_write(run.plots) : 0;
    if (err)
        fprintf(stderr, "bench: %s: %s\n", run.plots, mp_strerror(err));
    return run.failed || !held || err;
}
