// Looks at one path in every way that libc has, and prints a line for each: the call, and what it said.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static void say(const char *call, int failed) { printf("%s %s\n", call, failed ? strerrorname_np(errno) : "ok"); }

static void say_stat(const char *call, int failed, const struct stat *found) {
    if (failed)
        say(call, 1);
    else
        printf("%s %s %lld %lld\n", call, S_ISREG(found->st_mode) ? "file" : S_ISDIR(found->st_mode) ? "dir" : "link",
               S_ISREG(found->st_mode) ? (long long)found->st_size : 0, (long long)found->st_mtime);
}

static void say_text(const char *call, const char *text) {
    if (text)
        printf("%s %s\n", call, text);
    else
        say(call, 1);
}

static void read_fd(const char *call, int fd) {
    char text[64] = "";
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    say_text(call, n < 0 ? NULL : text);
    if (fd >= 0) close(fd);
}

int main(int count, char **arguments) {
    const char *path = arguments[count - 1];
    struct stat found;
    struct statx found_x;
    struct statvfs system;
    say_stat("stat", stat(path, &found), &found);
    say_stat("lstat", lstat(path, &found), &found);
    say_stat("fstatat", fstatat(AT_FDCWD, path, &found, 0), &found);
    say_stat("fstatat-nofollow", fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW), &found);
    // What programs call that were linked against glibc before 2.33.
    int (*old_stat)(int, const char *, struct stat *) = dlsym(RTLD_DEFAULT, "__xstat64");
    int (*old_lstat)(int, const char *, struct stat *) = dlsym(RTLD_DEFAULT, "__lxstat");
    int (*old_fstatat)(int, int, const char *, struct stat *, int) = dlsym(RTLD_DEFAULT, "__fxstatat");
    say_stat("xstat", old_stat(1, path, &found), &found);
    say_stat("lxstat", old_lstat(1, path, &found), &found);
    say_stat("fxstatat", old_fstatat(1, AT_FDCWD, path, &found, 0), &found);
    say("inotify", inotify_add_watch(inotify_init1(0), path, IN_MODIFY) < 0);
    say("statx", statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &found_x));
    say("statvfs", statvfs(path, &system));
    say("access", access(path, R_OK));
    say("faccessat", faccessat(AT_FDCWD, path, R_OK, 0));
    say("eaccess", eaccess(path, R_OK));
    say("ftok", ftok(path, 1) == -1);
    struct dirent **listed;
    say("scandirat", scandirat(AT_FDCWD, path, &listed, NULL, alphasort) < 0);
    say("access-missing", access("/app/no/such", F_OK));
    char text[PATH_MAX] = "";
    say_text("readlink", readlink(path, text, sizeof text - 1) < 0 ? NULL : text);
    memset(text, 0, sizeof text);
    say_text("readlink-short", readlink(path, text, 5) < 0 ? NULL : text);
    say_text("realpath", realpath(path, NULL));
    say_text("canonicalize", canonicalize_file_name(path));
    read_fd("open", open(path, O_RDONLY | O_CLOEXEC));
    read_fd("openat", openat(AT_FDCWD, path, O_RDONLY));
    read_fd("syscall-openat", syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0));
    FILE *file = fopen(path, "re");
    say_text("fopen", file && fgets(text, sizeof text, file) ? text : NULL);
    if (file) file = freopen(path, "r", file);
    say("freopen", file == NULL);
    int fd = open(path, O_RDONLY);
    char *map = fd < 0 ? MAP_FAILED : mmap(NULL, 5, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map != MAP_FAILED) printf("mmap %.5s\n", map);
    DIR *dir = opendir(path);
    say("opendir", dir == NULL);
    struct dirent **members;
    int n = scandir(path, &members, NULL, alphasort);
    if (n < 0) say("scandir", 1);
    for (int i = 0; i < n; i++) printf("scandir %s\n", members[i]->d_name);
    char pattern[PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s*", path);
    glob_t matches;
    if (glob(pattern, 0, NULL, &matches) == 0)
        for (size_t i = 0; i < matches.gl_pathc; i++) printf("glob %s\n", matches.gl_pathv[i]);
    say("getxattr", getxattr(path, "user.none", text, sizeof text) < 0);
    say("llistxattr", llistxattr(path, text, sizeof text) < 0);
    say("open-to-write", open(path, O_WRONLY) < 0);
    return 0;
}
