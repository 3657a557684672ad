// Expands the text of the last argument as wordexp does, in the folder of the first where there are two; prints the words.
#include <stdio.h>
#include <unistd.h>
#include <wordexp.h>

int main(int count, char **arguments) {
    wordexp_t found = {.we_offs = 2};
    if (count > 2 && chdir(arguments[1])) return perror(arguments[1]), 1;
    int failed = wordexp(arguments[count - 1], &found, WRDE_DOOFFS);
    if (failed) return printf("error %d\n", failed), 1;
    for (size_t i = 0; i < found.we_wordc; i++) printf("%s%s", i ? " " : "", found.we_wordv[i + 2]);
    puts("");
    wordfree(&found);
    return 0;
}
