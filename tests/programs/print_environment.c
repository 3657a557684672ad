// Prints its environment, sorted, and its first argument; linked with and without a dynamic linker.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static int by_text(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int main(int count, char **arguments) {
    size_t n = 0;
    while (environ[n]) n++;
    qsort(environ, n, sizeof *environ, by_text);
    for (size_t i = 0; i < n; i++) puts(environ[i]);
    if (count > 1) printf("argument %s\n", arguments[1]);
    return 0;
}
