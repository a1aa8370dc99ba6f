/* cmd/bench_server.c - servers under measurement: started in a folder of their own, watched through /proc, and
 * removed without a trace; see bench_load_int.h. */
#include "cmd/bench_int.h"
#include "cmd/bench_load_int.h"

#include "base/mem.h"
#include "base/random.h"
#include "net/net.h"

#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS   20000
#define PORT_MIN   10000
#define PORT_MAX   32768
#define ANSWER_MAX 65536

static bool failed(const char *what)
{
    fprintf(stderr, "matinee bench ingest: %s\n", what);
    return false;
}

static bool make_dir(struct bench_server *s, const char *under)
{
    *s = (struct bench_server){.pid = -1};
    snprintf(s->dir, sizeof s->dir, "%s/matinee-bench-XXXXXX", under);
    return mkdtemp(s->dir) != NULL || failed("no temporary folder can be made; see --dir");
}

/* Runs argv with its output in `output`, on the first core, and not longer than we do. */
static bool spawn(struct bench_server *s, char *const argv[], int output)
{
    cpu_set_t cores;

    if ((s->pid = fork()) < 0)
        return failed("no process can be started");
    if (s->pid > 0)
        return true;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CPU_ZERO(&cores);
    CPU_SET(0, &cores);
    sched_setaffinity(0, sizeof cores, &cores);
    dup2(output, 1);
    int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);

    dup2(quiet, 2);
    execv(argv[0], argv);
    _exit(127);
}

static void add_url(struct bench_server *s, const char *base, const char *key)
{
    s->urls = mem_resize(s->urls, (s->url_count + 1) * sizeof *s->urls);
    s->urls[s->url_count++] = mem_printf("%s/%s", base, key);
}

/* --- matinee ------------------------------------------------------------------------------------------ */

/* One request on a connection of its own; the body of the answer, or NULL. To be given to free(). */
static char *request(const char *authority, const char *text)
{
    char *answer = mem_new(ANSWER_MAX), *body = NULL;
    size_t size = 0;
    struct address at;
    ssize_t got = -1;
    int fd = -1;

    if (!address_parse(authority, &at) ||
        (fd = socket(at.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
        connect(fd, (struct sockaddr *)&at.socket, at.size) != 0 ||
        send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        goto out;
    while (size < ANSWER_MAX - 1 && (got = recv(fd, answer + size, ANSWER_MAX - 1 - size, 0)) > 0)
        size += (size_t)got;
    body = strstr(answer, "\r\n\r\n");
    body = body ? mem_string(body + 4) : NULL;
out:
    if (fd >= 0)
        close(fd);
    free(answer);
    return body;
}

char *bench_server_ask(const char *http, const char *method, const char *path, const char *type,
                       struct bytes body)
{
    char *text = mem_printf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                            "Connection: close\r\n\r\n%.*s",
                            method, path, http, type, body.size, (int)body.size, (const char *)body.at);
    char *answer = request(http, text);

    free(text);
    return answer;
}

char *bench_server_get(const struct bench_server *s, const char *path)
{
    char *text = mem_printf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, s->http);
    char *answer = request(s->http, text);

    free(text);
    return answer;
}

static bool make_event(struct bench_server *s, const char *http, const char *rtmp, const char *token)
{
    static const char body[] = "{\"title\":\"bench\"}";
    char *text =
        mem_printf("POST /api/v1/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                   http, token, sizeof body - 1, body);
    char *answer = request(http, text);
    json_t *json = answer ? json_loads(answer, 0, NULL) : NULL;
    const char *key = json_string_value(json_object_get(json, "streamKey"));

    if (key != NULL)
        add_url(s, rtmp, key);
    else
        failed("matinee made no event");
    json_decref(json);
    free(answer);
    free(text);
    return key != NULL;
}

/* What a line of the start says behind its first word; kept, to be freed. */
static void keep(char **to, const char *line, const char *word)
{
    size_t size = strlen(word);

    if (strncmp(line, word, size) != 0)
        return;
    free(*to);
    *to = mem_string(line + size);
    (*to)[strcspn(*to, "\n")] = '\0';
}

static bool read_token(const char *dir, char *token, size_t room)
{
    char *file = mem_printf("%s/data/admin.token", dir);
    FILE *f = fopen(file, "r");
    bool done = f != NULL && fgets(token, (int)room, f) != NULL;

    if (f != NULL)
        fclose(f);
    free(file);
    token[done ? strcspn(token, "\r\n") : 0] = '\0';
    return done;
}

bool bench_server_matinee(struct bench_server *s, const char *dir, unsigned publishers)
{
    char line[512], token[256], *http = NULL, *rtmp = NULL, *data = NULL;
    bool is_ready = false, done = false;
    int output[2];
    FILE *lines;

    if (!make_dir(s, dir) || pipe2(output, O_CLOEXEC) != 0)
        return false;
    data = mem_printf("%s/data", s->dir);
    char *const argv[] = {"/proc/self/exe", "serve",       "--data",      data,       "--http",
                          "127.0.0.1:0",    "--rtmp",      "127.0.0.1:0", "--ladder", "none",
                          "--webrtc",       "127.0.0.1:0", NULL};

    if (!spawn(s, argv, output[1]))
        goto out;
    close(output[1]);
    lines = fdopen(output[0], "r");
    while (lines != NULL && !is_ready && fgets(line, sizeof line, lines) != NULL) {
        keep(&http, line, "http http://");
        keep(&rtmp, line, "rtmp ");
        is_ready = strcmp(line, "ready\n") == 0;
    }
    if (lines != NULL)
        fclose(lines);
    done = is_ready && http != NULL && rtmp != NULL && read_token(s->dir, token, sizeof token);
    if (!done)
        failed("matinee serve did not get ready");
    for (unsigned i = 0; done && i < publishers; i++)
        done = make_event(s, http, rtmp, token);
out:
    s->http = http;
    free(rtmp);
    free(data);
    if (!done)
        bench_server_stop(s);
    return done;
}

/* --- ports -------------------------------------------------------------------------------------------- */

static bool port_is_free(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;

    if (fd >= 0)
        close(fd);
    return yes;
}

int bench_free_port(void)
{
    for (int tries = 0; tries < 100; tries++) {
        int port = PORT_MIN + (int)(random_u64() % (PORT_MAX - PORT_MIN));

        if (port_is_free(port))
            return port;
    }
    return 0;
}

/* --- nginx -------------------------------------------------------------------------------------------- */

static bool write_config(const char *file, const char *dir, int port, enum nginx_keeps keeps)
{
    FILE *f = fopen(file, "w");

    if (f == NULL)
        return failed("nginx's configuration cannot be written");
    fprintf(f,
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n"
            "user root;\nworker_processes 1;\ndaemon off;\npid %s/pid;\nerror_log %s/error.log;\n"
            "events { worker_connections 4096; }\n"
            "rtmp { access_log off; server { listen 127.0.0.1:%d; chunk_size 4096;\n"
            "  application live { live on; record %s; record_path %s;\n"
            "    hls %s; hls_path %s; hls_fragment 10s; hls_playlist_length 1h; } } }\n",
            dir, dir, port, keeps == NGINX_NOTHING ? "off" : "all", dir,
            keeps == NGINX_RECORDING_HLS ? "on" : "off", dir);
    return fclose(f) == 0;
}

static bool port_answers(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;

    if (fd >= 0)
        close(fd);
    return yes;
}

bool bench_server_nginx(struct bench_server *s, const char *dir, unsigned publishers, enum nginx_keeps keeps)
{
    int port = bench_free_port(), waited_ms = 0;
    char *config = NULL, *base = mem_printf("rtmp://127.0.0.1:%d/live", port), key[32];
    bool done = false;

    if (!make_dir(s, dir))
        goto out;
    config = mem_printf("%s/nginx.conf", s->dir);
    char *const argv[] = {"/usr/sbin/nginx", "-p", s->dir, "-c", config, NULL};

    if (!write_config(config, s->dir, port, keeps) || !spawn(s, argv, 1))
        goto out;
    while (!(done = port_answers(port)) && waited_ms < READY_MS && waitpid(s->pid, NULL, WNOHANG) == 0) {
        poll(NULL, 0, 50); /* nginx says nothing when it is ready */
        waited_ms += 50;
    }
    if (!done)
        failed("nginx with its RTMP module did not start: apt-get install nginx libnginx-mod-rtmp");
    for (unsigned i = 0; done && i < publishers; i++) {
        snprintf(key, sizeof key, "bench%u", i);
        add_url(s, base, key);
    }
out:
    free(config);
    free(base);
    if (!done)
        bench_server_stop(s);
    return done;
}

/* --- both --------------------------------------------------------------------------------------------- */

void bench_server_stop(struct bench_server *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        waitpid(s->pid, NULL, 0);
    }
    if (s->dir[0] != '\0')
        bench_folder_remove(s->dir);
    for (size_t i = 0; i < s->url_count; i++)
        free(s->urls[i]);
    free(s->urls);
    free(s->http);
    *s = (struct bench_server){.pid = -1};
}

/* The first line of a file of /proc that begins with `word`, behind it; or false. */
static bool proc_line(pid_t pid, const char *name, const char *word, char *line, size_t room)
{
    char path[64];
    bool found = false;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    FILE *f = fopen(path, "r");

    while (f != NULL && !found && fgets(line, (int)room, f) != NULL)
        found = strncmp(line, word, strlen(word)) == 0;
    if (f != NULL)
        fclose(f);
    return found;
}

/* User and system time: the 14th and 15th field, counted behind the name, which may hold spaces. */
static double cpu_ms(pid_t pid)
{
    char line[1024], *at;
    double ticks = 0;

    if (!proc_line(pid, "stat", "", line, sizeof line) || (at = strrchr(line, ')')) == NULL)
        return 0;
    for (int field = 2; field < 14 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    for (int i = 0; i < 2 && at != NULL; i++)
        ticks += strtod(at, &at);
    return ticks * 1000 / (double)sysconf(_SC_CLK_TCK);
}

static double pss_kb(pid_t pid)
{
    char line[256];

    return proc_line(pid, "smaps_rollup", "Pss:", line, sizeof line) ? strtod(line + 4, NULL) : 0;
}

static double sum(const struct bench_server *s, double (*of)(pid_t pid))
{
    char path[96], line[1024] = "", *at = line;
    double all = of(s->pid);

    snprintf(path, sizeof path, "task/%d/children", (int)s->pid);
    if (!proc_line(s->pid, path, "", line, sizeof line))
        return all;
    for (long child; (child = strtol(at, &at, 10)) > 0;)
        all += of((pid_t)child);
    return all;
}

double bench_server_cpu_ms(const struct bench_server *s)
{
    return sum(s, cpu_ms);
}

double bench_server_pss_kb(const struct bench_server *s)
{
    return sum(s, pss_kb);
}
