/* net/net.c - the house: starts and ends the loops and the pool, and counts who is in it. */
#include "net/net_int.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#define POOL_THREADS_USUAL 8

/* Files beside the sockets: the database, journals, segments. */
#define FILES_BESIDE_MAX 4096

static unsigned cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/* As many files as we may have: first with the hard limit moved too (root), else up to it. */
static void raise_file_limit(void)
{
    const rlim_t wanted = CONNECTIONS_MAX + FILES_BESIDE_MAX;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    struct rlimit all = {wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};

    if (setrlimit(RLIMIT_NOFILE, &all) == 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("net", "the limit of open files cannot be raised");
}

static enum err run_loops(struct net *n)
{
    enum err e = ERR_OK;
    sigset_t every, before;

    /* Signals belong to the main thread; a thread inherits the mask of who starts it. */
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    for (unsigned i = 0; i < n->loop_count && e == ERR_OK; i++)
        e = loop_run(n->loops[i]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e;
}

enum err net_start(struct net **out, unsigned loop_count, unsigned pool_count)
{
    const unsigned pool_max = pool_count ? pool_count : POOL_THREADS_USUAL;
    struct net *n = mem_new(sizeof *n);

    *out = NULL;
    signal(SIGPIPE, SIG_IGN); /* a peer that goes away is an error value, not a signal */
    raise_file_limit();
    pthread_mutex_init(&n->addresses_lock, NULL);
    n->addresses = map_new();
    n->loop_count = loop_count ? loop_count : cores();
    n->loops = mem_new(n->loop_count * sizeof(struct loop *));
    for (unsigned i = 0; i < n->loop_count; i++)
        n->loops[i] = loop_new(n, i);
    n->pool = crew_new("pool", &pool_max, 1);
    enum err e = run_loops(n);

    if (e != ERR_OK) {
        net_stop(n);
        return e;
    }
    *out = n;
    return ERR_OK;
}

void net_stop(struct net *n)
{
    if (n == NULL)
        return;
    assert(loop_here() == NULL);
    crew_stop(n->pool); /* first: its `done` calls need living loops */
    for (unsigned i = 0; i < n->loop_count; i++)
        if (n->loops[i]->started)
            loop_stop(n->loops[i]);
    for (unsigned i = 0; i < n->loop_count; i++)
        loop_join(n->loops[i]);
    for (unsigned i = 0; i < n->loop_count; i++)
        loop_free(n->loops[i]);
    crew_free(n->pool);
    map_free(n->addresses);
    pthread_mutex_destroy(&n->addresses_lock);
    free(n->loops);
    free(n);
}

void pool_run(struct loop *l, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    (void)crew_run(l->net->pool, 0, SIZE_MAX, l, work, done, ctx);
}

unsigned net_loop_count(const struct net *n)
{
    return n->loop_count;
}

struct loop *net_loop(struct net *n, unsigned index)
{
    assert(index < n->loop_count);
    return n->loops[index];
}

/* The bytes that tell one peer from another; empty for addresses without a limit. */
static struct bytes address_key(const struct address *a)
{
    if (address_is_loopback(a))
        return bytes_of(NULL, 0);
    if (a->socket.ss_family == AF_INET)
        return bytes_of(&((const struct sockaddr_in *)&a->socket)->sin_addr, 4);
    /* One home or one server has at least a /64 of IPv6: counting less would be no limit at all. */
    return bytes_of(&((const struct sockaddr_in6 *)&a->socket)->sin6_addr, 8);
}

bool connection_admit(struct net *n, const struct address *peer)
{
    struct bytes key = address_key(peer);
    bool admitted = true;

    if (atomic_fetch_add(&n->connections, 1) >= CONNECTIONS_MAX) {
        atomic_fetch_sub(&n->connections, 1);
        return false;
    }
    if (key.size == 0)
        return true;
    pthread_mutex_lock(&n->addresses_lock);
    uintptr_t count = (uintptr_t)map_get(n->addresses, key);

    if (count >= CONNECTIONS_PER_ADDRESS_MAX)
        admitted = false;
    else
        map_put(n->addresses, key, (void *)(count + 1));
    pthread_mutex_unlock(&n->addresses_lock);
    if (!admitted)
        atomic_fetch_sub(&n->connections, 1);
    return admitted;
}

void connection_leave(struct net *n, const struct address *peer)
{
    struct bytes key = address_key(peer);

    atomic_fetch_sub(&n->connections, 1);
    if (key.size == 0)
        return;
    pthread_mutex_lock(&n->addresses_lock);
    uintptr_t count = (uintptr_t)map_get(n->addresses, key);

    if (count <= 1)
        map_remove(n->addresses, key);
    else
        map_put(n->addresses, key, (void *)(count - 1));
    pthread_mutex_unlock(&n->addresses_lock);
}
