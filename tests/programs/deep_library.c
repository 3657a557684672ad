// Opens a library beside it with RTLD_DEEPBIND, by its name alone, as DT_RUNPATH allows; it reads the file that is named.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

#ifdef LIBRARY
int first_byte(const char *path) {
    FILE *file = fopen(path, "r");
    return file ? getc(file) : -1;
}
#else
int main(int argc, char **argv) {
    void *library = dlopen("libdeep.so", RTLD_NOW | RTLD_DEEPBIND);
    if (!library) return puts(dlerror()), argc;
    int (*first_byte)(const char *) = (int (*)(const char *))dlsym(library, "first_byte");
    printf("%c\n", first_byte(argv[1]));
}
#endif
