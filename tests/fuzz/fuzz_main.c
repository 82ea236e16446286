/* SPDX-License-Identifier: MIT */
/*
 * fuzz_main.c - drives a fuzzer where the compiler has no libFuzzer:
 *
 *   fuzz_x SECONDS PATH...
 *
 * The inputs at PATH, which are files or directories of files, each once, and then for
 * so many seconds what becomes of them by chance.  It sees nothing of what the library
 * does with them.  An input that fails is told as hexadecimal digits (`xxd -r -p` makes
 * a file of them), and the seed, which MP_FUZZ_SEED sets, at the beginning.
 */
#include <dirent.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUTS_MAX   4096
#define INPUT_MAX    ((size_t)4096)
#define CHANGES_MAX  8
#define SECONDS_EACH 20

struct bytes {
    size_t size;
    uint8_t *at;
};

static struct bytes inputs[INPUTS_MAX];
static size_t input_count;
static uint8_t current[INPUT_MAX]; /* what is being tried */
static size_t current_size;
static unsigned long long tried;
static uint64_t seed;

/* --- failures --------------------------------------------------------------------- */

/* Of those who die, the sanitizers don't raise a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void tell_input(void)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * INPUT_MAX + 1];

    for (size_t i = 0; i < current_size; i++) {
        text[2 * i] = digits[current[i] >> 4];
        text[2 * i + 1] = digits[current[i] & 15];
    }
    text[2 * current_size] = '\n';
    if (write(STDERR_FILENO, "the input:\n", 11) < 0 ||
        write(STDERR_FILENO, text, 2 * current_size + 1) < 0)
        _exit(2);
}

static void fail(int number)
{
    tell_input();
    _exit(128 + number);
}

static void watch_failures(void)
{
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    struct sigaction action = {.sa_handler = fail};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        MUST(!sigaction(signals[i], &action, NULL));
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(tell_input);
}

/* --- inputs ----------------------------------------------------------------------- */

static bool read_file(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (!file)
        return false;
    struct bytes *input = &inputs[input_count];
    input->at = malloc(INPUT_MAX);
    MUST(input->at);
    input->size = fread(input->at, 1, INPUT_MAX, file);
    MUST(!ferror(file));
    fclose(file);
    input_count++;
    return true;
}

static bool read_directory(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char name[4096];

    if (!directory)
        return false;
    while (input_count < INPUTS_MAX && (entry = readdir(directory)) != NULL) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            MUST(read_file(name));
    }
    closedir(directory);
    return true;
}

static void try_current(void)
{
    /* A copy that is no longer than the input, for those who guard memory. */
    uint8_t *copy = malloc(current_size ? current_size : 1);

    MUST(copy);
    memcpy(copy, current, current_size);
    alarm(SECONDS_EACH);
    (void)LLVMFuzzerTestOneInput(copy, current_size);
    free(copy);
    tried++;
}

/* --- chance ----------------------------------------------------------------------- */

static size_t chance(size_t end)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed % end);
}

static const struct bytes *any_input(void)
{
    return &inputs[chance(input_count)];
}

/* Put some of `from` in the place of `gone` bytes at `at`. */
static void splice(size_t at, size_t gone, const uint8_t *from, size_t size)
{
    size_t rest = current_size - at - gone;

    if (at + size + rest > INPUT_MAX)
        return;
    memmove(current + at + size, current + at + gone, rest);
    memmove(current + at, from, size);
    current_size = at + size + rest;
}

static void change(void)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xc0, 0xff, '#', '{'};
    const struct bytes *other = any_input();
    size_t at = chance(current_size + 1), left = current_size - at;
    size_t from = chance(other->size + 1), some = chance(other->size - from + 1);
    uint8_t byte = (uint8_t)chance(256);

    switch (chance(left ? 7 : 2)) {
    case 0:
        splice(at, 0, &byte, 1);
        break;
    case 1:
        splice(at, 0, other->at + from, some);
        break;
    case 2:
        current[at] ^= (uint8_t)(1 << byte % 8);
        break;
    case 3:
        current[at] = byte;
        break;
    case 4:
        current[at] = edges[byte % sizeof edges];
        break;
    case 5:
        splice(at, chance(left < 16 ? left : 16) + 1, &byte, 0);
        break;
    case 6:
        splice(at, some < left ? some : left, other->at + from, some);
        break;
    }
}

static void try_what_comes(time_t seconds)
{
    time_t end = time(NULL) + seconds;

    while (time(NULL) < end) {
        const struct bytes *input = any_input();

        memcpy(current, input->at, input->size);
        current_size = input->size;
        for (size_t changes = 1 + chance(CHANGES_MAX); changes; changes--)
            change();
        try_current();
    }
}

int main(int count, char **arguments)
{
    const char *chosen = getenv("MP_FUZZ_SEED");

    if (count < 3) {
        fprintf(stderr, "usage: %s SECONDS PATH...\n", arguments[0]);
        return 2;
    }
    seed =
        chosen ? strtoull(chosen, NULL, 0) : (uint64_t)time(NULL) * (uint64_t)getpid();
    seed += !seed;
    fprintf(stderr, "MP_FUZZ_SEED=%llu\n", (unsigned long long)seed);
    for (int i = 2; i < count; i++)
        MUST(read_directory(arguments[i]) || read_file(arguments[i]));
    MUST(input_count);
    watch_failures();
    for (size_t i = 0; i < input_count; i++) {
        memcpy(current, inputs[i].at, inputs[i].size);
        current_size = inputs[i].size;
        try_current();
    }
    try_what_comes((time_t)strtoul(arguments[1], NULL, 10));
    fprintf(stderr, "%zu inputs, tried %llu\n", input_count, tried);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].at);
    return 0;
}
