// Several threads accept on one listener that blocks while others connect to it, at the port that is given; says how many
// connections there were, and how many calls failed.
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVERS 6
#define CALLERS 4
#define CALLS 300

static int listener;
static struct sockaddr_in at = {.sin_family = AF_INET};
static atomic_int served, failed;

static void *serve(void *nothing) {
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        atomic_fetch_add(fd < 0 ? &failed : &served, 1);
        if (fd >= 0) close(fd);
    }
    return nothing;
}

static void *call(void *nothing) {
    for (int i = 0; i < CALLS; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        char end;
        if (connect(fd, (void *)&at, sizeof at) || recv(fd, &end, 1, 0)) atomic_fetch_add(&failed, 1);
        close(fd);
    }
    return nothing;
}

int main(int count, char **arguments) {
    pthread_t server, callers[CALLERS];
    int one = 1;
    if (count < 2) return 2;
    at.sin_port = htons(atoi(arguments[1]));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 128)) return perror("listen"), 1;
    for (int i = 0; i < SERVERS; i++) pthread_create(&server, NULL, serve, NULL);
    for (int i = 0; i < CALLERS; i++) pthread_create(&callers[i], NULL, call, NULL);
    for (int i = 0; i < CALLERS; i++) pthread_join(callers[i], NULL);
    printf("served %d failed %d\n", served, failed);
    return 0;
}
