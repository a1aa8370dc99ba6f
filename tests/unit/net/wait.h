/* What tests of threads share: waiting for an event, never for a time; and plain blocking sockets. */
#ifndef MATINEE_UNIT_NET_WAIT_H
#define MATINEE_UNIT_NET_WAIT_H

#include "net/net.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Nothing in these tests takes long; who waits for so long waits for something that will not come. */
#define PATIENCE_S 20

static inline void wait_for(sem_t *event)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    assert_int_equal(sem_timedwait(event, &until), 0);
}

static inline int client_of(const struct address *at)
{
    int fd = socket(at->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {PATIENCE_S, 0};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at->socket, at->size), 0);
    return fd;
}

static inline void send_all(int fd, const void *at, size_t size)
{
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, (const char *)at + sent, size - sent, MSG_NOSIGNAL);

        assert_true(n > 0);
        sent += (size_t)n;
    }
}

static inline void send_text(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

/* Reads exactly `size` bytes. */
static inline void receive_all(int fd, void *at, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t n = recv(fd, (char *)at + got, size - got, 0);

        assert_true(n > 0);
        got += (size_t)n;
    }
}

/* Reads to the end; more than `room` is a failure. */
static inline size_t receive_to_end(int fd, void *at, size_t room)
{
    size_t got = 0;

    for (;;) {
        ssize_t n = recv(fd, (char *)at + got, room - got, 0);

        assert_true(n >= 0);
        if (n == 0)
            return got;
        got += (size_t)n;
        assert_true(got < room);
    }
}

#endif
