/* ladder/sandbox.c - what a process that decodes foreign bytes may still do: compute, and use the pipes it
 * has. Everything else is refused by the kernel (seccomp), and memory and time are bounded by it
 * (rlimits). */
#include "ladder/ladder_int.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* A tighter limit that is there already, of whoever runs the server, stays. */
static bool limit(__rlimit_resource_t which, rlim_t most)
{
    struct rlimit now;

    if (getrlimit(which, &now) != 0)
        return false;
    if (now.rlim_max < most) /* RLIM_INFINITY is the highest number */
        most = now.rlim_max;
    return setrlimit(which, &(struct rlimit){most, most}) == 0;
}

/* AddressSanitizer maps terabytes that it never touches. */
static bool limit_memory(size_t bytes)
{
#if defined(__SANITIZE_ADDRESS__)
    return bytes > 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    return bytes > 0;
#else
    return limit(RLIMIT_AS, bytes);
#endif
#else
    return limit(RLIMIT_AS, bytes);
#endif
}

/* Threads of this process and no other processes: clone() with CLONE_THREAD. clone3() hides its flags from
 * the filter, and libc takes clone() where it is said not to exist. */
static bool allow_threads(scmp_filter_ctx filter)
{
    static const int needed[] = {SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_getparam),
                                 SCMP_SYS(sched_getscheduler), SCMP_SYS(clock_nanosleep)};
    bool good = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) == 0 &&
                seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;

    for (size_t i = 0; good && i < sizeof needed / sizeof *needed; i++)
        good = seccomp_rule_add(filter, SCMP_ACT_ALLOW, needed[i], 0) == 0;
    return good;
}

enum err sandbox_enter(unsigned seconds, size_t bytes, enum sandbox_threads threads)
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

    if (!limit(RLIMIT_CPU, seconds) || !limit_memory(bytes) || !limit(RLIMIT_FSIZE, 0) ||
        !limit(RLIMIT_CORE, 0) || (threads == SANDBOX_ONE_THREAD && !limit(RLIMIT_NPROC, 0)) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return ERR_IO;
    filter = seccomp_init(SCMP_ACT_ERRNO(EPERM)); /* a library that asks for more gets a no, not a death */
    if (filter == NULL)
        return ERR_IO;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0) != 0)
            goto out;
    if (threads == SANDBOX_THREADS && !allow_threads(filter))
        goto out;
    if (seccomp_load(filter) == 0)
        e = ERR_OK;
out:
    seccomp_release(filter);
    return e;
}
