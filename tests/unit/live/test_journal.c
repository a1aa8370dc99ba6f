/* The journal: what is durable is read back, what is torn is cut. */
#include "unit.h"

#include "base/limits.h"
#include "folder.h"
#include "live/live_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

struct witness {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t durable;
    enum err trouble;
    size_t count;
    uint64_t last_position;
    int64_t last_dts;
    uint8_t last_byte;
};

static void on_durable(void *ctx, uint64_t position)
{
    struct witness *w = ctx;

    pthread_mutex_lock(&w->lock);
    w->durable = position;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_trouble(void *ctx, enum err why)
{
    struct witness *w = ctx;

    pthread_mutex_lock(&w->lock);
    w->trouble = why;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void on_replay(void *ctx, const struct record *r, uint64_t position)
{
    struct witness *w = ctx;

    w->count++;
    w->last_position = position;
    w->last_dts = r->dts;
    w->last_byte = r->payload.size ? r->payload.at[r->payload.size - 1] : 0;
}

static const struct journal_events events = {on_durable, on_trouble};

static struct witness witness_new(void)
{
    return (struct witness){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void wait_durable(struct witness *w, uint64_t position)
{
    pthread_mutex_lock(&w->lock);
    while (w->durable < position)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static uint64_t append(struct journal *j, int64_t dts, size_t size)
{
    struct buffer *b = buffer_new(size);
    struct record r = {.kind = RECORD_SAMPLE, .video = {{1, 2, 3}}, .dts = dts, .pts = dts - 7, .message = b};

    memset(b->data, (int)(dts & 0xff), size);
    b->size = size;
    r.payload = buffer_bytes(b);

    uint64_t end = journal_append(j, &r);

    buffer_unref(b);
    return end;
}

static char *newest_file(const char *dir)
{
    struct dirent **names;
    char *path = NULL;
    int count = scandir(dir, &names, NULL, alphasort);

    assert_true(count > 2);
    assert_true(asprintf(&path, "%s/%s", dir, names[count - 1]->d_name) > 0);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return path;
}

static size_t file_count(const char *dir)
{
    size_t count = 0;
    DIR *d = opendir(dir);

    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += strstr(e->d_name, ".log") != NULL;
    closedir(d);
    return count;
}

static void what_was_called_durable_is_read_back_in_order(void **state)
{
    char *dir = folder_new();
    struct witness w = witness_new(), again = witness_new();
    struct journal *j;
    uint64_t end = 0;

    assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
    for (int i = 1; i <= 1000; i++)
        end = append(j, i, (size_t)i % 300);
    wait_durable(&w, end);
    journal_close(j);
    assert_int_equal(journal_open(&j, dir, on_replay, &events, &again), ERR_OK);
    assert_int_equal(again.count, 1000);
    assert_int_equal(again.last_dts, 1000);
    assert_int_equal(again.last_byte, 1000 & 0xff);
    /* It goes on behind what is there, and a third life sees both. */
    assert_int_equal(journal_position(j), end);
    wait_durable(&again, append(j, 1001, 10));
    journal_close(j);

    struct witness third = witness_new();

    assert_int_equal(journal_open(&j, dir, on_replay, &events, &third), ERR_OK);
    assert_int_equal(third.count, 1001);
    assert_int_equal(third.last_position, end);
    journal_close(j);
    folder_remove(dir);
}

/* A crash may cut the last record anywhere; what stands before it is kept, and the half is gone. */
static void a_torn_tail_is_cut_and_never_served(void **state)
{
    for (size_t cut = 1; cut <= 48 + 20; cut++) {
        char *dir = folder_new();
        struct witness w = witness_new(), again = witness_new();
        struct journal *j;

        assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
        (void)append(j, 1, 100);
        uint64_t end = append(j, 2, 20);

        wait_durable(&w, end);
        journal_close(j);

        char *path = newest_file(dir);

        assert_int_equal(truncate(path, (off_t)(end - cut)), 0);
        free(path);
        assert_int_equal(journal_open(&j, dir, on_replay, &events, &again), ERR_OK);
        assert_int_equal(again.count, 1);
        wait_durable(&again, append(j, 3, 5)); /* the log goes on where the whole part ends */
        journal_close(j);

        struct witness third = witness_new();

        assert_int_equal(journal_open(&j, dir, on_replay, &events, &third), ERR_OK);
        assert_int_equal(third.count, 2);
        assert_int_equal(third.last_dts, 3);
        journal_close(j);
        folder_remove(dir);
    }
}

static void a_flipped_bit_ends_the_log_there(void **state)
{
    char *dir = folder_new();
    struct witness w = witness_new(), again = witness_new();
    struct journal *j;

    assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
    uint64_t first = append(j, 1, 100);

    wait_durable(&w, append(j, 2, 100));
    journal_close(j);

    char *path = newest_file(dir), byte;
    int fd = open(path, O_RDWR);

    assert_int_equal(pread(fd, &byte, 1, (off_t)first + 60), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)first + 60), 1);
    close(fd);
    free(path);
    assert_int_equal(journal_open(&j, dir, on_replay, &events, &again), ERR_OK);
    assert_int_equal(again.count, 1);
    journal_close(j);
    folder_remove(dir);
}

static void files_that_nobody_needs_are_removed(void **state)
{
    char *dir = folder_new();
    struct witness w = witness_new();
    struct journal *j;
    uint64_t end = 0;

    assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
    while (file_count(dir) < 3) {
        end = append(j, 1, JOURNAL_FILE_BYTES_MAX / 4);
        wait_durable(&w, end);
    }
    journal_release(j, JOURNAL_FILE_BYTES_MAX / 2);
    assert_int_equal(file_count(dir), 3);
    journal_release(j, end);
    assert_int_equal(file_count(dir), 1);
    journal_close(j);
    folder_remove(dir);
}

/* A spare file still holds whole records of its earlier life: none of them may come back. */
static void a_file_that_is_written_over_shows_only_what_is_new(void **state)
{
    char *dir = folder_new();
    struct witness w = witness_new(), again = witness_new();
    struct journal *j;
    uint64_t end = 0;

    assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
    while (file_count(dir) < 2) {
        end = append(j, 1, JOURNAL_FILE_BYTES_MAX / 16);
        wait_durable(&w, end);
    }
    journal_release(j, end);
    while (file_count(dir) < 2) {
        end = append(j, 2, JOURNAL_FILE_BYTES_MAX / 16);
        wait_durable(&w, end);
    }
    for (int i = 0; i < 5; i++)
        end = append(j, 3, JOURNAL_FILE_BYTES_MAX / 16);
    wait_durable(&w, end);
    journal_release(j, end - 1); /* the file at hand is the one that was the spare */
    journal_close(j);
    assert_int_equal(journal_open(&j, dir, on_replay, &events, &again), ERR_OK);
    assert_int_equal(journal_position(j), end);
    assert_int_equal(again.last_dts, 3);
    assert_in_range(again.count, 5, 7);
    journal_close(j);
    folder_remove(dir);
}

static void a_disk_that_refuses_is_waited_out(void **state)
{
    char *dir = folder_new(), *hidden = NULL;
    struct witness w = witness_new(), again = witness_new();
    struct journal *j;

    assert_true(asprintf(&hidden, "%s-hidden", dir) > 0);
    assert_int_equal(journal_open(&j, dir, on_replay, &events, &w), ERR_OK);
    assert_int_equal(rename(dir, hidden), 0); /* no file can be begun now */
    uint64_t end = append(j, 1, 50);

    pthread_mutex_lock(&w.lock);
    while (w.trouble == ERR_OK)
        pthread_cond_wait(&w.changed, &w.lock);
    assert_int_equal(w.durable, 0);
    pthread_mutex_unlock(&w.lock);
    assert_int_equal(rename(hidden, dir), 0);
    wait_durable(&w, end);
    assert_int_equal(w.trouble, ERR_OK);
    journal_close(j);
    assert_int_equal(journal_open(&j, dir, on_replay, &events, &again), ERR_OK);
    assert_int_equal(again.count, 1);
    journal_close(j);
    free(hidden);
    folder_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_called_durable_is_read_back_in_order),
        cmocka_unit_test(a_torn_tail_is_cut_and_never_served),
        cmocka_unit_test(a_flipped_bit_ends_the_log_there),
        cmocka_unit_test(files_that_nobody_needs_are_removed),
        cmocka_unit_test(a_file_that_is_written_over_shows_only_what_is_new),
        cmocka_unit_test(a_disk_that_refuses_is_waited_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
