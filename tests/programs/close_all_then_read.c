// Reads a file (argument 1), closes all descriptors as a daemon does, opens 1200 others in their place, and reads
// argument 2. Prints both, and whether the others are still what they were. Every successful call must leave errno alone.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_file(const char *path, int out) {
    char text[64] = "";
    struct stat found;
    errno = 77;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || stat(path, &found) || access(path, R_OK) || errno != 77) strcpy(text, "failed");
    else if (read(fd, text, sizeof text - 1) < 0) strcpy(text, "unread");
    dprintf(out, "%s\n", text);
    if (fd >= 0) close(fd);
}

int main(int count, char **arguments) {
    struct rlimit limit = {4096, 4096};
    struct stat null, found;
    int others = 0, changed = 0;
    if (count < 3 || setrlimit(RLIMIT_NOFILE, &limit)) return 2;
    print_file(arguments[1], 1);
    int out = fcntl(1, F_DUPFD, 4000);
    close_range(0, 3999, 0);
    while (others < 1200 && open("/dev/null", O_RDONLY) >= 0) others++;
    stat("/dev/null", &null);
    print_file(arguments[2], out);
    for (int fd = 0; fd < others; fd++) changed += fstat(fd, &found) || found.st_rdev != null.st_rdev;
    dprintf(out, "others %d changed %d\n", others, changed);
    return 0;
}
