/* cmd/bench_house.c - a `matinee serve` under measurement, and calls to it; see bench_house_int.h. */
#include "cmd/bench_house_int.h"

#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 65536
#define WORDS_MAX        32

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench: %s\n", what);
    return false;
}

/* --- starting ---------------------------------------------------------------------------------------- */

static void run_server(const char *data, const char *const *more, int out)
{
    const char *words[WORDS_MAX] = {"/proc/self/exe", "serve",       "--data",    data,
                                    "--http",         "127.0.0.1:0", "--rtmp",    "127.0.0.1:0",
                                    "--ladder",       "none",        "--workers", "0"};
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    size_t count = 12;

    while (*more != NULL && count < WORDS_MAX - 1)
        words[count++] = *more++;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, 1);
    dup2(quiet, 2);
    execv(words[0], (char **)(uintptr_t)words);
    _exit(127);
}

static void keep_address(const char *line, const char *begin, char out[64])
{
    size_t size = strlen(begin);

    if (strncmp(line, begin, size) == 0)
        snprintf(out, 64, "%.*s", (int)strcspn(line + size, "/"), line + size);
}

/* Reads what the server says until it is ready. */
static bool hear(struct bench_house *h, int from)
{
    FILE *said = fdopen(from, "r");
    bool ready = false;
    char line[512];

    while (said != NULL && !ready && fgets(line, sizeof line, said) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        keep_address(line, "http http://", h->http);
        keep_address(line, "rtmp rtmp://", h->rtmp);
        ready = strcmp(line, "ready") == 0;
    }
    if (said != NULL)
        fclose(said);
    return ready;
}

static bool read_token(struct bench_house *h, const char *data)
{
    char *path = mem_printf("%s/admin.token", data);
    FILE *f = fopen(path, "r");
    bool good = f != NULL && fgets(h->token, sizeof h->token, f) != NULL;

    h->token[strcspn(h->token, "\n")] = '\0';
    if (f != NULL)
        fclose(f);
    free(path);
    return good;
}

bool bench_house_open(struct bench_house *h, const char *folder, const char *const *words)
{
    char *data = mem_printf("%s/house", folder);
    int out[2] = {-1, -1};
    bool ready = false;

    *h = (struct bench_house){.pid = -1};
    if (pipe2(out, O_CLOEXEC) == 0 && (h->pid = fork()) == 0)
        run_server(data, words, out[1]);
    if (h->pid > 0) {
        close(out[1]);
        ready = hear(h, out[0]) && read_token(h, data);
    }
    free(data);
    return ready || failed("matinee serve did not start");
}

void bench_house_close(struct bench_house *h)
{
    if (h->pid <= 0)
        return;
    kill(h->pid, SIGTERM);
    waitpid(h->pid, NULL, 0);
    h->pid = -1;
}

/* --- calls ------------------------------------------------------------------------------------------- */

json_t *bench_house_call(const struct bench_house *h, const char *method, const char *path, json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : mem_string("");
    char *request = mem_printf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s"
                               "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                               method, path, h->http, h->token,
                               body != NULL ? "Content-Type: application/json\r\n" : "", strlen(text), text);
    char *answer = mem_new(ANSWER_BYTES_MAX);
    int fd = bench_connect(h->http);
    json_t *document = NULL;
    size_t size = 0;
    ssize_t got;

    if (fd >= 0 && bench_send(fd, request, strlen(request)))
        while (size < ANSWER_BYTES_MAX - 1 &&
               (got = recv(fd, answer + size, ANSWER_BYTES_MAX - 1 - size, 0)) > 0)
            size += (size_t)got;
    if (strncmp(answer, "HTTP/1.1 2", 10) == 0 && strstr(answer, "\r\n\r\n") != NULL)
        document = json_loads(strstr(answer, "\r\n\r\n") + 4, 0, NULL);
    if (document == NULL)
        fprintf(stderr, "matinee bench: %s %s: %.200s\n", method, path, size > 0 ? answer : "no answer");
    if (fd >= 0)
        close(fd);
    free(answer);
    free(request);
    free(text);
    return document;
}
