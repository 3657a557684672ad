// Changes into a directory (argument 1) and looks around by relative names; argument 2 names a file in it.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_file(const char *what, int fd) {
    char text[64] = "";
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        printf("%s %s\n", what, strerrorname_np(errno));
    else
        printf("%s %s\n", what, text);
}

int main(int count, char **arguments) {
    const char *dir = arguments[1], *name = arguments[2];
    char path[4096], small[3];
    struct stat found;
    if (count < 3 || chdir(dir)) return perror("chdir"), 1;
    printf("getcwd %s\n", getcwd(path, sizeof path));
    printf("getcwd-malloc %s\n", getcwd(NULL, 0));
    printf("getcwd-small %s\n", getcwd(small, sizeof small) ? "fits" : strerrorname_np(errno));
    printf("get_current_dir_name %s\n", get_current_dir_name());
    print_file("open", open(name, O_RDONLY));
    int failed = stat(name, &found);
    printf("stat %d %lld\n", failed, (long long)found.st_size);
    int here = open(".", O_RDONLY | O_DIRECTORY);
    print_file("openat", openat(here, name, O_RDONLY));
    printf("realpath %s\n", realpath(name, NULL));
    printf("realpath-dot %s\n", realpath(".", NULL));
    int n = 0;
    DIR *members = opendir(".");
    for (struct dirent *member; members && (member = readdir(members));) n += member->d_name[0] != '.';
    printf("members %d\n", n);
    printf("missing %s\n", stat("no-such-name", &found) ? strerrorname_np(errno) : "there");
    print_file("out", open("../../etc/inpod-not-there", O_RDONLY));
    printf("local-by-steps-up %d\n", stat("../../../../../usr/bin/env", &found));
    printf("create %s\n", open("made-here", O_WRONLY | O_CREAT, 0600) < 0 ? strerrorname_np(errno) : "made");
    if (chdir("..")) return perror("chdir .."), 1;
    printf("up %s\n", getcwd(path, sizeof path));
    return 0;
}
