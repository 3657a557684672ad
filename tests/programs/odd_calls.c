/* odd_calls SEED ROUNDS: makes system calls of paths and sockets with arguments that mean nothing, and prints a line each:
 * number and errno. What it prints must not depend on who looks at the calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static const long numbers[] = {
    SYS_bind, SYS_connect, SYS_accept, SYS_accept4, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_sendto,
    SYS_recvfrom, SYS_openat, SYS_openat2, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_getxattr, SYS_lgetxattr, SYS_listxattr, SYS_llistxattr, SYS_inotify_add_watch, SYS_getcwd,
    SYS_chdir, SYS_execve, SYS_execveat, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg,
#ifdef __x86_64__
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink,
#endif
};

static uint64_t state;

static uint64_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    state = strtoull(argv[1], NULL, 10);
    long rounds = atol(argv[2]);
    size_t page = sysconf(_SC_PAGESIZE);
    /* Two pages, of which the second cannot be touched; the first is full of letters, without a NUL. */
    char *room = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < page; i++) room[i] = 'a';
    mprotect(room + page, page, PROT_NONE);
    char *texts[] = {"", "/", "/etc/none", "/proc/self", "relative", "/etc/passwd/below", ".", ".."};
    for (long i = 0; i < rounds; i++) {
        long number = numbers[next() % (sizeof numbers / sizeof *numbers)];
        uint64_t a[6];
        for (int j = 0; j < 6; j++) {
            switch (next() % 8) {
            case 0: a[j] = 0; break;
            case 1: a[j] = UINT64_MAX; break;
            case 2: a[j] = 900 + next() % 100; break; /* no open descriptor */
            case 3: a[j] = (uintptr_t)(room + page - 8); break;
            case 4: a[j] = (uintptr_t)(room + page); break;
            case 5: a[j] = (uintptr_t)texts[next() % 8]; break;
            case 6: a[j] = next(); break;
            default: a[j] = (uint64_t)(int64_t)-100; break; /* AT_FDCWD */
            }
        }
        /* What one run made, the next one would find. */
        if (number == SYS_openat) a[2] &= ~(uint64_t)O_CREAT;
#ifdef __x86_64__
        if (number == SYS_open) a[1] &= ~(uint64_t)O_CREAT;
#endif
        errno = 0;
        long done = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        printf("%ld %d\n", number, done < 0 ? errno : 0);
        if (done > 2 && (number == SYS_openat || number == SYS_openat2
#ifdef __x86_64__
                         || number == SYS_open
#endif
                         ))
            close(done);
    }
    return 0;
}
