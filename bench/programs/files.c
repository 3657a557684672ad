/* files read PATH COUNT | tree FOLDER | stat FOLDER | list FOLDER | big PATH BLOCK: what that took, as JSON.
 * `tree` reads and `stat` looks at FOLDER/0 up to FOLDER/999. */
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FILES 1000

static long read_whole(const char *path, char *buffer, size_t block) {
    long total = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(fd >= 0, path);
    while ((n = read(fd, buffer, block)) > 0) total += n;
    need(n == 0, path);
    close(fd);
    return total;
}

int main(int argc, char **argv) {
    need(argc > 2, "usage");
    const char *what = argv[1], *path = argv[2];
    size_t block = argc > 3 && !strcmp(what, "big") ? strtoul(argv[3], NULL, 10) : 4096;
    long count = !strcmp(what, "read") ? atol(argv[3]) : !strcmp(what, "list") || !strcmp(what, "big") ? 1 : FILES;
    double *us = calloc(count, sizeof *us), start = now_us();
    char *buffer = malloc(block), name[4096];
    for (long i = 0; i < count; i++) {
        double before = now_us();
        snprintf(name, sizeof name, "%s/%ld", path, i);
        if (!strcmp(what, "read")) {
            need(read_whole(path, buffer, block) == 200, "200 bytes");
        } else if (!strcmp(what, "tree")) {
            need(read_whole(name, buffer, block) == 200, "200 bytes");
        } else if (!strcmp(what, "stat")) {
            struct stat found;
            need(stat(name, &found) == 0 && found.st_size == 200, name);
        } else if (!strcmp(what, "list")) {
            DIR *folder = opendir(path);
            long members = 0;
            need(folder != NULL, path);
            while (readdir(folder)) members++;
            need(members == FILES + 2, "members");
            closedir(folder);
        } else {
            need(read_whole(path, buffer, block) == 100L << 20, "100 MiB");
        }
        us[i] = now_us() - before;
    }
    double first = us[0];
    fprintf(stderr, "first %.2f\n", first);
    tell(us, count, now_us() - start);
    return 0;
}
