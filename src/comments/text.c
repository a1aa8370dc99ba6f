/* comments/text.c - what may be said, as text (Unicode 15, over utf8proc).
 *
 * What is said is kept as it came, in NFC: emoji are joined by invisible characters, and several scripts need them, so they stay.
 * Refused is what could only hurt: control characters, overrides and embeddings of direction (they would turn around what stands
 * beside the comment), isolates that are not closed, and what shows nothing at all. Names are compared by people, so a name has
 * nothing invisible in it but the joiners, and those only where a script or an emoji has a use for them. */
#include "comments/comments_int.h"

#include "base/mem.h"

#include <stdlib.h>
#include <utf8proc.h>

#define ZWNJ 0x200c
#define ZWJ  0x200d

bool comment_id_good(const char *id)
{
    size_t size = 0;

    for (; id[size] != '\0'; size++) {
        char c = id[size];

        if (size >= COMMENT_ID_MAX)
            return false;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              c == '-'))
            return false;
    }
    return size > 0;
}

/* --- looking at a text, character by character --------------------------------------------------------- */

struct look {
    enum comment_text kind;
    size_t count;
    unsigned isolates; /* open */
    bool visible;
    int32_t before; /* the character before this one; 0: none */
    const char *why;
};

static bool is_override(int32_t c)
{
    return c >= 0x202a && c <= 0x202e;
}

/* LRI, RLI and FSI open, PDI closes. */
static bool takes_isolate(struct look *l, int32_t c)
{
    if (c >= 0x2066 && c <= 0x2068)
        l->isolates++;
    else if (c == 0x2069 && l->isolates-- == 0)
        return false;
    return true;
}

/* A joiner has a use behind what is no Latin: Persian and Indic words, emoji. */
static bool joins(const struct look *l, int32_t c)
{
    return (c == ZWJ || c == ZWNJ) && l->before > 0x2ff;
}

static bool shows(int32_t c, utf8proc_category_t category)
{
    switch (category) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CS:
        return false;
    default: /* these three letters are blank: Hangul fillers and the empty Braille pattern */
        return c != 0x3164 && c != 0x115f && c != 0x1160 && c != 0xffa0 && c != 0x2800;
    }
}

static bool fits_name(struct look *l, int32_t c, utf8proc_category_t category)
{
    if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_ZL ||
        category == UTF8PROC_CATEGORY_ZP) {
        l->why = "wants to be on one line, without control characters";
        return false;
    }
    if (category == UTF8PROC_CATEGORY_CF && !joins(l, c)) {
        l->why = "has an invisible character in it (a zero-width one, or one that changes the direction)";
        return false;
    }
    return true;
}

static bool fits_data(struct look *l, int32_t c)
{
    if ((c < ' ' && c != '\n') || (c >= 0x7f && c <= 0x9f)) {
        l->why = "has a control character in it; only line breaks are taken";
        return false;
    }
    if (is_override(c) || !takes_isolate(l, c)) {
        l->why = "has a character in it that turns around the direction of what follows";
        return false;
    }
    return true;
}

static bool look_at(struct look *l, int32_t c)
{
    utf8proc_category_t category = c < 0x7f && c >= ' ' ? UTF8PROC_CATEGORY_LL : utf8proc_category(c);

    if (l->kind == COMMENT_TEXT_NAME ? !fits_name(l, c, category) : !fits_data(l, c))
        return false;
    l->visible = l->visible || (c != ' ' && shows(c, category));
    l->before = c;
    l->count++;
    return true;
}

static bool look_through(struct look *l, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    utf8proc_ssize_t left = (utf8proc_ssize_t)strlen(text);
    size_t most = l->kind == COMMENT_TEXT_NAME ? COMMENT_AUTHOR_CHARS : COMMENT_DATA_CHARS;

    while (left > 0) {
        int32_t c = *at;
        utf8proc_ssize_t size = c < 0x80 ? 1 : utf8proc_iterate(at, left, &c);

        if (size <= 0) {
            l->why = "is not UTF-8";
            return false;
        }
        if (!look_at(l, c))
            return false;
        at += size;
        left -= size;
    }
    if (l->count > most)
        l->why = l->kind == COMMENT_TEXT_NAME ? "wants 1 to 64 characters" : "wants 1 to 2000 characters";
    else if (l->isolates > 0)
        l->why = "has a character in it that turns around the direction of what follows";
    else if (!l->visible)
        l->why = l->count == 0 && l->kind == COMMENT_TEXT_NAME ? "wants 1 to 64 characters"
                 : l->count == 0                               ? "wants 1 to 2000 characters"
                                                               : "has nothing in it that could be seen";
    return l->why == NULL;
}

/* --- normal forms -------------------------------------------------------------------------------------- */

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static char *mapped(const char *text, utf8proc_option_t how)
{
    uint8_t *out = NULL;
    utf8proc_ssize_t size = utf8proc_map((const uint8_t *)text, 0, &out, UTF8PROC_NULLTERM | how);

    if (size < 0) {
        free(out);
        return NULL;
    }
    return (char *)out;
}

char *comment_text(enum comment_text kind, const char *text, const char **why)
{
    /* Four bytes a character; what is longer is not even normalized. */
    size_t bytes_max = kind == COMMENT_TEXT_NAME ? COMMENT_AUTHOR_CHARS * 12 : COMMENT_DATA_CHARS * 12;
    struct look l = {.kind = kind};
    char *normal = NULL;

    *why = NULL;
    if (strlen(text) > bytes_max)
        l.why = kind == COMMENT_TEXT_NAME ? "wants 1 to 64 characters" : "wants 1 to 2000 characters";
    else if ((normal = is_ascii(text) ? mem_string(text)
                                      : mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE)) == NULL)
        l.why = "is not UTF-8";
    else if (look_through(&l, normal))
        return normal;
    free(normal);
    *why = l.why;
    return NULL;
}

/* Line breaks and runs of spaces become one space. */
static void squeeze(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; at++) {
        char c = (char)(*at == '\n' ? ' ' : *at);

        if (c != ' ' || (to > text && to[-1] != ' '))
            *to++ = c;
    }
    *to = '\0';
}

char *comment_skeleton(const char *text)
{
    char *folded = mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD |
                                    UTF8PROC_IGNORE | UTF8PROC_STRIPMARK | UTF8PROC_LUMP);

    if (folded == NULL)
        folded = mem_string(text);
    squeeze(folded);
    return folded;
}

/* --- links --------------------------------------------------------------------------------------------- */

static bool is_label(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || (unsigned char)c >= 0x80;
}

/* Whether "name.end" at `dot` is a host name that people type: by the ends that are used for it, or any with a path behind. */
static bool is_host(const char *text, const char *dot)
{
    static const char *const ends[] = {"com",  "net",    "org",  "info", "biz",  "io",  "co",  "me",
                                       "tv",   "gg",     "ly",   "app",  "dev",  "xyz", "top", "shop",
                                       "site", "online", "club", "live", "link", "ru"};
    size_t size = 0;

    if (dot == text || !is_label(dot[-1]))
        return false;
    while (is_label(dot[1 + size]))
        size++;
    if (size < 2 || (dot[1] >= '0' && dot[1] <= '9')) /* 10.50/11 */
        return false;
    if (dot[1 + size] == '/')
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strlen(ends[i]) == size && strncmp(dot + 1, ends[i], size) == 0)
            return true;
    return false;
}

bool comment_has_link(const char *text)
{
    char *plain = strpbrk(text, ".:") != NULL || !is_ascii(text) ? comment_skeleton(text) : NULL;
    bool found = false;

    if (plain == NULL)
        return false;
    found = strstr(plain, "://") != NULL || strstr(plain, "www.") != NULL || strstr(plain, "mailto:") != NULL;
    for (const char *dot = plain; !found && (dot = strchr(dot, '.')) != NULL; dot++)
        found = is_host(plain, dot);
    free(plain);
    return found;
}
