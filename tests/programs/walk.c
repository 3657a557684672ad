// Walks a folder by nftw and by fts, and prints what each finds.
#define _GNU_SOURCE
#include <fts.h>
#include <ftw.h>
#include <stdio.h>

static int found(const char *path, const struct stat *facts, int kind, struct FTW *at) {
    (void)facts, (void)at;
    return printf("nftw %d %s\n", kind, path) < 0;
}

static int by_name(const FTSENT **a, const FTSENT **b) {
    const char *one = (*a)->fts_name, *other = (*b)->fts_name;
    while (*one && *one == *other) one++, other++;
    return *one - *other;
}

int main(int count, char **arguments) {
    if (count != 2 || nftw(arguments[1], found, 8, FTW_PHYS)) return 1;
    char *roots[] = {arguments[1], NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL, by_name);
    for (FTSENT *entry; walk && (entry = fts_read(walk));)
        if (entry->fts_info == FTS_F) printf("fts %s %lld\n", entry->fts_path, (long long)entry->fts_statp->st_size);
    return 0;
}
