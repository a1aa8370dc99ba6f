/* What stands between a store and those who want something of it: the breaker, the copies on disk. */
#include "unit.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/random.h"
#include "folder.h"
#include "store/store_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* --- the breaker ------------------------------------------------------------------------------------- */

static void fail_until_open(struct breaker *b)
{
    for (int i = 0; i < STORE_FAILURES_MAX; i++) {
        assert_true(breaker_admits(b));
        breaker_tell(b, ERR_IO);
    }
}

static void a_store_that_fails_is_left_alone_and_one_call_finds_out(void **state)
{
    struct breaker b;

    clock_test_set(1000000000, 0);
    breaker_init(&b, "calls");
    fail_until_open(&b);
    assert_false(breaker_admits(&b));
    clock_test_set(1000000000 + STORE_PAUSE_MS_MIN * 1000, 0);
    assert_true(breaker_admits(&b));
    assert_false(breaker_admits(&b)); /* the others wait for what that one finds */
    assert_true(breaker_open_ms(&b) > 0);
    breaker_tell(&b, ERR_MISSING); /* it answers */
    assert_true(breaker_admits(&b));
    assert_true(breaker_admits(&b));
    assert_int_equal(breaker_open_ms(&b), 0);
    breaker_drop(&b);
    clock_test_off();
}

static void pauses_grow_up_to_their_end(void **state)
{
    struct breaker b;
    int64_t at_us = 1000000000;

    clock_test_set(at_us, 0);
    breaker_init(&b, "calls");
    fail_until_open(&b);
    for (int i = 0; i < 40; i++) {
        int64_t pause_ms = b.again_at_ms - at_us / 1000;

        assert_in_range(pause_ms, STORE_PAUSE_MS_MIN / 2, STORE_PAUSE_MS_MAX);
        if (i >= 10)
            assert_true(pause_ms >= STORE_PAUSE_MS_MAX / 2);
        at_us += pause_ms * 1000;
        clock_test_set(at_us, 0);
        assert_true(breaker_admits(&b));
        breaker_tell(&b, ERR_TIMEOUT);
    }
    breaker_drop(&b);
    clock_test_off();
}

/* --- copies on disk ---------------------------------------------------------------------------------- */

static void assert_has(struct disk *d, const char *name, const char *content)
{
    struct buffer *b = disk_get(d, name);

    if (content == NULL) {
        assert_null(b);
        return;
    }
    assert_non_null(b);
    assert_true(bytes_is(buffer_bytes(b), content));
    buffer_unref(b);
}

static void what_is_used_least_goes_first_and_what_is_held_stays(void **state)
{
    char *dir = folder_new();
    struct disk *d;

    assert_int_equal(disk_open(&d, dir, 10), ERR_OK);
    assert_int_equal(disk_put(d, "held", bytes_text("0123456789"), true), ERR_OK);
    assert_int_equal(disk_put(d, "a", bytes_text("aaaa"), false), ERR_OK);
    assert_int_equal(disk_put(d, "b", bytes_text("bbbb"), false), ERR_OK);
    assert_has(d, "a", "aaaa"); /* used later than b */
    assert_int_equal(disk_put(d, "c", bytes_text("cccc"), false), ERR_OK);
    assert_has(d, "b", NULL);
    assert_has(d, "a", "aaaa");
    assert_has(d, "held", "0123456789");
    assert_int_equal(disk_held_bytes(d), 10);
    disk_cool(d, "held"); /* it is held, so it stays */
    assert_has(d, "held", "0123456789");
    disk_let_go(d, "held");
    assert_int_equal(disk_held_bytes(d), 0);
    assert_has(d, "a", NULL); /* there was no room for both */
    disk_close(d);
    folder_remove(dir);
}

static void a_damaged_copy_is_no_copy_and_an_earlier_runs_are_removed(void **state)
{
    char *dir = folder_new(), path[128];
    struct disk *d;

    assert_int_equal(disk_open(&d, dir, 1000), ERR_OK);
    assert_int_equal(disk_put(d, "v/a", bytes_text("content"), true), ERR_OK);
    snprintf(path, sizeof path, "%s/0.object", dir);
    int fd = open(path, O_WRONLY);

    assert_int_equal(pwrite(fd, "C", 1, 0), 1);
    close(fd);
    assert_has(d, "v/a", NULL);
    assert_int_equal(disk_put(d, "v/b", bytes_text("b"), false), ERR_OK);
    disk_remove_all(d, "v");
    assert_has(d, "v/b", NULL);
    assert_int_equal(disk_held_bytes(d), 0);
    disk_close(d);

    snprintf(path, sizeof path, "%s/77.object", dir);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(disk_open(&d, dir, 1000), ERR_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    disk_close(d);
    folder_remove(dir);
}

static size_t files_in(const char *dir)
{
    DIR *list = opendir(dir);
    size_t count = 0;

    assert_non_null(list);
    for (struct dirent *e; (e = readdir(list)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(list);
    return count;
}

static void a_file_store_has_on_the_disk_what_waits_for_it_and_no_copies(void **state)
{
    char *dir = folder_new(), url[128], copies[128], why[256];
    struct buffer *content = buffer_copy(bytes_text("more than memory is to hold")), *b;
    struct store *s;

    snprintf(url, sizeof url, "file:%s/store", dir);
    snprintf(copies, sizeof copies, "%s/copies", dir);
    assert_int_equal(store_open(&s, url, why), ERR_OK);
    assert_int_equal(store_use_disk(s, copies, 1000, 10, why), ERR_OK);
    store_hold(s, "a/b", content);
    store_spill(s);
    assert_null(store_peek(s, "a/b"));
    assert_int_equal(files_in(copies), 1);
    assert_int_equal(store_held_bytes(s), content->size);
    assert_int_equal(store_get(s, "a/b", &b), ERR_OK);
    assert_true(bytes_equal(buffer_bytes(b), buffer_bytes(content)));
    buffer_unref(b);
    assert_int_equal(store_put_held(s, "a/b"), ERR_OK);
    assert_int_equal(store_held_bytes(s), 0);
    assert_int_equal(files_in(copies), 0);
    store_cool(s, "a/b");
    assert_int_equal(store_get(s, "a/b", &b), ERR_OK);
    assert_true(bytes_equal(buffer_bytes(b), buffer_bytes(content)));
    assert_int_equal(files_in(copies), 0);
    assert_int_equal(store_away_ms(s), 0);
    buffer_unref(b);
    buffer_unref(content);
    store_close(s);
    folder_remove(dir);
}

static void what_is_held_is_put_by_its_name(void **state)
{
    char *dir = folder_new(), url[128], why[256];
    struct buffer *content = buffer_copy(bytes_text("held")), *b;
    struct store *s;

    snprintf(url, sizeof url, "file:%s/store", dir);
    assert_int_equal(store_open(&s, url, why), ERR_OK);
    assert_int_equal(store_put_held(s, "a/b"), ERR_MISSING);
    store_hold(s, "a/b", content);
    buffer_unref(content);
    assert_int_equal(store_held_bytes(s), 4);
    assert_int_equal(store_put_held(s, "a/b"), ERR_OK);
    assert_int_equal(store_held_bytes(s), 0);
    store_close(s);
    assert_int_equal(store_open(&s, url, why), ERR_OK);
    assert_int_equal(store_get(s, "a/b", &b), ERR_OK);
    assert_true(bytes_is(buffer_bytes(b), "held"));
    buffer_unref(b);
    store_close(s);
    folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_fails_is_left_alone_and_one_call_finds_out),
        cmocka_unit_test(pauses_grow_up_to_their_end),
        cmocka_unit_test(what_is_used_least_goes_first_and_what_is_held_stays),
        cmocka_unit_test(a_damaged_copy_is_no_copy_and_an_earlier_runs_are_removed),
        cmocka_unit_test(a_file_store_has_on_the_disk_what_waits_for_it_and_no_copies),
        cmocka_unit_test(what_is_held_is_put_by_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
