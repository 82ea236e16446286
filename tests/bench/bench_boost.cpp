/* SPDX-License-Identifier: MIT */
/*
 * bench_boost.cpp - Boost.Interprocess as a yardstick: the only C++ in the tree, and
 * compiled only where Boost's headers are found.
 *
 * What Boost throws ends the contestant, who then counts as failed: no function here
 * lets an exception out into C.
 */
#include "bench_message.h"
#include "bench_sync.h"

#include <cerrno>
#include <new>

#include <sys/mman.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/interprocess_recursive_mutex.hpp>
#include <boost/interprocess/sync/interprocess_semaphore.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>

namespace
{

namespace ipc = boost::interprocess;

/* As bench_shared, which bench.h declares for C. */
template <class T, class... Initial> int make(void **out, Initial... initial) noexcept
{
    void *memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return errno;
    *out = new (memory) T(initial...);
    return 0;
}

template <class Mutex> int make_mutex(void **out) noexcept
{
    return make<Mutex>(out);
}

template <class Mutex> int lock(void *mutex) noexcept
{
    static_cast<Mutex *>(mutex)->lock();
    return 0;
}

template <class Mutex> int unlock(void *mutex) noexcept
{
    static_cast<Mutex *>(mutex)->unlock();
    return 0;
}

int make_semaphore(void **out) noexcept
{
    return make<ipc::interprocess_semaphore>(out, 1U);
}

int wait_semaphore(void *semaphore) noexcept
{
    static_cast<ipc::interprocess_semaphore *>(semaphore)->wait();
    return 0;
}

int post_semaphore(void *semaphore) noexcept
{
    static_cast<ipc::interprocess_semaphore *>(semaphore)->post();
    return 0;
}

int lock_sharable(void *mutex) noexcept
{
    static_cast<ipc::interprocess_sharable_mutex *>(mutex)->lock_sharable();
    return 0;
}

int unlock_sharable(void *mutex) noexcept
{
    static_cast<ipc::interprocess_sharable_mutex *>(mutex)->unlock_sharable();
    return 0;
}

struct condition {
    ipc::interprocess_mutex mutex;
    ipc::interprocess_condition changed;
};

int make_condition(void **out) noexcept
{
    return make<condition>(out);
}

int acquire_condition(void *guarded) noexcept
{
    static_cast<condition *>(guarded)->mutex.lock();
    return 0;
}

int release_condition(void *guarded) noexcept
{
    static_cast<condition *>(guarded)->mutex.unlock();
    return 0;
}

/* The caller holds the mutex before and after: the guard only passes it on. */
int wait_condition(void *guarded) noexcept
{
    condition *self = static_cast<condition *>(guarded);
    ipc::scoped_lock<ipc::interprocess_mutex> guard(self->mutex, ipc::accept_ownership);

    self->changed.wait(guard);
    guard.release();
    return 0;
}

int notify_condition(void *guarded) noexcept
{
    static_cast<condition *>(guarded)->changed.notify_one();
    return 0;
}

/* Its name is taken away at once: those who are forked later have it. */
int make_message_queue(void **channel, const bench_cargo *cargo) noexcept
{
    char name[64];

    bench_channel_name(name, sizeof(name), "");
    *channel =
        new ipc::message_queue(ipc::create_only, name, cargo->room, cargo->size);
    ipc::message_queue::remove(name);
    return 0;
}

int send_message(void *channel, const void *message, size_t size, size_t) noexcept
{
    static_cast<ipc::message_queue *>(channel)->send(message, size, 0);
    return 0;
}

int receive_message(void *channel, void *message, size_t size, size_t,
                    size_t *count) noexcept
{
    ipc::message_queue::size_type received;
    unsigned priority;

    static_cast<ipc::message_queue *>(channel)->receive(message, size, received,
                                                        priority);
    *count = 1;
    return received == size ? 0 : EPROTO;
}

} // namespace

const bench_lock_kind bench_boost_mutex = {make_mutex<ipc::interprocess_mutex>,
                                           lock<ipc::interprocess_mutex>,
                                           unlock<ipc::interprocess_mutex>};
const bench_lock_kind bench_boost_recursive_mutex = {
    make_mutex<ipc::interprocess_recursive_mutex>,
    lock<ipc::interprocess_recursive_mutex>, unlock<ipc::interprocess_recursive_mutex>};
const bench_lock_kind bench_boost_semaphore = {make_semaphore, wait_semaphore,
                                               post_semaphore};
const bench_lock_kind bench_boost_sharable_read = {
    make_mutex<ipc::interprocess_sharable_mutex>, lock_sharable, unlock_sharable};
const bench_lock_kind bench_boost_sharable_write = {
    make_mutex<ipc::interprocess_sharable_mutex>,
    lock<ipc::interprocess_sharable_mutex>, unlock<ipc::interprocess_sharable_mutex>};
const bench_condition_kind bench_boost_condition = {make_condition, acquire_condition,
                                                    release_condition, wait_condition,
                                                    notify_condition};
const bench_transport bench_boost_message_queue = {make_message_queue, nullptr,
                                                   send_message, receive_message};
