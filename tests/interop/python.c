/* SPDX-License-Identifier: MIT */
#include "python.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ARGUMENTS 8

struct python pythons[16];
size_t python_count;

/* --- interpreters ----------------------------------------------------------------- */

static int version_of(const char *program)
{
    char command[600];
    int major = 0, minor = 0;

    snprintf(command, sizeof command,
             "%.255s -c 'import sys, multiprocessing.connection; "
             "print(sys.version_info[0], sys.version_info[1])' 2>/dev/null",
             program);
    FILE *output = popen(command, "r");
    assert_non_null(output);
    bool found = fscanf(output, "%d %d", &major, &minor) == 2;
    return pclose(output) == 0 && found ? major * 100 + minor : 0;
}

bool python_find(int least)
{
    const char *names = getenv("MP_TEST_PYTHONS");
    char list[2048];

    snprintf(list, sizeof list, "%s", names && *names ? names : "python3");
    for (char *rest = list, *name; (name = strsep(&rest, " ")) && python_count < 16;) {
        if (!*name)
            continue;
        struct python python = {.version = version_of(name)};
        snprintf(python.program, sizeof python.program, "%s", name);
        if (python.version >= least)
            pythons[python_count++] = python;
        else
            print_message("SKIPPED: '%s' is no Python of %d.%d or later\n", name,
                          least / 100, least % 100);
    }
    if (!python_count)
        print_message("SKIPPED: no Python here: nothing of this was tested\n");
    return python_count > 0;
}

/* --- scripts ---------------------------------------------------------------------- */

struct command {
    const char *words[MOST_ARGUMENTS + 4];
    int kept, output;
};

static int run_command(void *arg)
{
    const struct command *command = arg;

    dup2(command->output, STDOUT_FILENO);
    if (command->kept >= 0)
        fcntl(command->kept, F_SETFD, 0);
    alarm((unsigned)scaled(300000) / 1000);
    /* Nothing of a module is to be written beside the tests. */
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
    execvp(command->words[0], (char *const *)(uintptr_t)command->words);
    return 127;
}

struct script python_start(const struct python *python, const char *script,
                           const char *function, int kept, ...)
{
    char path[1024];
    struct command command = {.kept = kept};
    va_list arguments;
    int ends[2];

    snprintf(path, sizeof path, "%s/%s", INTEROP_SCRIPTS, script);
    command.words[0] = python->program;
    command.words[1] = path;
    command.words[2] = function;
    va_start(arguments, kept);
    for (size_t i = 3; (command.words[i] = va_arg(arguments, const char *)); i++)
        assert_true(i < MOST_ARGUMENTS + 3);
    va_end(arguments);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    command.output = ends[1];
    struct script started = {.pid = child_start(run_command, &command)};
    close(ends[1]);
    started.output = fdopen(ends[0], "r");
    assert_non_null(started.output);
    return started;
}

const char *python_line(struct script *script)
{
    static char line[1024];

    line[0] = 0;
    (void)!fgets(line, sizeof line, script->output);
    line[strcspn(line, "\n")] = 0;
    return line;
}

void python_says(struct script *script, const char *expected)
{
    assert_string_equal(python_line(script), expected);
}

/* Processes that Python has started become ours when it ends. */
static int end_of(struct script *script)
{
    python_says(script, "");
    assert_true(feof(script->output));
    fclose(script->output);
    int code = child_wait(script->pid, 20000);
    assert_true(reap_all(20000));
    return code;
}

void python_ends(struct script *script)
{
    assert_int_equal(end_of(script), 0);
}

void python_is_killed(struct script *script)
{
    assert_int_equal(end_of(script), -SIGKILL);
}

/* --- messages --------------------------------------------------------------------- */

void pattern_fill(unsigned char *bytes, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i + seed) % 251);
}

bool pattern_is(const unsigned char *bytes, size_t size, size_t seed)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (i + seed) % 251)
            return false;
    return true;
}

void send_pattern(mp_connection *connection, size_t size, size_t seed)
{
    unsigned char *message = malloc(size + 1);

    assert_non_null(message);
    pattern_fill(message, size, seed);
    assert_int_equal(mp_connection_send(connection, message, size), 0);
    free(message);
}

void expect_pattern(mp_connection *connection, size_t size, size_t seed)
{
    void *message;
    size_t received;

    assert_int_equal(mp_connection_recv_alloc(connection, &message, &received, 0), 0);
    assert_int_equal(received, size);
    assert_true(pattern_is(message, size, seed));
    free(message);
}

void echo(mp_connection *connection)
{
    void *message;
    size_t size;
    int err;

    while (!(err = mp_connection_recv_alloc(connection, &message, &size, 0))) {
        err = mp_connection_send(connection, message, size);
        free(message);
        assert_int_equal(err, 0);
    }
    assert_int_equal(err, EPIPE);
}
