// Walks a folder (argument 2) by nftw with all flags, by ftw or by fts (argument 1), and prints what each finds. A third
// argument is a name at which nftw is to end with 7.
#define _GNU_SOURCE
#include <errno.h>
#include <fts.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int flags;
static const char *last;

static int found(const char *path, const struct stat *facts, int kind, struct FTW *at) {
    const char *name = path + at->base;
    char here[PATH_MAX] = "-";
    if (flags & FTW_CHDIR && !getcwd(here, sizeof here)) return -2;
    if (last) return strcmp(name, last) ? 0 : 7;
    printf("nftw %d kind %d %s %s %d ", flags, kind, path, name, at->level);
    printf("%lld %s\n", kind == FTW_F ? (long long)facts->st_size : -1, here);
    // What is found in the folder depends on its order, but where it has one member only.
    if (flags & FTW_ACTIONRETVAL && !strcmp(name, "deep")) return FTW_SKIP_SUBTREE;
    if (flags & FTW_ACTIONRETVAL && !strcmp(name, "inner")) return FTW_SKIP_SIBLINGS;
    return 0;
}

static int found_plainly(const char *path, const struct stat *facts, int kind) {
    return printf("ftw kind %d %s %lld\n", kind, path, kind == FTW_F ? (long long)facts->st_size : -1) < 0;
}

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static int by_fts(char *root) {
    char *roots[] = {root, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL, by_name);
    for (FTSENT *entry; walk && (entry = fts_read(walk));)
        printf("fts %d %s %lld\n", entry->fts_info, entry->fts_path,
               entry->fts_info == FTS_F ? (long long)entry->fts_statp->st_size : -1);
    return 0;
}

int main(int count, char **arguments) {
    char here[PATH_MAX];
    if (count < 3) return 2;
    last = arguments[3];
    if (!strcmp(arguments[1], "fts")) return by_fts(arguments[2]);
    if (!strcmp(arguments[1], "ftw")) return ftw(arguments[2], found_plainly, 8);
    for (flags = 0; flags < 2 * FTW_ACTIONRETVAL; flags++) {
        errno = 0;
        int result = nftw(arguments[2], found, 8, flags);
        printf("nftw %d ended %d %s %s\n", flags, result, strerrorname_np(errno), getcwd(here, sizeof here));
    }
    return nftw(arguments[2], found, 8, 2 * FTW_ACTIONRETVAL) != -1 || errno != EINVAL;
}
