// Walks a folder (argument 2) by nftw with all flags, by ftw or, with all further arguments, by fts (argument 1), and
// prints what each finds. A third argument is a name at which nftw is to end with 7.
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

static void print_entry(FTS *walk, FTSENT *entry, int options) {
    char here[PATH_MAX] = "-", text[32] = "-";
    FTSENT *up = entry->fts_parent;
    if (!(options & FTS_NOCHDIR) && !getcwd(here, sizeof here)) perror("getcwd");
    if (entry->fts_info == FTS_F) {
        FILE *file = fopen(entry->fts_accpath, "r");
        if (!file || !fgets(text, sizeof text, file)) perror(entry->fts_accpath);
        if (file) fclose(file);
    }
    printf("fts %d info %d level %d %s %s %s", options, entry->fts_info, entry->fts_level, entry->fts_path,
           entry->fts_accpath, entry->fts_name);
    printf(" length %+d", (int)strlen(entry->fts_path) - entry->fts_pathlen);
    if (entry->fts_level > 0) printf(" parent %.*s", up->fts_pathlen, up->fts_path);
    printf(" text %s in %s members", text, here);
    if (entry->fts_info == FTS_D && strcmp(entry->fts_name, "deep"))
        for (FTSENT *member = fts_children(walk, 0); member; member = member->fts_link)
            printf(" %s:%d", member->fts_name, member->fts_info);
    printf("\n");
}

// All roots by all options; "to-folder" is followed, "alone" is not gone into.
static int by_fts(char **roots) {
    const int kinds[] = {FTS_PHYSICAL, FTS_PHYSICAL | FTS_COMFOLLOW, FTS_LOGICAL, FTS_PHYSICAL | FTS_NOSTAT};
    for (int i = 0; i < 8; i++) {
        int options = kinds[i / 2] | (i % 2 ? FTS_NOCHDIR : 0);
        FTS *walk = fts_open(roots, options, by_name);
        if (!walk) return 1;
        for (FTSENT *entry; (entry = fts_read(walk));) {
            print_entry(walk, entry, options);
            if (entry->fts_info == FTS_SL && !strcmp(entry->fts_name, "to-folder")) fts_set(walk, entry, FTS_FOLLOW);
            if (entry->fts_info == FTS_D && !strcmp(entry->fts_name, "alone")) fts_set(walk, entry, FTS_SKIP);
        }
        printf("fts %d ended %s %d\n", options, strerrorname_np(errno), fts_close(walk));
    }
    return 0;
}

int main(int count, char **arguments) {
    char here[PATH_MAX];
    if (count < 3) return 2;
    last = arguments[3];
    if (!strcmp(arguments[1], "fts")) return by_fts(arguments + 2);
    if (!strcmp(arguments[1], "ftw")) return ftw(arguments[2], found_plainly, 8);
    for (flags = 0; flags < 2 * FTW_ACTIONRETVAL; flags++) {
        errno = 0;
        int result = nftw(arguments[2], found, 8, flags);
        printf("nftw %d ended %d %s %s\n", flags, result, strerrorname_np(errno), getcwd(here, sizeof here));
    }
    return nftw(arguments[2], found, 8, 2 * FTW_ACTIONRETVAL) != -1 || errno != EINVAL;
}
