// Opens directories of the pod with the flags named (O_PATH or O_RDONLY), and looks at what is below them.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void print_file(const char *what, int fd) {
    char text[64] = "";
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        printf("%s %s\n", what, strerrorname_np(errno));
    else
        printf("%s %s\n", what, text);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void print_members(const char *what, int fd) {
    DIR *members = fdopendir(fd);
    char *names[64];
    size_t n = 0;
    if (!members) perror("fdopendir"), exit(1);
    for (struct dirent *member; (member = readdir(members)) && n < 64;)
        if (member->d_name[0] != '.') names[n++] = strdup(member->d_name);
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) printf("%s %s\n", what, names[i]);
}

int main(int count, char **arguments) {
    int flags = count > 1 && !strcmp(arguments[1], "O_PATH") ? O_PATH : O_RDONLY;
    struct stat found;
    struct statx found_x;
    char text[4096] = "";
    setbuf(stdout, NULL);
    int dir = open("/app", flags | O_DIRECTORY);
    if (dir < 0) return perror("open"), 1;
    print_file("openat", openat(dir, "config.yaml", O_RDONLY));
    printf("fstatat %lld\n", fstatat(dir, "conf.d/b.txt", &found, 0) ? -1LL : (long long)found.st_size);
    int failed = statx(dir, "conf.d/b.txt", 0, STATX_SIZE, &found_x);
    printf("statx %lld\n", failed ? -1LL : (long long)found_x.stx_size);
    printf("faccessat %d\n", faccessat(dir, "conf.d", R_OK, 0));
    printf("readlinkat %s\n", readlinkat(dir, "to-file", text, sizeof text - 1) < 0 ? strerrorname_np(errno) : text);
    print_members("members", openat(dir, ".", O_RDONLY | O_DIRECTORY));
    int deep = openat(dir, "conf.d/deep", O_RDONLY | O_DIRECTORY);
    print_members("deep", dup(deep));
    print_file("up", openat(deep, "../a.txt", O_RDONLY));
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", open("/data/real.txt", flags));
    print_file("opened-again", open(again, O_RDONLY));
    int conf = openat(dir, "conf.d", flags | O_DIRECTORY);
    printf("fchdir %s\n", fchdir(conf) ? strerrorname_np(errno) : getcwd(text, sizeof text));
    print_file("by-name", open("b.txt", O_RDONLY));
    print_file("parent", openat(openat(AT_FDCWD, "..", flags | O_DIRECTORY), "config.yaml", O_RDONLY));
    char *command[] = {"tell", "word", NULL};
    printf("execveat ");
    if (!fork()) {
        execveat(dir, "tell", command, environ, 0);
        printf("%s\n", strerrorname_np(errno));
        _exit(1);
    }
    wait(NULL);
    print_file("out", openat(dir, "../etc/inpod-not-there", O_RDONLY));
    return 0;
}
