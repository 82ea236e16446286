/* SPDX-License-Identifier: MIT */
/* simple_queue.c - a queue with nothing to choose: an mp_queue under another name. */
#include <mp/simple_queue.h>

#include <errno.h>

#include <mp/queue.h>

static mp_queue *as_queue(const mp_simple_queue *queue)
{
    return (mp_queue *)(uintptr_t)queue;
}

int mp_simple_queue_new(mp_simple_queue **out)
{
    mp_queue *queue;
    int err = out ? mp_queue_new(&queue, NULL) : EINVAL;

    if (!err)
        *out = (mp_simple_queue *)(void *)queue;
    return err;
}

void mp_simple_queue_free(mp_simple_queue *queue)
{
    mp_queue_free(as_queue(queue));
}

int mp_simple_queue_put(mp_simple_queue *queue, const void *message, size_t size)
{
    return mp_queue_put(as_queue(queue), message, size, MP_FOREVER);
}

int mp_simple_queue_get(mp_simple_queue *queue, void *buffer, size_t capacity, size_t *size)
{
    return mp_queue_get(as_queue(queue), buffer, capacity, size, MP_FOREVER);
}

bool mp_simple_queue_empty(const mp_simple_queue *queue)
{
    return mp_queue_empty(as_queue(queue));
}

int mp_simple_queue_close(mp_simple_queue *queue)
{
    return mp_queue_close(as_queue(queue));
}
