// Prints what it was called as, its second argument, what its file is called, and the content of its first argument;
// linked with and without a dynamic linker.
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

int main(int count, char **arguments) {
    char own[PATH_MAX] = "";
    if (count != 3 || readlink("/proc/self/exe", own, sizeof own - 1) < 0) return 1;
    printf("%s\n%s\n%s\n", arguments[0], arguments[2], own);
    FILE *file = fopen(arguments[1], "r");
    int c;
    if (!file) return 2;
    while ((c = getc(file)) != EOF) putchar(c);
    return 0;
}
