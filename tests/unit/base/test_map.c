/* The hash map, against a plain array. */
#include "unit.h"

#include "base/map.h"
#include "base/random.h"

#include <stdio.h>

static void it_agrees_with_an_array_through_random_changes(void **state)
{
    static char values[500];
    bool in[500] = {false};
    struct map *m = map_new();
    size_t count = 0;

    print_message("seed 7\n");
    random_seed_for_test(7);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(random_u64() % 500);
        char key[16];
        struct bytes k = bytes_of(key, (size_t)snprintf(key, sizeof key, "key-%u", i));

        if (random_u64() % 2) {
            assert_ptr_equal(map_put(m, k, &values[i]), in[i] ? &values[i] : NULL);
            count += !in[i];
            in[i] = true;
        } else {
            assert_ptr_equal(map_remove(m, k), in[i] ? &values[i] : NULL);
            count -= in[i];
            in[i] = false;
        }
        assert_int_equal(map_count(m), count);
    }
    for (unsigned i = 0; i < 500; i++) {
        char key[16];

        snprintf(key, sizeof key, "key-%u", i);
        assert_ptr_equal(map_get(m, bytes_text(key)), in[i] ? &values[i] : NULL);
    }

    size_t walked = 0, at = 0;
    struct bytes key;
    void *value;

    while (map_next(m, &at, &key, &value))
        walked++;
    assert_int_equal(walked, count);
    map_free(m);
    random_seed_for_test(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_agrees_with_an_array_through_random_changes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
