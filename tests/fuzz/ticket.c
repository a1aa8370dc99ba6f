/* tests/fuzz/ticket.c - viewers' tokens: nothing is signed by chance, and what is read back is what was written. */
#include "fuzz.h"

#include "access/access_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[TICKET_SECRET_SIZE] = "a secret that nobody guesses ...";
    static struct ticket_key key;
    struct ticket t, back;
    char text[TICKET_TEXT_SIZE];

    if (ulid_is_zero(key.id))
        ticket_key_init(&key, (struct ulid){{1}}, secret, 0);
    fuzz_check(!ticket_read(&key, 1, bytes_of(data, size), &t));
    if (size < sizeof t)
        return 0;
    memcpy(&t, data, sizeof t);
    t.issued_s &= 0xffffffffff;
    t.expires_s &= 0xffffffffff;
    ticket_write(&key, &t, text);
    fuzz_check(ticket_read(&key, 1, bytes_text(text), &back));
    fuzz_check(memcmp(&t, &back, sizeof t) == 0);
    return 0;
}
