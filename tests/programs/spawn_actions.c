// Starts `cat - NAME` in FOLDER with FILE as its standard input, by actions of posix_spawn; arguments FOLDER NAME FILE. Says
// the name of the error where it does not start.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

int main(int count, char **arguments) {
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    int added = posix_spawn_file_actions_addchdir_np(&actions, arguments[1]);
    if (!added) added = posix_spawn_file_actions_addopen(&actions, 0, arguments[count - 1], O_RDONLY, 0);
    char *words[] = {"cat", "-", arguments[2], NULL};
    pid_t child;
    int failed = added ? added : posix_spawnp(&child, "cat", &actions, NULL, words, environ), status = 1;
    posix_spawn_file_actions_destroy(&actions);
    if (failed) return puts(strerrorname_np(failed)), 1;
    return waitpid(child, &status, 0) < 0 || status;
}
