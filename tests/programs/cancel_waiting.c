// Cancels a thread that waits in connect (argument "connect ADDRESS PORT") or in accept ("accept PORT"), and then does
// the same by a signal whose handler returns. Prints what became of each.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int is_connect;
static struct sockaddr_in address = {.sin_family = AF_INET};
static volatile pid_t waiting;
static volatile int cleaned;

static void clean_up(void *fd) {
    close(*(int *)fd);
    cleaned = 1;
}

static void *wait_in_call(void *result) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    pthread_cleanup_push(clean_up, &fd);
    if (!is_connect) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, (void *)&address, sizeof address) || listen(fd, 5)) perror("listen"), exit(1);
    }
    waiting = gettid();
    int done = is_connect ? connect(fd, (void *)&address, sizeof address) : accept(fd, NULL, NULL);
    *(const char **)result = done < 0 ? strerrorname_np(errno) : "done";
    pthread_cleanup_pop(1);
    return NULL;
}

// The thread sleeps in the call: state S in two looks in a row, with a moment between them.
static void until_asleep(void) {
    char path[64], text[512];
    for (int asleep = 0; asleep < 5;) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", waiting);
        FILE *file = waiting ? fopen(path, "r") : NULL;
        if (!file) continue;
        char *end = fgets(text, sizeof text, file) ? strrchr(text, ')') : NULL;
        asleep = end && end[2] == 'S' ? asleep + 1 : 0;
        fclose(file);
    }
}

static void on_signal(int number) { (void)number; }

int main(int count, char **arguments) {
    is_connect = !strcmp(arguments[1], "connect");
    inet_pton(AF_INET, is_connect ? arguments[2] : "0.0.0.0", &address.sin_addr);
    address.sin_port = htons(atoi(arguments[count - 1]));
    pthread_t thread;
    const char *said = "nothing";
    void *ended;
    pthread_create(&thread, NULL, wait_in_call, &said);
    until_asleep();
    pthread_cancel(thread);
    pthread_join(thread, &ended);
    printf("cancelled %d cleaned %d said %s\n", ended == PTHREAD_CANCELED, cleaned, said);
    waiting = 0;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
    pthread_create(&thread, NULL, wait_in_call, &said);
    until_asleep();
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, &ended);
    printf("interrupted %s\n", said);
    return 0;
}
