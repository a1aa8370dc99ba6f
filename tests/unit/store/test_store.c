/* Objects in files. */
#include "unit.h"

#include "folder.h"
#include "store/store.h"

#include <fcntl.h>
#include <unistd.h>

static struct store *open_store(const char *dir)
{
    char url[128], why[256];
    struct store *s;

    snprintf(url, sizeof url, "file:%s/store", dir);
    assert_int_equal(store_open(&s, url, why), ERR_OK);
    return s;
}

static void what_is_put_is_there_after_a_restart(void **state)
{
    char *dir = folder_new();
    struct store *s = open_store(dir);
    struct buffer *b;

    assert_int_equal(store_put(s, "v/A/source/000001.m4s", bytes_text("hello")), ERR_OK);
    store_close(s);
    s = open_store(dir);
    assert_int_equal(store_get(s, "v/A/source/000001.m4s", &b), ERR_OK);
    assert_true(bytes_is(buffer_bytes(b), "hello"));
    buffer_unref(b);
    assert_int_equal(store_get(s, "v/A/source/000002.m4s", &b), ERR_MISSING);
    assert_int_equal(store_delete_all(s, "v/A"), ERR_OK);
    store_close(s);
    s = open_store(dir);
    assert_int_equal(store_get(s, "v/A/source/000001.m4s", &b), ERR_MISSING);
    store_close(s);
    folder_remove(dir);
}

static void what_is_held_can_be_read_before_it_is_stored(void **state)
{
    char *dir = folder_new();
    struct store *s = open_store(dir);
    struct buffer *content = buffer_copy(bytes_text("early")), *b;

    assert_null(store_peek(s, "a/b"));
    store_hold(s, "a/b", content);
    assert_ptr_equal(b = store_peek(s, "a/b"), content);
    buffer_unref(b);
    assert_int_equal(store_get(s, "a/b", &b), ERR_OK);
    buffer_unref(b);
    store_cool(s, "a/b");
    assert_ptr_equal(b = store_peek(s, "a/b"), content); /* it is held, so it stays */
    buffer_unref(b);
    assert_int_equal(store_put(s, "a/b", buffer_bytes(content)), ERR_OK);
    store_cool(s, "a/b");
    assert_null(store_peek(s, "a/b"));
    assert_int_equal(store_get(s, "a/b", &b), ERR_OK);
    buffer_unref(b);
    assert_int_equal(store_delete(s, "a/b"), ERR_OK);
    assert_null(store_peek(s, "a/b"));
    buffer_unref(content);
    store_close(s);
    folder_remove(dir);
}

static void names_cannot_leave_the_folder(void **state)
{
    static const char *const bad[] = {"",      "/",    "../x", "a/../b", "a//b", "a/",     "/a", ".",
                                      "a/./b", "a\\b", "a b",  "a\nb",   "a/.b", ".put-1", "é",  "a%2fb"};
    char *dir = folder_new();
    struct store *s = open_store(dir);
    struct buffer *b;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(store_put(s, bad[i], bytes_text("x")), ERR_BAD);
        assert_int_equal(store_get(s, bad[i], &b), ERR_BAD);
        assert_int_equal(store_delete(s, bad[i]), ERR_BAD);
        assert_int_equal(store_delete_all(s, bad[i]), ERR_BAD);
    }
    store_close(s);
    folder_remove(dir);
}

static void what_a_crash_left_half_written_is_swept_away(void **state)
{
    char *dir = folder_new(), path[128];
    struct store *s = open_store(dir);

    assert_int_equal(store_put(s, "v/x", bytes_text("whole")), ERR_OK);
    store_close(s);
    snprintf(path, sizeof path, "%s/store/v/.put-1-2", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    s = open_store(dir);
    assert_int_equal(access(path, F_OK), -1);

    struct buffer *b;

    assert_int_equal(store_get(s, "v/x", &b), ERR_OK);
    buffer_unref(b);
    store_close(s);
    folder_remove(dir);
}

static void memory_is_bounded_and_gives_up_the_oldest_first(void **state)
{
    char *dir = folder_new(), name[16];
    struct store *s = open_store(dir);
    struct buffer *b = buffer_new(STORE_CACHE_BYTES_MAX / 4);

    b->size = b->capacity;
    memset(b->data, 1, b->size);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "n/%d", i);
        store_hold(s, name, b);
        assert_int_equal(store_put(s, name, bytes_text("small on disk")), ERR_OK);
    }
    assert_null(store_peek(s, "n/0"));
    assert_null(store_peek(s, "n/1"));
    for (int i = 2; i < 6; i++) {
        struct buffer *found;

        snprintf(name, sizeof name, "n/%d", i);
        assert_non_null(found = store_peek(s, name));
        buffer_unref(found);
    }
    buffer_unref(b);
    store_close(s);
    folder_remove(dir);
}

static void what_is_deleted_with_its_folder_is_gone_from_memory_too(void **state)
{
    char *dir = folder_new(), url[128], why[256];
    struct store *s;
    struct buffer *b = buffer_copy(bytes_text("content")), *found;

    snprintf(url, sizeof url, "file:%s", dir);
    assert_int_equal(store_open(&s, url, why), ERR_OK);
    store_hold(s, "v/1/a", b); /* was never put: its video was deleted while the disk was full */
    store_hold(s, "v/1/b", b);
    assert_int_equal(store_put(s, "v/1/b", buffer_bytes(b)), ERR_OK);
    store_hold(s, "v/12/a", b);
    assert_int_equal(store_delete_all(s, "v/1"), ERR_OK);
    assert_null(store_peek(s, "v/1/a"));
    assert_null(store_peek(s, "v/1/b"));
    assert_non_null(found = store_peek(s, "v/12/a"));
    buffer_unref(found);
    buffer_unref(b);
    store_close(s);
    folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_there_after_a_restart),
        cmocka_unit_test(what_is_held_can_be_read_before_it_is_stored),
        cmocka_unit_test(names_cannot_leave_the_folder),
        cmocka_unit_test(what_a_crash_left_half_written_is_swept_away),
        cmocka_unit_test(memory_is_bounded_and_gives_up_the_oldest_first),
        cmocka_unit_test(what_is_deleted_with_its_folder_is_gone_from_memory_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
