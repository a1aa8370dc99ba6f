/* http/http1_parser.c - request heads, RFC 9112 §2 to §6.
 *
 * In two steps: the scan finds the empty line that ends a head, and remembers where it was when more is
 * needed; then the whole head is read at once. So a peer that sends byte by byte costs no more than one
 * that does not, and nothing has to be kept of a half-read head but where the scan stands. */
#include "http/http1_parser_int.h"

/* The line itself, beside its target: the longest method we look at, the version, spaces. */
#define METHOD_BYTES_MAX  32
#define LINE_BESIDE_BYTES 64

enum { TOKEN = 1, VALUE = 2, TARGET = 4, AUTHORITY = 8, DIGIT = 16 };

/* What each byte may be part of: RFC 9110 §5.6.2 tokens, §5.5 values (no control bytes but tab), visible
 * characters of a target but '#', and the letters of a host and port (no quotes or percent signs: it is
 * printed into URLs, XML and JSON). */
static const uint8_t kind[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | VALUE | TARGET,
    ['"'] = VALUE | TARGET,
    ['#'] = TOKEN | VALUE,
    ['$' ... '\''] = TOKEN | VALUE | TARGET,
    ['(' ... ')'] = VALUE | TARGET,
    ['*' ... '+'] = TOKEN | VALUE | TARGET,
    [','] = VALUE | TARGET,
    ['-' ... '.'] = TOKEN | VALUE | TARGET | AUTHORITY,
    ['/'] = VALUE | TARGET,
    ['0' ... '9'] = TOKEN | VALUE | TARGET | AUTHORITY | DIGIT,
    [':'] = VALUE | TARGET | AUTHORITY,
    [';' ... '@'] = VALUE | TARGET,
    ['A' ... 'Z'] = TOKEN | VALUE | TARGET | AUTHORITY,
    ['['] = VALUE | TARGET | AUTHORITY,
    ['\\'] = VALUE | TARGET,
    [']'] = VALUE | TARGET | AUTHORITY,
    ['^'] = TOKEN | VALUE | TARGET,
    ['_'] = TOKEN | VALUE | TARGET | AUTHORITY,
    ['`'] = TOKEN | VALUE | TARGET,
    ['a' ... 'z'] = TOKEN | VALUE | TARGET | AUTHORITY,
    ['{'] = VALUE | TARGET,
    ['|'] = TOKEN | VALUE | TARGET,
    ['}'] = VALUE | TARGET,
    ['~'] = TOKEN | VALUE | TARGET,
    [0x80 ... 0xFF] = VALUE,
};

/* Whether each byte of `b` is of kind `k`. */
static bool all(struct bytes b, uint8_t k)
{
    for (size_t i = 0; i < b.size; i++)
        if ((kind[b.at[i]] & k) == 0)
            return false;
    return true;
}

bool http_authority_valid(struct bytes b)
{
    return all(b, AUTHORITY);
}

/* --- the scan: where the head ends --------------------------------------------------------------------- */

/* The limits on what there is of a head that is not whole. 0: within them. */
static int too_much(const struct http1_scan *scan, size_t size)
{
    if (scan->line_count == 0 && size - scan->line_at > HTTP_TARGET_BYTES_MAX + LINE_BESIDE_BYTES)
        return 414;
    return size >= HTTP_HEAD_BYTES_MAX ? 431 : 0;
}

/* One whole line, [line_at, end) without its CRLF. Returns a status, or 0. */
static int line_seen(struct http1_scan *scan, size_t end)
{
    if (scan->line_count == 0 && end == scan->line_at)
        return scan->line_at == 0 ? 0 : 400; /* §2.2: one empty line before a request is forgiven */
    if (scan->line_count == 0 && end - scan->line_at > HTTP_TARGET_BYTES_MAX + LINE_BESIDE_BYTES)
        return 414;
    if (scan->line_count > HTTP_FIELDS_MAX + 1)
        return 431;
    scan->line_count++;
    return 0;
}

/* The size of the head with its empty line, PARSE_MORE or PARSE_BAD. *first_at is where its first line is. */
static long scan_head(struct http1_scan *scan, struct bytes in, int *status)
{
    struct bytes within = bytes_head(in, HTTP_HEAD_BYTES_MAX);

    while (scan->at < within.size) {
        const uint8_t *lf = memchr(within.at + scan->at, '\n', within.size - scan->at);

        if (lf == NULL) {
            scan->at = (uint32_t)within.size;
            break;
        }
        size_t at = (size_t)(lf - within.at);

        if (at == scan->line_at || within.at[at - 1] != '\r') {
            *status = 400; /* a bare LF ends a line for some and not for others */
            return PARSE_BAD;
        }
        bool empty = at - 1 == scan->line_at && scan->line_count > 0;

        if ((*status = line_seen(scan, at - 1)) != 0)
            return PARSE_BAD;
        scan->at = scan->line_at = (uint32_t)at + 1;
        if (empty)
            return (long)at + 1;
    }
    *status = too_much(scan, in.size);
    return *status ? PARSE_BAD : PARSE_MORE;
}

/* --- the request line, §3 ------------------------------------------------------------------------------ */

static enum http_method method_of(struct bytes b)
{
    static const struct {
        const char *text;
        enum http_method method;
    } known[] = {
        {"GET", HTTP_GET},     {"HEAD", HTTP_HEAD},     {"POST", HTTP_POST},       {"PUT", HTTP_PUT},
        {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_is(b, known[i].text))
            return known[i].method;
    return HTTP_OTHER;
}

/* "HTTP/1.x". Returns a status, or 0. */
static int version_of(struct bytes b, unsigned *minor)
{
    if (b.size != 8 || memcmp(b.at, "HTTP/", 5) != 0 || !(kind[b.at[5]] & DIGIT) || b.at[6] != '.' ||
        !(kind[b.at[7]] & DIGIT))
        return 400;
    if (b.at[5] != '1')
        return 505;
    *minor = b.at[7] == '0' ? 0 : 1;
    return 0;
}

static struct span span_of(size_t at, size_t size)
{
    return (struct span){(uint16_t)at, (uint16_t)size};
}

/* Divides what stands in [at, end) into path and query. */
static void path_and_query(struct http1_head *out, const uint8_t *head, size_t at, size_t end)
{
    const uint8_t *mark = memchr(head + at, '?', end - at);
    size_t path_end = mark ? (size_t)(mark - head) : end;

    out->path = span_of(at, path_end - at);
    out->query = mark ? span_of(path_end + 1, end - path_end - 1) : span_of(end, 0);
}

static size_t scheme_size(struct bytes target)
{
    if (target.size > 7 && bytes_is_nocase(bytes_head(target, 7), "http://"))
        return 7;
    if (target.size > 8 && bytes_is_nocase(bytes_head(target, 8), "https://"))
        return 8;
    return 0;
}

/* The request target, §3.2, in [at, end). Returns a status, or 0. */
static int target_of(struct http1_head *out, const uint8_t *head, size_t at, size_t end)
{
    struct bytes target = bytes_of(head + at, end - at);

    if (target.size > HTTP_TARGET_BYTES_MAX)
        return 414;
    if (target.size == 0 || !all(target, TARGET))
        return 400;
    if (target.at[0] == '/') {
        path_and_query(out, head, at, end);
        return 0;
    }
    if (bytes_is(target, "*")) {
        out->for_server = true;
        return out->method == HTTP_OPTIONS ? 0 : 400;
    }
    size_t scheme = scheme_size(target);

    if (scheme == 0)
        return 400;
    size_t host_end = at + scheme;

    while (host_end < end && head[host_end] != '/' && head[host_end] != '?')
        host_end++;
    out->authority = span_of(at + scheme, host_end - at - scheme);
    path_and_query(out, head, host_end, end);
    return out->authority.size > 0 && http_authority_valid(span_bytes(head, out->authority)) ? 0 : 400;
}

/* The line in [at, end): three words with one space between them. Returns a status, or 0. */
static int request_line(struct http1_head *out, const uint8_t *head, size_t at, size_t end)
{
    struct bytes line = bytes_of(head + at, end - at);
    long first = bytes_find(line, ' ');

    if (first <= 0)
        return 400;
    struct bytes method = bytes_head(line, (size_t)first);
    struct bytes rest = bytes_from(line, (size_t)first + 1);
    long second = bytes_find(rest, ' ');

    if (second <= 0 || !all(method, TOKEN))
        return 400;
    int status = version_of(bytes_from(rest, (size_t)second + 1), &out->minor);

    if (status != 0)
        return status;
    if (method.size > METHOD_BYTES_MAX || bytes_is(method, "CONNECT"))
        return 501; /* we are no proxy, and CONNECT's target is of no other form */
    out->method = method_of(method);
    return target_of(out, head, at + (size_t)first + 1, at + (size_t)first + 1 + (size_t)second);
}

/* --- fields, §5 and §6 --------------------------------------------------------------------------------- */

/* What the fields say together, judged when all are read. */
struct framing {
    unsigned hosts, lengths, codings;
    bool close, keep, chunked_last, other_coding, coding_after;
};

/* Takes the next element off a comma-separated list (RFC 9110 §5.6.1); false at its end. */
static bool next_element(struct bytes *list, struct bytes *element)
{
    if (list->size == 0)
        return false;
    long comma = bytes_find(*list, ',');
    size_t size = comma < 0 ? list->size : (size_t)comma;

    *element = bytes_head(*list, size);
    *list = bytes_from(*list, size + 1);
    while (element->size > 0 && (element->at[0] == ' ' || element->at[0] == '\t'))
        *element = bytes_of(element->at + 1, element->size - 1);
    while (element->size > 0 &&
           (element->at[element->size - 1] == ' ' || element->at[element->size - 1] == '\t'))
        element->size--;
    return true;
}

static void connection_field(struct framing *f, struct bytes value)
{
    for (struct bytes element; next_element(&value, &element);) {
        if (bytes_is_nocase(element, "close"))
            f->close = true;
        else if (bytes_is_nocase(element, "keep-alive"))
            f->keep = true;
    }
}

/* Notes whether "chunked" comes, once and at the end, and whether anything else does. */
static void coding_field(struct framing *f, struct bytes value)
{
    f->codings++;
    for (struct bytes element; next_element(&value, &element);) {
        if (element.size == 0)
            continue;
        if (f->chunked_last)
            f->coding_after = true;
        f->chunked_last = bytes_is_nocase(element, "chunked");
        if (!f->chunked_last)
            f->other_coding = true;
    }
}

/* A field that says something about the message itself. Returns a status, or 0. */
static int special_field(struct http1_head *out, struct framing *f, struct bytes name, struct bytes value,
                         struct span where)
{
    switch (name.size) {
    case 4:
        if (!bytes_is_nocase(name, "host"))
            return 0;
        if (out->authority.size == 0) /* an absolute target outweighs it, §3.2.2 */
            out->authority = where;
        return f->hosts++ == 0 && http_authority_valid(value) ? 0 : 400;
    case 6:
        if (!bytes_is_nocase(name, "expect") || out->minor == 0)
            return 0;
        out->expects_continue = bytes_is_nocase(value, "100-continue");
        return out->expects_continue ? 0 : 417;
    case 10:
        if (bytes_is_nocase(name, "connection"))
            connection_field(f, value);
        return 0;
    case 14:
        if (!bytes_is_nocase(name, "content-length"))
            return 0;
        out->has_length = true;
        return f->lengths++ == 0 && bytes_to_u64(value, INT64_MAX, &out->length) ? 0 : 400;
    case 17:
        if (bytes_is_nocase(name, "transfer-encoding"))
            coding_field(f, value);
        return 0;
    default:
        return 0;
    }
}

/* A field line in [at, end). Returns a status, or 0. */
static int field_line(struct http1_head *out, struct framing *f, const uint8_t *head, size_t at, size_t end)
{
    const uint8_t *colon = memchr(head + at, ':', end - at);

    if (colon == NULL)
        return 400;
    size_t name_size = (size_t)(colon - head) - at, value_at = at + name_size + 1;

    /* No space before the colon, and none before the name: that would be a folded line, §5.2. */
    if (name_size == 0 || !all(bytes_of(head + at, name_size), TOKEN))
        return 400;
    while (value_at < end && (head[value_at] == ' ' || head[value_at] == '\t'))
        value_at++;
    while (end > value_at && (head[end - 1] == ' ' || head[end - 1] == '\t'))
        end--;
    struct bytes value = bytes_of(head + value_at, end - value_at);

    if (!all(value, VALUE))
        return 400;
    if (out->field_count == HTTP_FIELDS_MAX)
        return 431;
    struct http1_field *field = &out->fields[out->field_count++];

    *field = (struct http1_field){span_of(at, name_size), span_of(value_at, value.size)};
    return special_field(out, f, bytes_of(head + at, name_size), value, field->value);
}

/* Where the body ends, §6.3, and whether the connection goes on, §9.3. Returns a status, or 0. */
static int judge(struct http1_head *out, const struct framing *f)
{
    if (out->minor > 0 && f->hosts == 0)
        return 400;
    if (f->codings > 0) {
        if (out->minor == 0 || f->lengths > 0 || !f->chunked_last || f->coding_after)
            return 400; /* somebody on the way may have read it differently */
        if (f->other_coding)
            return 501;
        out->chunked = true;
    }
    out->keep_alive = !f->close && (out->minor > 0 || f->keep);
    if (!out->chunked && out->length == 0)
        out->expects_continue = false;
    return 0;
}

/* A whole head of `size` bytes. Returns a status, or 0. */
static int read_head(struct http1_head *out, const uint8_t *head, size_t size)
{
    struct framing f = {0};
    size_t at = head[0] == '\r' && head[1] == '\n' ? 2 : 0; /* the empty line that is forgiven */
    bool first = true;

    for (;;) {
        const uint8_t *lf = memchr(head + at, '\n', size - at);
        size_t end = (size_t)(lf - head) - 1; /* the scan has seen that each LF has its CR */

        if (end == at)
            return judge(out, &f);
        int status = first ? request_line(out, head, at, end) : field_line(out, &f, head, at, end);

        if (status != 0)
            return status;
        first = false;
        at = end + 2;
    }
}

static void head_init(struct http1_head *out)
{
    /* Not the array of fields: most of it is never looked at, and this runs for each request. */
    memset(out, 0, offsetof(struct http1_head, fields));
}

long http1_head_parse(struct http1_head *out, struct http1_scan *scan, struct bytes in, int *status)
{
    *status = 0;
    if (in.size > 0 && in.at[0] != '\r' && !(kind[in.at[0]] & TOKEN)) {
        *status = 400; /* a TLS hello, or noise: no reason to wait for its end */
        return PARSE_BAD;
    }
    long size = scan_head(scan, in, status);

    if (size < 0)
        return size;
    head_init(out);
    *status = read_head(out, in.at, (size_t)size);
    return *status ? PARSE_BAD : size;
}
