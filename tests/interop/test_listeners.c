/* SPDX-License-Identifier: MIT */
/* test_listeners.c - listeners and clients, and who is let in, with Python on one side.
 */
#include "interop/python.h"
#include "support/door.h"

#define SCRIPT "listeners.py"

static const char *const digests[] = {"sha256", "md5", "sha384", "sha3_256",
                                      "sha3_384"};
#define DIGESTS (sizeof digests / sizeof *digests)

/* What Python before 3.12 knows is its own form of md5. */
static bool is_legacy(const struct python *python)
{
    return python->version < 312;
}

static void send_all_sizes(mp_connection *connection)
{
    static const size_t sizes[] = {0, 1, 5, 16384, 16385, 1000000};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        send_pattern(connection, sizes[i], i);
        expect_pattern(connection, sizes[i], i);
    }
}

static void wait_for_refusal(mp_listener *door)
{
    mp_connection *connection;

    for (int i = 0; i < 400 && !mp_listener_refused(door); i++)
        assert_int_equal(mp_listener_accept(door, &connection, 50), ETIMEDOUT);
    assert_int_equal(mp_listener_refused(door), 1);
}

/* --- Python connects -------------------------------------------------------------- */

/* Both keys as they are, and NULL for none; Python's begins with '='. */
struct keys {
    const char *ours, *pythons;
    bool agree;
};

static void let_in(const struct python *python, const char *address,
                   const struct keys *keys)
{
    const char *key = keys->ours;
    mp_listener *door;
    mp_connection *connection;

    assert_int_equal(
        mp_listener_new(
            &door, address,
            MP_LISTENER_OPTIONS(.authkey = key, .authkey_size = key ? strlen(key) : 0,
                                .handshake_ms = keys->agree ? 0 : scaled(1000),
                                .allow_legacy = is_legacy(python))),
        0);
    struct script script = python_start(python, SCRIPT, "client", NOTHING_KEPT,
                                        mp_listener_address(door), keys->pythons, NULL);
    if (keys->agree) {
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        echo(connection);
        mp_connection_free(connection);
    } else {
        wait_for_refusal(door);
    }
    python_says(&script, keys->agree ? "done" : "refused");
    assert_int_equal(mp_listener_refused(door), !keys->agree);
    python_ends(&script);
    mp_listener_free(door);
}

static void test_clients(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        let_in(python, "localhost:0", &(struct keys){"secret", "=secret", true});
        let_in(python, NULL, &(struct keys){"secret", "=secret", true});
        let_in(python, NULL, &(struct keys){NULL, "none", true});
        let_in(python, NULL, &(struct keys){"", "=", true});
        let_in(python, NULL, &(struct keys){"secret", "=wrong", false});
        let_in(python, NULL, &(struct keys){"secret", "=secret2", false});
        let_in(python, NULL, &(struct keys){"secret", "=", false});
        let_in(python, "localhost:0", &(struct keys){"secret", "none", false});
    }
}

/* Only Python has a key: it is for it to notice, by our first message or our end. */
static void test_only_the_client_has_a_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * python_count; i++) {
        mp_listener *door;
        mp_connection *connection;
        assert_int_equal(mp_listener_new(&door, NULL, NULL), 0);
        struct script script =
            python_start(&pythons[i / 2], SCRIPT, "client", NOTHING_KEPT,
                         mp_listener_address(door), "=secret", NULL);
        assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
        if (i % 2)
            assert_int_equal(mp_connection_send(connection, "hello", 5), 0);
        mp_connection_free(connection);
        python_says(&script, "refused");
        python_ends(&script);
        mp_listener_free(door);
    }
}

/* A path of ours, as Python takes it; it is gone afterwards. */
static void test_path(void **state)
{
    char room[64], path[96];

    (void)state;
    make_room(room);
    snprintf(path, sizeof path, "%s/door", room);
    FOR_EACH_PYTHON(python)
    {
        let_in(python, path, &(struct keys){"secret", "=secret", true});
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(rmdir(room), 0);
}

/* --- Python listens --------------------------------------------------------------- */

/* Where it listens is the first line that it writes. */
static struct visit visit_to(struct script *script, const struct python *python,
                             const char *key)
{
    struct visit visit = {
        .key = key, .allow_legacy = is_legacy(python), .timeout_ms = scaled(20000)};

    snprintf(visit.address, sizeof visit.address, "%s", python_line(script));
    return visit;
}

static void go_to(const struct python *python, const char *family,
                  const struct keys *keys)
{
    mp_connection *connection = NULL;
    struct script script = python_start(python, SCRIPT, "listener", NOTHING_KEPT,
                                        family, keys->pythons, NULL);
    struct visit visit = visit_to(&script, python, keys->ours);

    if (!keys->agree)
        visit.timeout_ms = scaled(1000);
    int err = connect_as(&visit, &connection);
    if (keys->agree) {
        assert_int_equal(err, 0);
        send_all_sizes(connection);
    } else {
        /* A listener that has no key waits for an echo, and says nothing. */
        bool silent = strcmp(keys->pythons, "none") == 0;
        assert_int_equal(err, silent ? ETIMEDOUT : EACCES);
    }
    mp_connection_free(connection);
    if (strcmp(keys->pythons, "none") == 0)
        python_says(&script, "done");
    else
        python_says(&script, keys->agree ? "done" : "refused");
    python_ends(&script);
}

static void test_listeners(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        go_to(python, "tcp", &(struct keys){"secret", "=secret", true});
        go_to(python, "unix", &(struct keys){"secret", "=secret", true});
        go_to(python, "unix", &(struct keys){NULL, "none", true});
        go_to(python, "unix", &(struct keys){"secret", "=wrong", false});
        go_to(python, "tcp", &(struct keys){"secret", "none", false});
    }
}

/* Only Python has a key: its challenge comes as a message, as the header says. */
static void test_only_the_listener_has_a_key(void **state)
{
    (void)state;
    FOR_EACH_PYTHON(python)
    {
        mp_connection *connection;
        void *message;
        size_t size;
        struct script script = python_start(python, SCRIPT, "listener", NOTHING_KEPT,
                                            "unix", "=secret", NULL);
        struct visit visit = visit_to(&script, python, NULL);

        assert_int_equal(connect_as(&visit, &connection), 0);
        assert_int_equal(mp_connection_recv_alloc(connection, &message, &size, 256), 0);
        assert_true(size > 11);
        assert_memory_equal(message, "#CHALLENGE#", 11);
        free(message);
        assert_int_equal(mp_connection_send(connection, "hello", 5), 0);
        assert_int_equal(mp_connection_recv_alloc(connection, &message, &size, 256), 0);
        assert_string_equal(message, "#FAILURE#");
        free(message);
        assert_int_equal(mp_connection_recv_alloc(connection, &message, &size, 256),
                         EPIPE);
        mp_connection_free(connection);
        python_says(&script, "refused");
        python_ends(&script);
    }
}

/* One after the other, whoever was refused before. */
static void test_patient_listener(void **state)
{
    static const char *const keys[] = {"secret", "wrong", "secret", "", "secret"};
    enum { VISITS = sizeof keys / sizeof *keys };

    (void)state;
    FOR_EACH_PYTHON(python)
    {
        struct script script =
            python_start(python, SCRIPT, "patient_listener", NOTHING_KEPT, "5", NULL);
        struct visit visit = visit_to(&script, python, NULL);
        for (size_t i = 0; i < VISITS; i++) {
            mp_connection *connection;
            bool agree = strcmp(keys[i], "secret") == 0;
            visit.key = keys[i];
            assert_int_equal(connect_as(&visit, &connection), agree ? 0 : EACCES);
            if (agree) {
                send_all_sizes(connection);
                mp_connection_free(connection);
            }
            python_says(&script, agree ? "done" : "refused");
        }
        python_ends(&script);
    }
}

/* --- digests ---------------------------------------------------------------------- */

static void digest_of_client(const struct python *python, const char *asked,
                             const char *digest)
{
    mp_listener *door;
    mp_connection *connection;

    assert_int_equal(
        mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY, .digest = asked)), 0);
    struct script script = python_start(python, SCRIPT, "digest_client", NOTHING_KEPT,
                                        mp_listener_address(door), digest, NULL);
    assert_int_equal(mp_listener_accept(door, &connection, scaled(20000)), 0);
    echo(connection);
    mp_connection_free(connection);
    mp_listener_free(door);
    python_says(&script, "done");
    python_ends(&script);
}

static void digest_of_listener(const struct python *python, const char *asked,
                               const char *digest)
{
    mp_connection *connection;
    struct script script =
        python_start(python, SCRIPT, "digest_listener", NOTHING_KEPT, digest, NULL);

    assert_int_equal(
        mp_client(&connection, python_line(&script),
                  MP_CLIENT_OPTIONS(KEY, .digest = asked, .timeout_ms = scaled(20000))),
        0);
    send_all_sizes(connection);
    mp_connection_free(connection);
    python_says(&script, "done");
    python_ends(&script);
}

/* Each digest that either side may ask for, and another one by the other side. */
static void test_digests(void **state)
{
    size_t tried = 0;

    (void)state;
    for (size_t i = 0; i < python_count * DIGESTS; i++) {
        const struct python *python = &pythons[i / DIGESTS];
        if (is_legacy(python))
            continue;
        const char *asked = digests[i % DIGESTS];
        const char *digest = digests[(i + 2) % DIGESTS];
        digest_of_client(python, asked, digest);
        digest_of_listener(python, asked, digest);
        tried++;
    }
    if (!tried) {
        print_message("SKIPPED: no Python of 3.12 or later to try digests with\n");
        skip();
    }
}

/* --- Python before 3.12 ----------------------------------------------------------- */

static void refuse_legacy_client(const struct python *python)
{
    mp_listener *door;

    assert_int_equal(mp_listener_new(&door, NULL, MP_LISTENER_OPTIONS(KEY)), 0);
    struct script script = python_start(python, SCRIPT, "client", NOTHING_KEPT,
                                        mp_listener_address(door), "=secret", NULL);
    wait_for_refusal(door);
    python_says(&script, "refused");
    python_ends(&script);
    mp_listener_free(door);
}

static void refuse_legacy_listener(const struct python *python)
{
    mp_connection *connection;
    struct script script =
        python_start(python, SCRIPT, "listener", NOTHING_KEPT, "unix", "=secret", NULL);
    struct visit visit = visit_to(&script, python, "secret");

    visit.allow_legacy = 0;
    assert_int_equal(connect_as(&visit, &connection), EACCES);
    python_says(&script, "refused");
    python_ends(&script);
}

/* It is refused in both roles where nobody allowed it. */
static void test_legacy_is_refused(void **state)
{
    size_t tried = 0;

    (void)state;
    FOR_EACH_PYTHON(python)
    {
        if (!is_legacy(python))
            continue;
        refuse_legacy_client(python);
        refuse_legacy_listener(python);
        tried++;
    }
    if (!tried) {
        print_message("SKIPPED: no Python before 3.12 to be refused\n");
        skip();
    }
}

/* --- half of a handshake ---------------------------------------------------------- */

/* Python welcomes whatever we say: what its own answer is worth, only we can tell. */
static const struct lie {
    const char *form;
    int allow_legacy;
    const char *to_client, *to_listener;
} lies[] = {
    {"right", 0, "#WELCOME#", "#WELCOME#"},
    {"wrong", 0, "#FAILURE#", "#FAILURE#"},
    {"wrong", 1, "#FAILURE#", "#FAILURE#"},
    {"other digest", 0, "#FAILURE#", "#FAILURE#"},
    {"legacy", 0, "#FAILURE#", "no answer"},
    {"legacy", 1, "#WELCOME#", "#WELCOME#"},
};
#define LIES (sizeof lies / sizeof *lies)

/* It never proves that we are who we say: nobody is let in. */
static void test_lying_clients(void **state)
{
    (void)state;
    for (size_t i = 0; i < python_count * LIES; i++) {
        const struct lie *lie = &lies[i % LIES];
        mp_listener *door;
        assert_int_equal(mp_listener_new(&door, NULL,
                                         MP_LISTENER_OPTIONS(
                                             KEY, .allow_legacy = lie->allow_legacy)),
                         0);
        struct script script =
            python_start(&pythons[i / LIES], SCRIPT, "lying_client", NOTHING_KEPT,
                         mp_listener_address(door), lie->form, NULL);
        wait_for_refusal(door);
        python_says(&script, lie->to_client);
        python_ends(&script);
        mp_listener_free(door);
    }
}

static void test_lying_listeners(void **state)
{
    (void)state;
    for (size_t i = 0; i < python_count * LIES; i++) {
        const struct lie *lie = &lies[i % LIES];
        bool right = strcmp(lie->to_listener, "#WELCOME#") == 0;
        mp_connection *connection = NULL;
        struct script script =
            python_start(&pythons[i / LIES], SCRIPT, "lying_listener", NOTHING_KEPT,
                         lie->form, NULL);
        struct visit visit = visit_to(&script, &pythons[i / LIES], "secret");
        visit.allow_legacy = lie->allow_legacy;
        assert_int_equal(connect_as(&visit, &connection), right ? 0 : EACCES);
        mp_connection_free(connection);
        python_says(&script, lie->to_listener);
        python_ends(&script);
    }
}

int main(void)
{
    const struct CMUnitTest interop_listeners[] = {
        TEST(test_clients),
        TEST(test_only_the_client_has_a_key),
        TEST(test_path),
        TEST(test_listeners),
        TEST(test_only_the_listener_has_a_key),
        TEST(test_patient_listener),
        TEST(test_digests),
        TEST(test_legacy_is_refused),
        TEST(test_lying_clients),
        TEST(test_lying_listeners),
    };

    return PYTHON_MAIN(306, interop_listeners);
}
