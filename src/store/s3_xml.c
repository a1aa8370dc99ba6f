/* store/s3_xml.c - what S3 says in XML: lists, errors, names of uploads. Read with expat, one element at a time; nothing of it is
 * kept here. A document type is refused: S3 sends none, and entities are how XML is made to explode. */
#include "store/s3_int.h"

#include "base/limits.h"

#include <expat.h>

struct reading {
    XML_Parser parser;
    void (*element)(void *ctx, const char *path, const char *text);
    void *ctx;
    char path[S3_XML_PATH_SIZE], text[S3_XML_TEXT_SIZE];
    size_t path_size, text_size;
    bool leaf; /* nothing has begun since the element did */
    bool bad;
};

static void stop(struct reading *r)
{
    r->bad = true;
    XML_StopParser(r->parser, XML_FALSE);
}

/* <s3:Key> and <Key> are the same. */
static const char *local_name(const char *name)
{
    const char *colon = strrchr(name, ':');

    return colon ? colon + 1 : name;
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct reading *r = ctx;
    const char *local = local_name(name);
    size_t size = strlen(local), slash = r->path_size > 0;

    if (size == 0 || r->path_size + slash + size >= sizeof r->path) { /* an element has a name */
        stop(r);
        return;
    }
    if (slash)
        r->path[r->path_size++] = '/';
    memcpy(r->path + r->path_size, local, size + 1);
    r->path_size += size;
    r->text_size = 0;
    r->leaf = true;
}

static void on_end(void *ctx, const XML_Char *name)
{
    struct reading *r = ctx;
    size_t size = strlen(local_name(name));

    if (r->leaf) {
        r->text[r->text_size] = '\0';
        r->element(r->ctx, r->path, r->text);
    }
    r->leaf = false;
    r->path_size = r->path_size > size ? r->path_size - size - 1 : 0;
    r->path[r->path_size] = '\0';
}

static void on_text(void *ctx, const XML_Char *text, int size)
{
    struct reading *r = ctx;

    if (r->text_size + (size_t)size >= sizeof r->text) {
        stop(r);
        return;
    }
    memcpy(r->text + r->text_size, text, (size_t)size);
    r->text_size += (size_t)size;
}

static void on_document_type(void *ctx, const XML_Char *name, const XML_Char *system,
                             const XML_Char *public_id, int has_internal)
{
    stop((struct reading *)ctx);
}

enum err s3_xml_read(struct bytes xml, void (*element)(void *ctx, const char *path, const char *text),
                     void *ctx)
{
    struct reading r = {.parser = XML_ParserCreate(NULL), .element = element, .ctx = ctx};
    bool good;

    if (r.parser == NULL)
        return ERR_LIMIT;
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_document_type);
    good = xml.size <= S3_XML_BYTES_MAX &&
           XML_Parse(r.parser, xml.size > 0 ? (const char *)xml.at : "", (int)xml.size, 1) == XML_STATUS_OK;
    XML_ParserFree(r.parser);
    return good && !r.bad ? ERR_OK : ERR_BAD;
}
