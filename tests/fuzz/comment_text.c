/* tests/fuzz/comment_text.c - what people say: the first byte says as what. What is taken is taken as it is the second time, and
 * comes out of its JSON as it went in. */
#include "fuzz.h"

#include "base/mem.h"
#include "comments/comments_int.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum comment_text kind = size > 0 && data[0] & 1 ? COMMENT_TEXT_NAME : COMMENT_TEXT_DATA;
    struct bytes said = bytes_from(bytes_of(data, size), 1);
    char *text = mem_text(said.at, said.size), *taken, *again, *skeleton;
    struct builder b = {0};
    const char *why;
    json_t *read;

    taken = comment_text(kind, text, &why);
    fuzz_check((taken == NULL) == (why != NULL));
    if (taken != NULL) {
        again = comment_text(kind, taken, &why);
        fuzz_check(again != NULL && strcmp(again, taken) == 0);
        comment_print_text(&b, bytes_text(taken));
        read = json_loadb((const char *)builder_bytes(&b).at, builder_bytes(&b).size, JSON_DECODE_ANY, NULL);
        fuzz_check(read != NULL && strcmp(json_string_value(read), taken) == 0);
        fuzz_check(bytes_find(builder_bytes(&b), '\n') < 0);
        json_decref(read);
        builder_drop(&b);
        skeleton = comment_skeleton(taken);
        (void)comment_has_link(taken);
        free(skeleton);
        free(again);
        free(taken);
    }
    free(text);
    return 0;
}
