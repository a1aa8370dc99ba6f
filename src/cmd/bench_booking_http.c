/* cmd/bench_booking_http.c - the same market through the front door: a `matinee serve` of its own, and clients on keep-alive
 * connections under one epoll, each asking again as soon as it has its answer. Server and clients share the machine. */
#include "cmd/bench_booking_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"

#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 65536
#define REQUEST_ROOM     2048
#define EVENTS           256
/* No answer for so long: the server is gone. */
#define PATIENCE_MS 20000

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench booking: %s\n", what);
    return false;
}

/* --- the server -------------------------------------------------------------------------------------- */

static void run_server(const char *program, const char *data, const char *database, int out)
{
    char *words[] = {(char *)(uintptr_t)program,
                     "serve",
                     "--data",
                     (char *)(uintptr_t)data,
                     "--http",
                     "127.0.0.1:0",
                     "--rtmp",
                     "127.0.0.1:0",
                     "--ladder",
                     "none",
                     "--workers",
                     "0",
                     database != NULL ? "--database" : NULL,
                     (char *)(uintptr_t)database,
                     NULL};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, 1);
    dup2(quiet, 2);
    execv(program, words);
    _exit(127);
}

bool market_house_open(struct market_house *h, const char *folder, const char *database)
{
    char *data = mem_printf("%s/house", folder), *token = mem_printf("%s/house/admin.token", folder),
         line[512];
    int out[2] = {-1, -1};
    FILE *said = NULL, *f = NULL;
    bool ready = false;

    *h = (struct market_house){.pid = -1};
    if (pipe2(out, O_CLOEXEC) != 0 || (h->pid = fork()) < 0)
        goto out;
    if (h->pid == 0)
        run_server("/proc/self/exe", data, database, out[1]);
    close(out[1]);
    said = fdopen(out[0], "r");
    while (said != NULL && !ready && fgets(line, sizeof line, said) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "http http://", 12) == 0)
            snprintf(h->http, sizeof h->http, "%.60s", line + 12);
        ready = strcmp(line, "ready") == 0;
    }
    f = fopen(token, "r");
    ready = ready && f != NULL && fgets(h->token, sizeof h->token, f) != NULL;
    h->token[strcspn(h->token, "\n")] = '\0';
out:
    if (said != NULL)
        fclose(said);
    if (f != NULL)
        fclose(f);
    free(data);
    free(token);
    return ready || failed("matinee serve did not start");
}

void market_house_close(struct market_house *h)
{
    if (h->pid <= 0)
        return;
    kill(h->pid, SIGTERM);
    waitpid(h->pid, NULL, 0);
    h->pid = -1;
}

/* --- a client ---------------------------------------------------------------------------------------- */

struct asker {
    int fd;
    unsigned number, calls, seed;
    int64_t began_us;
    size_t size; /* of what has come of the answer */
    char answer[4096];
};

struct crowd {
    const struct market *market;
    const char *http;
    char inventory[ULID_TEXT_SIZE];
    struct market_result *result;
    uint32_t *took_us;
    size_t took_count, took_room, under_way;
    int64_t end_us;
};

static int open_connection(const char *http)
{
    struct address at;
    int fd;

    if (!address_parse(http, &at) || (fd = socket(at.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&at.socket, at.size) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static bool send_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, text, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        text += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool ask(struct crowd *c, struct asker *a)
{
    char body[1024], request[REQUEST_ROOM], key[16];
    unsigned units[MARKET_WANTS_MAX];
    size_t count = market_wants(c->market, &a->seed, units), at = 0;
    int size;

    at += (size_t)snprintf(body, sizeof body, "{\"customer\":\"somebody\",\"units\":[");
    for (size_t i = 0; i < count; i++) {
        market_key(key, units[i]);
        at += (size_t)snprintf(body + at, sizeof body - at, "%s{\"key\":\"%s\",\"quantity\":1}",
                               i > 0 ? "," : "", key);
    }
    at += (size_t)snprintf(body + at, sizeof body - at, "]}");
    size = snprintf(
        request, sizeof request,
        "POST /api/v1/inventories/%s/reservations HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: client-%u-%u\r\nContent-Length: %zu\r\n\r\n%s",
        c->inventory, c->http, a->number, a->calls++, at, body);
    a->size = 0;
    a->began_us = clock_mono_us();
    return send_all(a->fd, request, (size_t)size);
}

/* Whether the answer is whole. */
static bool whole(const struct asker *a)
{
    const char *end = strstr(a->answer, "\r\n\r\n"), *length = strcasestr(a->answer, "\r\ncontent-length:");

    return end != NULL && length != NULL && length < end &&
           a->size >= (size_t)(end + 4 - a->answer) + strtoul(length + 17, NULL, 10);
}

static void note(struct crowd *c, const struct asker *a)
{
    if (strncmp(a->answer, "HTTP/1.1 201 ", 13) != 0) {
        c->result->refused++;
        return;
    }
    if (c->took_count == c->took_room) {
        c->took_room = c->took_room ? 2 * c->took_room : 65536;
        c->took_us = mem_resize(c->took_us, c->took_room * sizeof *c->took_us);
    }
    c->took_us[c->took_count++] = (uint32_t)(clock_mono_us() - a->began_us);
}

/* Takes what has come; a whole answer is followed by the next question. */
static bool take(struct crowd *c, struct asker *a)
{
    ssize_t got = recv(a->fd, a->answer + a->size, sizeof a->answer - 1 - a->size, MSG_DONTWAIT);

    if (got <= 0)
        return failed("a connection ended");
    a->size += (size_t)got;
    a->answer[a->size] = '\0';
    if (!whole(a))
        return true;
    note(c, a);
    if (clock_mono_us() < c->end_us)
        return ask(c, a) || failed("a connection ended");
    c->under_way--;
    return true;
}

static bool drive(struct crowd *c, struct asker *askers)
{
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(EPOLL_CLOEXEC);
    bool good = poll >= 0;

    for (unsigned i = 0; i < c->market->clients && good; i++) {
        askers[i] = (struct asker){.fd = open_connection(c->http), .number = i, .seed = i + 1};
        events[0] = (struct epoll_event){.events = EPOLLIN, .data.ptr = &askers[i]};
        good = askers[i].fd >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, askers[i].fd, events) == 0 &&
               ask(c, &askers[i]);
        c->under_way += good;
    }
    while (good && c->under_way > 0) {
        int count = epoll_wait(poll, events, EVENTS, PATIENCE_MS);

        good = count > 0 || failed("the server does not answer");
        for (int i = 0; i < count && good; i++)
            good = take(c, events[i].data.ptr);
    }
    for (unsigned i = 0; i < c->market->clients; i++)
        if (askers[i].fd > 0)
            close(askers[i].fd);
    if (poll >= 0)
        close(poll);
    return good;
}

/* --- the inventory ----------------------------------------------------------------------------------- */

static json_t *plan_of(enum booking_locking locking, const struct market *m)
{
    json_t *units = json_array();
    char key[16];

    for (unsigned i = 0; i < market_units(m); i++) {
        market_key(key, i);
        json_array_append_new(units, json_pack("{s:s,s:i}", "key", key, "capacity", UNIT_CAPACITY_MAX));
    }
    return json_pack("{s:s,s:s,s:i,s:o}", "name", "benchmark", "locking", booking_locking_name(locking),
                     "holdSeconds", HOLD_SECONDS_MAX, "units", units);
}

static bool make(const struct market_house *h, enum booking_locking locking, struct crowd *c)
{
    json_t *plan = plan_of(locking, c->market), *made = NULL;
    char *body = json_dumps(plan, JSON_COMPACT);
    char *request =
        mem_printf("POST /api/v1/inventories HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
                   "Content-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                   h->http, h->token, strlen(body), body);
    char *answer = mem_new(ANSWER_BYTES_MAX);
    int fd = open_connection(h->http);
    size_t size = 0;
    ssize_t got;

    if (fd >= 0 && send_all(fd, request, strlen(request)))
        while (size < ANSWER_BYTES_MAX - 1 &&
               (got = recv(fd, answer + size, ANSWER_BYTES_MAX - 1 - size, 0)) > 0)
            size += (size_t)got;
    if (strstr(answer, "\r\n\r\n") != NULL)
        made = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL);
    if (json_string_value(json_object_get(made, "id")) != NULL)
        snprintf(c->inventory, sizeof c->inventory, "%s", json_string_value(json_object_get(made, "id")));
    if (fd >= 0)
        close(fd);
    json_decref(made);
    json_decref(plan);
    free(answer);
    free(request);
    free(body);
    return c->inventory[0] != '\0' || failed("matinee made no inventory");
}

bool market_http(const struct market_house *h, enum booking_locking locking, const struct market *m,
                 struct market_result *out)
{
    struct asker *askers = mem_new(m->clients * sizeof *askers);
    struct crowd c = {.market = m, .http = h->http, .result = out};
    int64_t began_us;
    bool good;

    *out = (struct market_result){0};
    if ((good = make(h, locking, &c))) {
        began_us = clock_mono_us();
        c.end_us = began_us + (int64_t)(m->seconds * 1e6);
        good = drive(&c, askers);
        market_tell(out, c.took_us, c.took_count, (double)(clock_mono_us() - began_us) / 1e6);
    }
    free(c.took_us);
    free(askers);
    return good;
}
