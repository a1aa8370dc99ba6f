/* comments/rules.c - who may say what, for each event: rows of the database, and a copy of them in memory that is asked for every
 * comment. Over a database of several servers the copy is renewed every COMMENT_RULES_MS; what was changed here counts at once. */
#include "comments/comments_int.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

/* What memory knows of an event. */
struct page {
    struct comment_rules rules;
    struct map *muted; /* authors; the values mean nothing */
    struct map *words; /* single words, as skeletons */
    char **phrases;    /* and those that are looked for anywhere in a text */
    size_t phrase_count;
    struct map *spoken; /* struct turn of each author, while slow mode is on */
    int64_t read_ms;    /* 0: to be read anew */
};

/* An author's last comment. */
struct turn {
    int64_t at_ms;
    char id[COMMENT_ID_MAX + 1];
};

struct rule_book {
    pthread_mutex_t
        renewing; /* held from reading a page until it is in its place: an older one never follows a newer one */
    pthread_mutex_t lock;
    struct map *pages; /* by event */
};

static char marked[] = "x"; /* the value of maps that are sets */

void comment_rules_free(struct comment_rules *r)
{
    free(r->words);
    r->words = NULL;
}

static void free_values(struct map *m)
{
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(m, &at, &key, &value);)
        free(value);
}

static void page_free(struct page *p)
{
    if (p == NULL)
        return;
    comment_rules_free(&p->rules);
    map_free(p->muted);
    map_free(p->words);
    for (size_t i = 0; i < p->phrase_count; i++)
        free(p->phrases[i]);
    free(p->phrases);
    free_values(p->spoken);
    map_free(p->spoken);
    free(p);
}

struct rule_book *rules_new(void)
{
    struct rule_book *b = mem_new(sizeof *b);

    pthread_mutex_init(&b->renewing, NULL);
    pthread_mutex_init(&b->lock, NULL);
    b->pages = map_new();
    return b;
}

void rules_free(struct rule_book *b)
{
    struct bytes key;
    void *value;

    for (size_t at = 0; map_next(b->pages, &at, &key, &value);)
        page_free(value);
    map_free(b->pages);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->renewing);
    free(b);
}

/* --- reading ------------------------------------------------------------------------------------------- */

static bool take_rules(void *ctx, const struct db_row *r)
{
    struct comment_rules *out = ctx;

    free(out->words);
    *out = (struct comment_rules){
        .open = db_column_int(r, 0) != 0,
        .hold_links = db_column_int(r, 1) != 0,
        .slow_s = db_column_int(r, 2),
        .audience = (enum comment_audience)db_column_int(r, 3),
        .followed_s = db_column_int(r, 4),
        .words = mem_string(db_column_text(r, 5)),
    };
    return false;
}

enum err comments_rules(struct comments *c, struct ulid event, struct comment_rules *out)
{
    char id[ULID_TEXT_SIZE];

    *out = (struct comment_rules){.open = true, .words = mem_string("")};
    return db_read(
        c->options.db,
        "SELECT open, hold_links, slow_s, audience, followed_s, words FROM comment_rules WHERE event_id = ?",
        DB_VALUES(db_str(ulid_text(event, id))), take_rules, out);
}

static bool take_muted(void *ctx, const struct db_row *r)
{
    struct page *p = ctx;

    map_put(p->muted, bytes_text(db_column_text(r, 0)), marked);
    return true;
}

static bool is_plain_word(const char *skeleton)
{
    for (; *skeleton != '\0'; skeleton++)
        if (!((*skeleton >= 'a' && *skeleton <= 'z') || (*skeleton >= '0' && *skeleton <= '9')))
            return false;
    return true;
}

static void add_word(struct page *p, const char *word)
{
    char *skeleton = comment_skeleton(word);

    if (skeleton[0] == '\0') {
        free(skeleton);
    } else if (is_plain_word(skeleton)) {
        map_put(p->words, bytes_text(skeleton), marked);
        free(skeleton);
    } else {
        p->phrases = mem_resize(p->phrases, (p->phrase_count + 1) * sizeof *p->phrases);
        p->phrases[p->phrase_count++] = skeleton;
    }
}

static void add_words(struct page *p)
{
    for (const char *line = p->rules.words; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        char *word = mem_text(line, size);

        add_word(p, word);
        free(word);
        line += size + (line[size] == '\n');
    }
}

static enum err read_page(struct comments *c, struct ulid event, struct page **out)
{
    struct page *p = mem_new(sizeof *p);
    char id[ULID_TEXT_SIZE];
    enum err e;

    p->muted = map_new();
    p->words = map_new();
    p->spoken = map_new();
    p->read_ms = clock_mono_ms();
    e = comments_rules(c, event, &p->rules);
    if (e == ERR_OK)
        e = db_read(c->options.db, "SELECT author FROM comment_muted WHERE event_id = ?",
                    DB_VALUES(db_str(ulid_text(event, id))), take_muted, p);
    if (e != ERR_OK) {
        page_free(p);
        return e;
    }
    add_words(p);
    *out = p;
    return ERR_OK;
}

/* The page in memory if it is fresh enough. With the lock held. */
static struct page *fresh_page(struct comments *c, struct ulid event)
{
    struct page *p = map_get(c->rules->pages, bytes_of(event.b, sizeof event.b));

    if (p == NULL || p->read_ms == 0 ||
        (db_shared(c->options.db) && clock_mono_ms() - p->read_ms > COMMENT_RULES_MS))
        return NULL;
    return p;
}

/* Puts what was read in the place of what is there; who has spoken stays known. */
static void install(struct comments *c, struct ulid event, struct page *p)
{
    struct page *old;

    pthread_mutex_lock(&c->rules->lock);
    old = map_put(c->rules->pages, bytes_of(event.b, sizeof event.b), p);
    if (old != NULL) {
        struct map *spoken = old->spoken;

        old->spoken = p->spoken;
        p->spoken = spoken;
    }
    pthread_mutex_unlock(&c->rules->lock);
    page_free(old);
}

/* What is there does not hold any more, and no better is at hand: whoever asks next reads it. */
static void forget_page(struct comments *c, struct ulid event)
{
    struct page *p;

    pthread_mutex_lock(&c->rules->lock);
    if ((p = map_get(c->rules->pages, bytes_of(event.b, sizeof event.b))) != NULL)
        p->read_ms = 0;
    pthread_mutex_unlock(&c->rules->lock);
}

static enum err renew(struct comments *c, struct ulid event)
{
    struct page *p = NULL;
    enum err e;

    pthread_mutex_lock(&c->rules->renewing);
    if ((e = read_page(c, event, &p)) == ERR_OK)
        install(c, event, p);
    else
        forget_page(c, event);
    pthread_mutex_unlock(&c->rules->renewing);
    return e;
}

/* --- changing ------------------------------------------------------------------------------------------ */

struct setting {
    struct ulid event;
    const struct comment_rules *rules;
};

static enum err set(void *ctx, struct db *tx)
{
    const struct setting *s = ctx;
    const struct comment_rules *r = s->rules;
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(s->event, id);
    e = db_run(tx, "DELETE FROM comment_rules WHERE event_id = ?", DB_VALUES(db_str(id)), NULL);
    return e != ERR_OK
               ? e
               : db_run(
                     tx,
                     "INSERT INTO comment_rules (event_id, open, hold_links, slow_s, audience, followed_s, words)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?)",
                     DB_VALUES(db_str(id), db_int(r->open), db_int(r->hold_links), db_int(r->slow_s),
                               db_int(r->audience), db_int(r->followed_s), db_str(r->words)),
                     NULL);
}

enum err comments_set_rules(struct comments *c, struct ulid event, const struct comment_rules *r)
{
    struct setting s = {event, r};
    enum err e = db_write(c->options.db, set, &s);

    return e == ERR_OK ? renew(c, event) : e;
}

static enum err forget(void *ctx, struct db *tx)
{
    static const char *const sql[] = {"DELETE FROM comment_rules WHERE event_id = ?",
                                      "DELETE FROM comment_muted WHERE event_id = ?",
                                      "DELETE FROM comment_followers WHERE event_id = ?"};
    enum err e = ERR_OK;

    for (size_t i = 0; i < sizeof sql / sizeof *sql && e == ERR_OK; i++)
        e = db_run(tx, sql[i], DB_VALUES(db_str((const char *)ctx)), NULL);
    return e;
}

enum err comments_forget_rules(struct comments *c, struct ulid event)
{
    char id[ULID_TEXT_SIZE];
    struct page *p;

    ulid_text(event, id);
    pthread_mutex_lock(&c->rules->lock);
    p = map_remove(c->rules->pages, bytes_of(event.b, sizeof event.b));
    pthread_mutex_unlock(&c->rules->lock);
    page_free(p);
    return db_write(c->options.db, forget, id);
}

static const char *table_of(enum comment_list list, const char *muted, const char *following)
{
    return list == COMMENT_MUTED ? muted : following;
}

enum err comments_enlist(struct comments *c, enum comment_list list, struct ulid event, const char *author,
                         bool on)
{
    char id[ULID_TEXT_SIZE];
    enum err e;

    ulid_text(event, id);
    if (on)
        e = db_do(
            c->options.db,
            table_of(
                list, "INSERT INTO comment_muted (event_id, author, since) VALUES (?, ?, ?) {or_keep:since}",
                "INSERT INTO comment_followers (event_id, author, since) VALUES (?, ?, ?) {or_keep:since}"),
            DB_VALUES(db_str(id), db_str(author), db_int(clock_wall_ms())), NULL);
    else
        e = db_do(c->options.db,
                  table_of(list, "DELETE FROM comment_muted WHERE event_id = ? AND author = ?",
                           "DELETE FROM comment_followers WHERE event_id = ? AND author = ?"),
                  DB_VALUES(db_str(id), db_str(author)), NULL);
    return e == ERR_OK && list == COMMENT_MUTED ? renew(c, event) : e;
}

struct listing {
    bool (*row)(void *ctx, const char *author, int64_t since_ms);
    void *ctx;
};

static bool show_author(void *ctx, const struct db_row *r)
{
    const struct listing *l = ctx;

    return l->row(l->ctx, db_column_text(r, 0), db_column_int(r, 1));
}

enum err comments_enlisted(struct comments *c, enum comment_list list, struct ulid event, const char *after,
                           size_t limit, bool (*row)(void *ctx, const char *author, int64_t since_ms),
                           void *ctx)
{
    struct listing l = {row, ctx};
    char id[ULID_TEXT_SIZE];

    return db_read(
        c->options.db,
        table_of(
            list,
            "SELECT author, since FROM comment_muted WHERE event_id = ? AND author > ? ORDER BY author LIMIT ?",
            "SELECT author, since FROM comment_followers WHERE event_id = ? AND author > ? ORDER BY author LIMIT ?"),
        DB_VALUES(db_str(ulid_text(event, id)), db_str(after), db_int((int64_t)limit)), show_author, &l);
}

/* --- judging ------------------------------------------------------------------------------------------- */

static bool is_word_end(char c)
{
    return !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'));
}

static bool has_bad_word(const struct page *p, const char *data)
{
    char *skeleton;
    bool found = false;

    if (map_count(p->words) == 0 && p->phrase_count == 0)
        return false;
    skeleton = comment_skeleton(data);
    for (size_t i = 0; i < p->phrase_count && !found; i++)
        found = strstr(skeleton, p->phrases[i]) != NULL;
    for (const char *at = skeleton; *at != '\0' && !found;) {
        size_t size = 0;

        while (!is_word_end(at[size]))
            size++;
        found = size > 0 && map_get(p->words, bytes_of(at, size)) != NULL;
        at += size > 0 ? size : 1;
    }
    free(skeleton);
    return found;
}

static struct turn *turn_of(struct page *p, const char *author)
{
    struct turn *t = map_get(p->spoken, bytes_text(author));

    if (t != NULL)
        return t;
    if (map_count(p->spoken) >= COMMENT_SLOW_AUTHORS_MAX) { /* somebody invents names: begins anew */
        free_values(p->spoken);
        map_free(p->spoken);
        p->spoken = map_new();
    }
    t = mem_new(sizeof *t);
    map_put(p->spoken, bytes_text(author), t);
    return t;
}

/* Slow mode: takes the author's turn, or says how long it is to wait. The same comment again is the same turn. */
static bool takes_turn(struct page *p, struct comment_case *k)
{
    struct turn *t = turn_of(p, k->author);
    int64_t now = clock_mono_ms(), due = t->at_ms + p->rules.slow_s * 1000;

    if (t->at_ms != 0 && now < due && strcmp(t->id, k->id) != 0) {
        k->wait_ms = due - now;
        return false;
    }
    t->at_ms = now;
    memcpy(t->id, k->id, strlen(k->id) + 1);
    return true;
}

static bool take_since(void *ctx, const struct db_row *r)
{
    *(int64_t *)ctx = db_column_int(r, 0);
    return false;
}

/* When the author began to follow; 0: does not. */
static enum err followed_since(struct comments *c, const struct comment_case *k, int64_t *since_ms)
{
    char id[ULID_TEXT_SIZE];

    *since_ms = 0;
    return db_read(c->options.db, "SELECT since FROM comment_followers WHERE event_id = ? AND author = ?",
                   DB_VALUES(db_str(ulid_text(k->event, id)), db_str(k->author)), take_since, since_ms);
}

/* What memory can say. With the lock held. */
static enum comment_verdict verdict_of(struct page *p, struct comment_case *k, bool follows)
{
    if (k->is_producer)
        return COMMENT_ALLOWED;
    if (!p->rules.open)
        return COMMENT_CLOSED;
    if (map_get(p->muted, bytes_text(k->author)) != NULL)
        return COMMENT_MUTE;
    if (p->rules.audience == COMMENT_TICKETS && !k->has_ticket)
        return COMMENT_NO_TICKET;
    if (p->rules.audience == COMMENT_FOLLOWERS && !follows)
        return COMMENT_NO_FOLLOWER;
    if (has_bad_word(p, k->data))
        return COMMENT_BAD_WORD;
    if (p->rules.slow_s > 0 && !takes_turn(p, k))
        return COMMENT_TOO_SOON;
    return p->rules.hold_links && comment_has_link(k->data) ? COMMENT_TO_HOLD : COMMENT_ALLOWED;
}

enum err comments_judge(struct comments *c, struct comment_case *k, enum comment_verdict *out)
{
    struct page *p;
    bool asks_follower;
    int64_t since_ms = 0;
    enum err e = ERR_OK;

    *out = COMMENT_UNKNOWN;
    pthread_mutex_lock(&c->rules->lock);
    p = fresh_page(c, k->event);
    asks_follower = p == NULL || (p->rules.audience == COMMENT_FOLLOWERS && !k->is_producer);
    if (!asks_follower)
        *out = verdict_of(p, k, false);
    pthread_mutex_unlock(&c->rules->lock);
    if (!asks_follower || !k->may_block)
        return ERR_OK;

    if (p == NULL && (e = renew(c, k->event)) != ERR_OK)
        return e;
    if ((e = followed_since(c, k, &since_ms)) != ERR_OK)
        return e;
    pthread_mutex_lock(&c->rules->lock);
    p = map_get(c->rules->pages, bytes_of(k->event.b, sizeof k->event.b));
    if (p == NULL) { /* the event was deleted meanwhile */
        e = ERR_BUSY;
    } else {
        k->followed_s = p->rules.followed_s;
        *out = verdict_of(p, k, since_ms > 0 && clock_wall_ms() - since_ms >= p->rules.followed_s * 1000);
    }
    pthread_mutex_unlock(&c->rules->lock);
    return e;
}
