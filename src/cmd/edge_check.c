/* cmd/edge_check.c - `matinee edge-check URL`: tries the CDN or the edge in front of a matinee, rule by rule, and says of each what
 * was found and what to change. See edge_check_int.h. */
#include "cmd/cmd.h"
#include "cmd/edge_check_int.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct option options[] = {
    {"ticket", "TOKEN", NULL, "a viewer's token, for a ticketed show", NULL},
    {"json", NULL, NULL, "the verdicts as JSON", NULL},
    {"cacert", "FILE", NULL, "trust the certificates in FILE", NULL},
    {"doomed", "ID", NULL,
     "a video that may be deleted, to see whether the edge forgets it; MATINEE_TOKEN holds the admin token",
     NULL},
    {"origin", "URL", NULL, "where matinee itself is, to delete it there", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static const struct {
    const char *name;
    enum verdict (*run)(struct edge_check *c);
    const char *advice;
} rules[] = {
    {"tls", edge_rule_tls,
     "speak HTTPS with HTTP/2 (or 3): a low-latency player has several requests waiting at once"},
    {"hits", edge_rule_hits,
     "cache /v/ by what the origin's Cache-Control says; for ticketed shows give the edge serve's --edge-key"},
    {"coalescing", edge_rule_coalescing,
     "let one request for an object go to the origin and the others wait for it (nginx: proxy_cache_lock; CloudFront, Fastly: "
     "origin shield, request collapsing), for 30 s at least"},
    {"query", edge_rule_query,
     "keep the query out of the cache key, but for _HLS_msn, _HLS_part and _HLS_skip of playlists"},
    {"cookie", edge_rule_cookie, "keep cookies out of the cache key, and do not bypass the cache for them"},
    {"reload-key", edge_rule_reload_key,
     "take _HLS_msn, _HLS_part and _HLS_skip into the cache key of playlists"},
    {"lifetimes", edge_rule_lifetimes,
     "pass the origin's Cache-Control on as it is: no browser TTL of the CDN's own"},
    {"freshness", edge_rule_freshness,
     "keep playlists for as long as their Cache-Control says and no longer: no minimum TTL, no serving of stale copies beyond "
     "stale-while-revalidate"},
    {"refusals", edge_rule_refusals, "do not cache errors: what is not there now may be there in a moment"},
    {"ranges", edge_rule_ranges, "answer ranges out of the whole object, and pass 206 and Content-Range on"},
    {"conditional", edge_rule_conditional, "pass ETag on, and answer If-None-Match with 304"},
    {"cors", edge_rule_cors,
     "pass Access-Control-* on, and OPTIONS to the origin: pages of other names play the video, too"},
    {"compression", edge_rule_compression,
     "take Accept-Encoding into the cache key of playlists, reduced to gzip or nothing, and leave compressing to the origin"},
    {"tickets", edge_rule_tickets,
     "ask /api/v1/videos/ID/admission for every viewer before a copy is handed out (nginx: auth_request), and tell him 'private'"},
    {"purge", edge_rule_purge,
     "ask /api/v1/videos/ID/admission, which knows of deletions, or purge the key video-ID when a video is deleted"},
};

#define RULE_COUNT (sizeof rules / sizeof *rules)

static const char *const words[] = {[EDGE_PASS] = "pass", [EDGE_FAIL] = "fail", [EDGE_SKIP] = "skip"};

static void print_rule(const struct edge_check *c, size_t i, enum verdict v, json_t *list)
{
    json_t *item;

    if (list == NULL) {
        printf("%s  %-11s  %s\n", words[v], rules[i].name, c->found);
        if (v == EDGE_FAIL)
            printf("      change       %s\n", rules[i].advice);
        fflush(stdout);
        return;
    }
    item = json_pack("{s:s,s:s,s:s}", "rule", rules[i].name, "verdict", words[v], "found", c->found);
    if (v == EDGE_FAIL)
        json_object_set_new(item, "change", json_string(rules[i].advice));
    json_array_append_new(list, item);
}

/* How many rules are broken. */
static size_t check_all(struct edge_check *c, const char *url)
{
    json_t *list = config_text(options, "json") != NULL ? json_array() : NULL, *document;
    size_t broken = 0;

    for (size_t i = 0; i < RULE_COUNT; i++) {
        enum verdict v = rules[i].run(c);

        broken += v == EDGE_FAIL;
        print_rule(c, i, v, list);
    }
    if (list != NULL) {
        document = json_pack("{s:s,s:b,s:o}", "url", url, "good", broken == 0, "rules", list);
        json_dumpf(document, stdout, JSON_INDENT(2));
        puts("");
        json_decref(document);
    }
    return broken;
}

int cmd_edge_check(int argc, char **argv)
{
    struct edge_check c = {.options = options};
    int status = 2;

    if (config_read(options, false, &argc, argv, c.why) == ERR_OK && argc != 1)
        snprintf(c.why, sizeof c.why, "it wants one address, like https://HOST/v/ID/master.m3u8");
    if (c.why[0] != '\0')
        goto out;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    c.curl = curl_easy_init();
    c.token = config_text(options, "ticket");
    if (edge_look(&c, argv[0]) == ERR_OK)
        status = check_all(&c, argv[0]) > 0 ? 1 : 0;
    else
        status = c.server == NULL ? 2 : 1;
    curl_easy_cleanup(c.curl);
    curl_global_cleanup();
out:
    if (status == 2 || c.media[0] == '\0')
        fprintf(stderr, "matinee edge-check: %s\n", c.why);
    free(c.server);
    config_free(options);
    return status;
}

void cmd_edge_check_help(void)
{
    puts(
        "matinee edge-check URL [OPTIONS]: tries the CDN or the edge in front of a matinee, and says of each rule whether it\n"
        "holds and what to change. URL is a video behind the edge, best a live one: https://HOST/v/ID/master.m3u8.\n"
        "The exit status is 0 when no rule is broken. docs/edge.md explains each rule.\n");
    config_help(options);
}
