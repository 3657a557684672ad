// deny_call NUMBER ERRNO COMMAND...: runs a command whose system calls of that number fail, as on a kernel or in a
// container that does not have them; with "NUMBER:FIRST" those whose first argument is FIRST. "listener" for NUMBER: instead has a listener over the command, which nobody serves.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int listens = !strcmp(arguments[1], "listener");
    char *first = strchr(arguments[1], ':');
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ, listens ? -1u : (unsigned)atoi(arguments[1]), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first ? (unsigned)atoi(first + 1) : 0, 0, first ? 1 : 0),
        BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | atoi(arguments[2])),
        BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int flags = listens ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
    int done = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (done < 0) return perror("seccomp"), 1;
    // A filter whose listener is closed is none in the way.
    if (listens) fcntl(done, F_SETFD, 0);
    execvp(arguments[3], arguments + 3);
    return perror(arguments[3]), 127;
}
