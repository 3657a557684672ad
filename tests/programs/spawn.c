// Starts a program (argument 2, of which the rest are the arguments) in the way of argument 1, with the environment
// "A=1" only; "large": with 5000 variables more. Waits for it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *small[] = {"A=1", NULL};

static char **large(void) {
    char **all = calloc(5002, sizeof *all);
    for (int i = 0; i < 5000; i++)
        if (asprintf(&all[i], "V%04d=%d", i, i) < 0) exit(1);
    all[5000] = "A=1";
    return all;
}

static void run_listed(int (*call)(const char *, const char *, ...), char **w) {
    int count = 0;
    while (w[count]) count++;
    // More of them than there are registers; the environment is execle's.
    if (count == 1) call(w[0], w[0], NULL, small);
    if (count == 2) call(w[0], w[0], w[1], NULL, small);
    if (count == 3) call(w[0], w[0], w[1], w[2], NULL, small);
    if (count == 11) call(w[0], w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], NULL, small);
}

static void run(const char *way, char **command) {
    if (!strcmp(way, "execve")) execve(command[0], command, small);
    if (!strcmp(way, "large")) execve(command[0], command, large());
    if (!strcmp(way, "null")) execve(command[0], command, NULL);
    if (!strcmp(way, "execvpe")) execvpe(command[0], command, small);
    if (!strcmp(way, "fexecve")) fexecve(open(command[0], O_RDONLY), command, small);
    if (!strcmp(way, "execveat")) execveat(AT_FDCWD, command[0], command, small, 0);
    // The flag says nothing of a path that is not empty.
    if (!strcmp(way, "flagged")) execveat(AT_FDCWD, command[0], command, small, AT_EMPTY_PATH);
    if (!strcmp(way, "syscall")) syscall(SYS_execve, command[0], command, small);
    environ = small;
    if (!strcmp(way, "execv")) execv(command[0], command);
    if (!strcmp(way, "execvp")) execvp(command[0], command);
    if (!strcmp(way, "execl")) run_listed(execl, command);
    if (!strcmp(way, "execlp")) run_listed(execlp, command);
    if (!strcmp(way, "system")) _exit(WEXITSTATUS(system(command[0])));
    if (!strcmp(way, "popen")) {
        FILE *said = popen(command[0], "r");
        for (int c; said && (c = getc(said)) != EOF;) putchar(c);
        fflush(stdout);
        _exit(said ? WEXITSTATUS(pclose(said)) : 127);
    }
    environ = NULL;
    if (!strcmp(way, "execle")) run_listed(execle, command);
    _exit(127);
}

int main(int count, char **arguments) {
    const char *way = arguments[1];
    char **command = arguments + 2;
    int status = 0, failed = 0;
    pid_t child = -1;
    if (count < 3) return 2;
    if (!strcmp(way, "vfork")) {
        child = vfork();
        if (!child) run("execve", command);
    } else if (!strcmp(way, "posix_spawn")) {
        failed = posix_spawn(&child, command[0], NULL, NULL, command, small);
    } else if (!strcmp(way, "posix_spawnp")) {
        failed = posix_spawnp(&child, command[0], NULL, NULL, command, small);
    } else {
        child = fork();
        if (!child) run(way, command);
    }
    if (failed) return printf("%s\n", strerrorname_np(failed)), 1;
    waitpid(child, &status, 0);
    // After a vfork child was here, the layer in this process must still work.
    if (!strcmp(way, "vfork")) printf("afterwards %d\n", access("/app/config.yaml", R_OK));
    return WEXITSTATUS(status);
}
