/* SPDX-License-Identifier: MIT */
/* error.c - what error numbers mean, in words. */
#include <errno.h>
#include <locale.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "mp/base.h"

static const struct {
    int error;
    const char *text;
} meanings[] = {
    {0, "no error"},
    {ETIMEDOUT, "it did not happen in time"},
    {ETIME, "the task took longer than its time limit"},
    {EPIPE, "it is closed, or the other end is gone"},
    {EMSGSIZE, "the buffer is too small for the message, which is kept"},
    {EPROTO, "the stream ended inside a message, or what came is none"},
    {ECANCELED, "it was cancelled, or the barrier is broken"},
    {EOWNERDEAD, "the process that held or ran it died"},
    {EPERM, "this process may not do that"},
    {EACCES, "no permission, or the other side did not prove that it holds the key"},
    {EOVERFLOW, "released too often, or the size does not fit"},
    {EBUSY, "it is still running"},
    {EALREADY, "it was started before"},
    {ECHILD, "it is not a child of this process"},
    {ESRCH, "it ended, but somebody else collected its exit status"},
    {EDEADLK, "it would wait for itself"},
    {EINVAL, "an argument makes no sense"},
    {ENOMEM, "there is not enough memory"},
    {EAGAIN, "there are too many processes, or too little of something else"},
    {EMFILE, "this process has too many open descriptors"},
    {ENFILE, "the system has too many open descriptors"},
};

/*
 * The locale "C", made at the first call and kept: strerror itself may share a buffer
 * between threads, and speaks the host's language.
 */
static locale_t plain_locale(void)
{
    static _Atomic(locale_t) kept;
    locale_t locale = atomic_load_explicit(&kept, memory_order_acquire);

    if (locale)
        return locale;
    locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);

    locale_t others = (locale_t)0;
    if (locale && !atomic_compare_exchange_strong(&kept, &others, locale)) {
        freelocale(locale);
        return others;
    }
    return locale;
}

const char *mp_strerror(int error)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
        if (meanings[i].error == error)
            return meanings[i].text;

    locale_t locale = plain_locale();
    const char *text = locale ? strerror_l(error, locale) : NULL;
    return text ? text : "unknown error";
}
