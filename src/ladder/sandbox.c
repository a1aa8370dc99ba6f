/* ladder/sandbox.c - what a process that decodes foreign bytes may still do: compute, and use the pipes it
 * has. Everything else is refused by the kernel (seccomp), and memory and time are bounded by it (rlimits). */
#include "ladder/ladder_int.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static bool limit(__rlimit_resource_t which, rlim_t most)
{
    return setrlimit(which, &(struct rlimit){most, most}) == 0;
}

enum err sandbox_enter(unsigned seconds, size_t bytes)
{
    static const int allowed[] = {
        SCMP_SYS(read),           SCMP_SYS(write),        SCMP_SYS(close),
        SCMP_SYS(fstat),          SCMP_SYS(newfstatat),   SCMP_SYS(lseek),
        SCMP_SYS(mmap),           SCMP_SYS(munmap),       SCMP_SYS(mprotect),
        SCMP_SYS(mremap),         SCMP_SYS(madvise),      SCMP_SYS(brk),
        SCMP_SYS(futex),          SCMP_SYS(getrandom),    SCMP_SYS(clock_gettime),
        SCMP_SYS(gettimeofday),   SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
        SCMP_SYS(rt_sigprocmask), SCMP_SYS(sched_yield),  SCMP_SYS(sched_getaffinity),
        SCMP_SYS(sigaltstack),    SCMP_SYS(getpid),       SCMP_SYS(gettid),
        SCMP_SYS(exit),           SCMP_SYS(exit_group),   SCMP_SYS(tgkill),
    };
    scmp_filter_ctx filter;
    enum err e = ERR_IO;

    if (!limit(RLIMIT_CPU, seconds) || !limit(RLIMIT_AS, bytes) || !limit(RLIMIT_FSIZE, 0) ||
        !limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NPROC, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR_IO;
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM)); /* a library that asks for more gets a no, not a death */
    if (filter == NULL)
        return ERR_IO;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) != 0)
            goto out;
    if (seccomp_load(filter) == 0)
        e = ERR_OK;
out:
    seccomp_release(filter);
    return e;
}
