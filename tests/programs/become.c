// Does one step after another; each may make it another program, which goes on with the steps behind its name:
//   look            says what the host is called
//   fail            executes what is not there
//   exec FILE       executes it; `descriptor` does by a descriptor, `thread` in a second thread while the first asks on
//   fork            a child looks
//   vfork FILE      a child that has our memory looks, and executes it; it looks, too
//   number PID      a child of that number looks (clone3(2), set_tid)
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void look(void) {
    struct utsname facts;
    if (uname(&facts)) _exit(2);
    dprintf(STDOUT_FILENO, "%s\n", facts.nodename);
}

static void *execute(void *steps) {
    char **arguments = steps;
    execv(arguments[0], arguments);
    perror(arguments[0]);
    _exit(2);
}

static void await(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status) perror("child"), exit(2);
}

static void *ask(void *nothing) {
    for (struct utsname facts;;) uname(&facts);
    return nothing;
}

int main(int count, char **steps) {
    pthread_t thread;
    for (int i = 1; i < count; i++) {
        char **rest = steps + i + 1;
        if (!strcmp(steps[i], "look")) look();
        if (!strcmp(steps[i], "fail")) execv("/not/there", steps);
        if (!strcmp(steps[i], "exec")) execute(rest);
        if (!strcmp(steps[i], "descriptor"))
            syscall(SYS_execveat, open(rest[0], O_PATH | O_CLOEXEC), "", rest, environ, AT_EMPTY_PATH);
        if (!strcmp(steps[i], "thread")) {
            pthread_create(&thread, NULL, execute, rest);
            ask(NULL);
        }
        if (!strcmp(steps[i], "fork")) {
            pid_t child = fork();
            if (!child) look(), _exit(0);
            await(child);
        }
        if (!strcmp(steps[i], "vfork")) {
            char *arguments[] = {rest[0], "look", NULL};
            pid_t child = vfork();
            if (!child) look(), execute(arguments);
            await(child);
            i++;
        }
        if (!strcmp(steps[i], "number")) {
            pid_t number = atoi(rest[0]);
            struct clone_args how = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
            pid_t child = syscall(SYS_clone3, &how, sizeof how);
            if (!child) look(), _exit(0);
            await(child);
            i++;
        }
    }
    return 0;
}
