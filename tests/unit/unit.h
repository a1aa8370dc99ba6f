/* tests/unit/unit.h - what every unit test includes: cmocka, in the order it wants. */
#ifndef MATINEE_UNIT_H
#define MATINEE_UNIT_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#endif
