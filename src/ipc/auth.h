/* SPDX-License-Identifier: MIT */
/*
 * auth.h - how both ends of a connection prove that they hold the same key, as Python 3.12
 * and later do it; message in, message out, without any descriptor.
 *
 *   who delivers                                who answers
 *   "#CHALLENGE#" M   ----------------------->
 *                     <-----------------------  "{sha256}" HMAC-SHA256(key, M)
 *   "#WELCOME#" or "#FAILURE#"  ------------->
 *
 * where M is "{sha256}" and 40 random bytes.  Then the two change roles.  A listener
 * delivers first, a client answers first: so a listener gives away no HMAC to whoever has
 * not proved itself.
 *
 * Python before 3.12 sends an M of 20 bytes without a name, and answers with the 16 bytes
 * of HMAC-MD5: taken and given only where `legacy` is asked for.
 *
 * Stricter than Python's: who delivers takes an answer by no other digest than the one it
 * named, and nobody answers its own challenge.  And of what a client of libmp delivers the
 * last 16 bytes are a mark, which looks random to all who don't hold the key; clients do
 * not answer a challenge that bears it.  Or else one without the key could play the
 * listener for two clients at once, and have each answer the other's challenge.
 */
#ifndef MP_IPC_AUTH_H
#define MP_IPC_AUTH_H

#include "ipc/digest.h"

enum {
    MP__AUTH_LIMIT = 256, /* bytes of the longest message that is taken, as Python's */
    MP__AUTH_RANDOM = 40, /* bytes, as Python's */
    MP__CHALLENGE_MAX = MP__DIGEST_NAME_MAX + 2 + MP__AUTH_RANDOM,
    MP__AUTH_SENT_MAX = 11 + MP__CHALLENGE_MAX
};

/* What one's own side holds, and insists on. */
struct mp__auth_terms {
    const unsigned char *key; /* NULL: there is none, and nothing to prove */
    size_t key_size; /* may be 0 */
    const struct mp__digest *digest;
    bool legacy;
};

/* Read them from options: EINVAL if the digest is none, or a key is NULL and has a size. */
int mp__auth_terms_read(struct mp__auth_terms *terms, const void *key, size_t key_size,
                        const char *digest, int allow_legacy);

enum mp__auth_role {
    MP__AUTH_LISTENER, /* delivers, then answers */
    MP__AUTH_CLIENT,   /* answers, then delivers */
    MP__AUTH_DELIVER,  /* one half alone */
    MP__AUTH_ANSWER
};

enum mp__auth_stage {
    MP__AUTH_ANSWER_DUE, /* to what was delivered */
    MP__AUTH_CHALLENGE_DUE,
    MP__AUTH_WELCOME_DUE, /* to what was answered */
    MP__AUTH_DONE,
    MP__AUTH_FAILED
};

struct mp__auth {
    const struct mp__auth_terms *terms;
    enum mp__auth_role role;
    enum mp__auth_stage stage;
    size_t challenge_size; /* 0: nothing was delivered yet */
    unsigned char challenge[MP__CHALLENGE_MAX];
};

/* What is to be sent to the other side; nothing if the size is 0. */
struct mp__auth_message {
    size_t size;
    unsigned char bytes[MP__AUTH_SENT_MAX];
};

/* Begin; `terms` is kept.  0, or why there are no random bytes. */
int mp__auth_start(struct mp__auth *auth, enum mp__auth_role role,
                   const struct mp__auth_terms *terms, struct mp__auth_message *send);

/*
 * Take a message of the other side's.  `send` is to be sent whatever is returned: 0, also
 * if `auth->stage` is now MP__AUTH_DONE; EACCES if the other side did not prove itself or
 * was not content; or why there are no random bytes.
 */
int mp__auth_take(struct mp__auth *auth, const void *message, size_t size,
                  struct mp__auth_message *send);

#endif
