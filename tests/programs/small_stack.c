// In a signal handler with a stack of so many bytes (argument 2): opens the file of argument 3 ("open", argument 1), or
// executes it ("exec").
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char **words;

static void handle(int signal) {
    (void)signal;
    if (!strcmp(words[1], "exec")) execl(words[3], words[3], NULL);
    _exit(open(words[3], O_RDONLY) < 0);
}

int main(int count, char **arguments) {
    size_t room = 1 << 20, size = count == 4 ? strtoul(arguments[2], NULL, 10) : 0;
    // Below it nothing is mapped.
    char *all = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_sp = all + room - size, .ss_size = size};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK | SA_RESETHAND};
    words = arguments;
    if (!size || mprotect(stack.ss_sp, size, PROT_READ | PROT_WRITE) || sigaltstack(&stack, NULL)) return 2;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    return 3;
}
