/* SPDX-License-Identifier: MIT */
/* handshake.h - the parts of fuzz_handshake. */
#ifndef FUZZ_HANDSHAKE_H
#define FUZZ_HANDSHAKE_H

#include "fuzz.h"
#include "ipc/auth.h"

/* Several sides, and an attacker who holds no key and carries all messages. */
void fuzz_messages(struct input *input);

/* Two sides step by step over sockets, with an attacker between them. */
void fuzz_steps(struct input *input);

/* An address as text. */
void fuzz_address(struct input *input);

/* What a side holds: one of two keys, a digest, whether it puts up with old Pythons. */
struct mp__auth_terms take_terms(struct input *input);

/* Whether the two hold the same key. */
bool have_same_key(const struct mp__auth_terms *one,
                   const struct mp__auth_terms *other);

#endif
