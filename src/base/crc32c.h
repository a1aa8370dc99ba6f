/* base/crc32c.h - the Castagnoli checksum (RFC 3720 appendix B.4) that guards records on disk. */
#ifndef MATINEE_BASE_CRC32C_H
#define MATINEE_BASE_CRC32C_H

#include "base/bytes.h"

/* Continues `crc` (0 to begin) over `b`. Pure; any thread. */
uint32_t crc32c(uint32_t crc, struct bytes b);

#endif
