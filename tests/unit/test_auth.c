/* SPDX-License-Identifier: MIT */
/* test_auth.c - the handshake, message by message: what is proved, and what is refused.
 */
#include "support/test.h"

#include "ipc/auth.h"

static const char *const names[] = {"sha256", "sha384", "sha3_256", "sha3_384", "md5"};

enum { NAMES = sizeof names / sizeof *names };

static struct mp__auth_terms terms_of(const char *key, const char *digest, int legacy)
{
    struct mp__auth_terms terms;

    assert_int_equal(mp__auth_terms_read(&terms, key, strlen(key), digest, legacy), 0);
    return terms;
}

/* A side of a handshake, and what it has just sent. */
struct side {
    struct mp__auth_terms terms;
    struct mp__auth auth;
    struct mp__auth_message sent;
    int err;
};

static void begin(struct side *side, enum mp__auth_role role, const char *key,
                  const char *digest, int legacy)
{
    side->terms = terms_of(key, digest, legacy);
    side->err = mp__auth_start(&side->auth, role, &side->terms, &side->sent);
    assert_int_equal(side->err, 0);
}

/* Spoil the message `number` of those that travel, if there is one. */
typedef void spoil_fn(struct mp__auth_message *message, int number, void *arg);

/* Let two sides talk until neither sends: returns how many messages travelled. */
static int talk(struct side *one, struct side *other, spoil_fn *spoil, void *arg)
{
    int number = 0;

    while (one->sent.size || other->sent.size) {
        struct side *from = one->sent.size ? one : other,
                    *to = from == one ? other : one;
        struct mp__auth_message message = from->sent;

        if (spoil)
            spoil(&message, number, arg);
        number++;
        from->sent.size = 0;
        to->err = mp__auth_take(&to->auth, message.bytes, message.size, &to->sent);
        assert_true(to->sent.size <= sizeof to->sent.bytes);
    }
    return number;
}

static bool is_through(const struct side *side)
{
    return side->auth.stage == MP__AUTH_DONE && !side->err;
}

static void test_both_prove(void **state)
{
    static char long_key[301];
    const char *const keys[] = {"", "k", "secret", long_key};
    struct side listener, client;

    (void)state;
    memset(long_key, 'x', sizeof long_key - 1);
    for (int i = 0; i < 4 * NAMES * NAMES; i++) {
        const char *key = keys[i % 4];
        begin(&listener, MP__AUTH_LISTENER, key, names[i / 4 % NAMES], i % 3 == 0);
        begin(&client, MP__AUTH_CLIENT, key, names[i / 4 / NAMES], i % 2);
        assert_int_equal(talk(&listener, &client, NULL, NULL), 6);
        assert_true(is_through(&listener));
        assert_true(is_through(&client));
    }
    begin(&listener, MP__AUTH_DELIVER, "secret", NULL, 0);
    begin(&client, MP__AUTH_ANSWER, "secret", NULL, 0);
    assert_int_equal(talk(&listener, &client, NULL, NULL), 3);
    assert_true(is_through(&listener));
    assert_true(is_through(&client));
}

static void test_wrong_key(void **state)
{
    const char *const keys[] = {"secret", "", "Secret", "secret ", "secre"};
    struct side listener, client;

    (void)state;
    for (int i = 1; i < 5 * 2; i++) {
        if (i == 5)
            continue;
        begin(&listener, MP__AUTH_LISTENER, keys[i < 5 ? 0 : i - 5], NULL, 1);
        begin(&client, MP__AUTH_CLIENT, keys[i < 5 ? i : 0], NULL, 1);
        assert_int_equal(talk(&listener, &client, NULL, NULL), 3);
        assert_int_equal(listener.err, EACCES);
        assert_int_equal(client.err, EACCES); /* it was told */
    }
}

static void test_terms(void **state)
{
    struct mp__auth_terms terms;

    (void)state;
    assert_int_equal(mp__auth_terms_read(&terms, NULL, 1, NULL, 0), EINVAL);
    assert_int_equal(mp__auth_terms_read(&terms, "k", 1, "sha1", 0), EINVAL);
    assert_int_equal(mp__auth_terms_read(&terms, "k", 1, "", 0), EINVAL);
    assert_int_equal(mp__auth_terms_read(&terms, NULL, 0, NULL, 0), 0);
    assert_null(terms.key);
    assert_int_equal(mp__auth_terms_read(&terms, "", 0, "md5", 1), 0);
    assert_non_null(terms.key);
    assert_ptr_equal(terms.digest, &mp__md5);
}

/* What Python 3.12 and 3.8 answered. */
static void test_pythons_vectors(void **state)
{
    static const unsigned char modern[] = {
        0x68, 0x2b, 0x39, 0xff, 0x52, 0xb5, 0x75, 0x05, 0xcd, 0xf0, 0x45,
        0x5f, 0x99, 0x43, 0x16, 0x51, 0xd3, 0x0e, 0xa8, 0x7e, 0x7c, 0x3e,
        0x3e, 0xa5, 0x43, 0x8b, 0xa6, 0x67, 0x19, 0xb6, 0x4a, 0xf2};
    static const unsigned char legacy[] = {0x7a, 0xee, 0xb2, 0x32, 0x01, 0x89,
                                           0x05, 0x6c, 0xa8, 0xee, 0x80, 0x08,
                                           0xdd, 0x4b, 0xa9, 0x34};
    unsigned char challenge[59] = "#CHALLENGE#{sha256}", old[31] = "#CHALLENGE#";
    struct side side;

    (void)state;
    for (int i = 0; i < 40; i++)
        challenge[19 + i] = (unsigned char)i;
    for (int i = 0; i < 20; i++)
        old[11 + i] = (unsigned char)i;
    for (int allow = 0; allow < 2; allow++) {
        begin(&side, MP__AUTH_CLIENT, "supersecret", NULL, allow);
        assert_int_equal(mp__auth_take(&side.auth, challenge, 59, &side.sent), 0);
        assert_int_equal(side.sent.size, 8 + 32);
        assert_memory_equal(side.sent.bytes, "{sha256}", 8);
        assert_memory_equal(side.sent.bytes + 8, modern, 32);

        begin(&side, MP__AUTH_CLIENT, "supersecret", NULL, allow);
        assert_int_equal(mp__auth_take(&side.auth, old, 31, &side.sent),
                         allow ? 0 : EACCES);
        assert_int_equal(side.sent.size, allow ? 16 : 0);
        if (allow)
            assert_memory_equal(side.sent.bytes, legacy, 16);
    }
}

/* Who is asked for sha256 may not answer by anything weaker, though it holds the key.
 */
static void test_downgrade(void **state)
{
    struct side side;
    unsigned char answer[64];

    (void)state;
    for (int form = 0; form < 4; form++) {
        bool legacy = form % 2, named = form / 2;
        size_t name = named ? 5 : 0;

        begin(&side, MP__AUTH_LISTENER, "secret", "sha256", legacy);
        memcpy(answer, "{md5}", 5);
        mp__hmac(&mp__md5, "secret", 6, side.auth.challenge, side.auth.challenge_size,
                 answer + name);
        int err = mp__auth_take(&side.auth, answer, name + 16, &side.sent);
        assert_int_equal(err, legacy && !named ? 0 : EACCES);
        assert_memory_equal(side.sent.bytes, err ? "#FAILURE#" : "#WELCOME#", 9);
    }
}

static void flip_bit(struct mp__auth_message *message, int number, void *arg)
{
    size_t *place = arg; /* of the message, of the bit, and whether there was one */

    if (number != (int)place[0] || place[1] / 8 >= message->size)
        return;
    message->bytes[place[1] / 8] ^= (unsigned char)(1 << place[1] % 8);
    place[2] = 1;
}

/* No message of six may have any bit wrong: never are both content. */
static void test_every_bit(void **state)
{
    struct side listener, client;
    size_t flipped = 0;

    (void)state;
    for (size_t number = 0; number < 6; number++) {
        for (size_t bit = 0;; bit++) {
            size_t place[3] = {number, bit, 0};
            begin(&listener, MP__AUTH_LISTENER, "secret", NULL, (int)(bit % 2));
            begin(&client, MP__AUTH_CLIENT, "secret", NULL, (int)(bit / 2 % 2));
            talk(&listener, &client, flip_bit, place);
            if (!place[2])
                break;
            assert_false(is_through(&listener) && is_through(&client));
            flipped++;
        }
    }
    assert_int_equal(flipped, 8 * 2 * (59 + 40 + 9));
}

static void resize(struct mp__auth_message *message, int number, void *arg)
{
    int *place =
        arg; /* of the message, its new size, and whether that is another one */

    if (number != place[0])
        return;
    place[2] = message->size != (size_t)place[1];
    message->size = (size_t)place[1];
}

static void test_every_size(void **state)
{
    struct side listener, client;

    (void)state;
    for (int number = 0; number < 6; number++) {
        for (int size = 0; size <= MP__AUTH_SENT_MAX; size++) {
            int place[3] = {number, size, 0};
            begin(&listener, MP__AUTH_LISTENER, "secret", NULL, size % 2);
            begin(&client, MP__AUTH_CLIENT, "secret", NULL, number % 2);
            talk(&listener, &client, resize, place);
            if (place[2])
                assert_false(is_through(&listener) && is_through(&client));
        }
    }
}

/* Nobody answers its own challenge. */
static void test_reflection(void **state)
{
    struct side listener, client;
    struct mp__auth_message own, challenge;

    (void)state;
    begin(&listener, MP__AUTH_LISTENER, "secret", NULL, 0);
    begin(&client, MP__AUTH_CLIENT, "secret", NULL, 0);
    own = listener.sent;
    assert_int_equal(mp__auth_take(&client.auth, own.bytes, own.size, &client.sent), 0);
    assert_int_equal(mp__auth_take(&listener.auth, client.sent.bytes, client.sent.size,
                                   &listener.sent),
                     0);
    assert_int_equal(mp__auth_take(&listener.auth, own.bytes, own.size, &challenge),
                     EACCES);
    assert_int_equal(challenge.size, 0);
}

/* Bring a client to where it delivers its own challenge. */
static void let_deliver(struct side *client, const char *key)
{
    struct side listener;

    begin(&listener, MP__AUTH_LISTENER, key, NULL, 0);
    begin(client, MP__AUTH_CLIENT, key, NULL, 0);
    assert_int_equal(mp__auth_take(&client->auth, listener.sent.bytes,
                                   listener.sent.size, &client->sent),
                     0);
    assert_int_equal(mp__auth_take(&client->auth, "#WELCOME#", 9, &client->sent), 0);
    assert_int_equal(client->sent.size, 59);
}

/* One without the key, to whom two clients connect, can't use the one for the other. */
static void test_two_clients(void **state)
{
    struct side asks, answers;

    (void)state;
    let_deliver(&asks, "secret");
    begin(&answers, MP__AUTH_CLIENT, "secret", NULL, 1);
    assert_int_equal(
        mp__auth_take(&answers.auth, asks.sent.bytes, asks.sent.size, &answers.sent),
        EACCES);
    assert_int_equal(answers.sent.size, 0);
    /* What bears no mark of its own key a client answers. */
    let_deliver(&asks, "another");
    begin(&answers, MP__AUTH_CLIENT, "secret", NULL, 0);
    assert_int_equal(
        mp__auth_take(&answers.auth, asks.sent.bytes, asks.sent.size, &answers.sent),
        0);
}

/* A replay of what another listener was answered. */
static void test_replay(void **state)
{
    struct side first, second, client;

    (void)state;
    begin(&first, MP__AUTH_LISTENER, "secret", NULL, 0);
    begin(&second, MP__AUTH_LISTENER, "secret", NULL, 0);
    begin(&client, MP__AUTH_CLIENT, "secret", NULL, 0);
    assert_memory_not_equal(first.sent.bytes, second.sent.bytes, 59);
    assert_int_equal(
        mp__auth_take(&client.auth, first.sent.bytes, first.sent.size, &client.sent),
        0);
    assert_int_equal(
        mp__auth_take(&second.auth, client.sent.bytes, client.sent.size, &second.sent),
        EACCES);
    assert_memory_equal(second.sent.bytes, "#FAILURE#", 9);
    /* Who has failed once is not given a second chance. */
    assert_int_equal(
        mp__auth_take(&second.auth, client.sent.bytes, client.sent.size, &second.sent),
        EACCES);
    assert_int_equal(second.sent.size, 0);
}

static const char *const pieces[] = {
    "#CHALLENGE#", "#WELCOME#", "#FAILURE#", "{sha256}",   "{sha3_384}", "{md5}",
    "{",           "}",         "{}",        "{sha1}",     "#",          "",
    "{sha384}",    "{sha256",   "sha256}",   "{sha3_256}", "{SHA256}",   "{sha512}"};

/* Messages of words that belong there and bytes that do not: none of them proves it. */
static void test_garbage(void **state)
{
    enum { ROUNDS = 200000 };
    uint64_t seed = 88172645463325252u;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char message[MP__AUTH_LIMIT];
        struct side side;
        size_t size = 0;

        for (uint64_t left = next_random(&seed) % 4; left; left--) {
            const char *piece =
                pieces[next_random(&seed) % (sizeof pieces / sizeof *pieces)];
            size_t length = strlen(piece);
            memcpy(message + size, piece, length);
            size += length;
        }
        for (size_t left = (size_t)next_random(&seed) % 64; left; left--)
            message[size++] = (unsigned char)next_random(&seed);
        begin(&side, (enum mp__auth_role)(round % 4), "secret", names[round % NAMES],
              round % 3 == 0);
        /* To the end of the memory that belongs to it, for those who watch over that.
         */
        unsigned char *exact = malloc(size ? size : 1);
        assert_non_null(exact);
        memcpy(exact, message, size);
        for (int step = 0; step < 3; step++)
            (void)mp__auth_take(&side.auth, exact, size, &side.sent);
        assert_int_not_equal(side.auth.stage, MP__AUTH_DONE);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest auth[] = {
        TEST(test_both_prove),      TEST(test_wrong_key),  TEST(test_terms),
        TEST(test_pythons_vectors), TEST(test_downgrade),  TEST(test_every_bit),
        TEST(test_every_size),      TEST(test_reflection), TEST(test_two_clients),
        TEST(test_replay),          TEST(test_garbage),
    };

    return TEST_MAIN(auth);
}
