// Threads (8) that fork children (12 each, one after the other) while other threads (4) read /app/config.yaml and
// resolve "db" all the time; every child does both as well. Prints how many children and rounds failed.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int failed_children, failed_rounds, rounds, done;

static int round_fails(int number) {
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/app/files/%d", number % 50);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text) < 0 || strcmp(text, "content")) return 1;
    close(fd);
    struct addrinfo *found;
    if (getaddrinfo("db", "80", NULL, &found)) return 1;
    freeaddrinfo(found);
    return access("/app/none", F_OK) == 0;
}

static void *work(void *unused) {
    while (!done) failed_rounds += round_fails(rounds++);
    return unused;
}

static void *fork_children(void *unused) {
    for (int i = 0; i < 12; i++) {
        int status = 1;
        pid_t child = fork();
        if (!child) {
            int failed = 0;
            for (int n = 0; n < 5; n++) failed |= round_fails(i + n);
            _exit(failed);
        }
        if (child < 0 || waitpid(child, &status, 0) < 0 || status) failed_children++;
    }
    return unused;
}

int main(void) {
    pthread_t workers[4], forkers[8];
    for (int i = 0; i < 4; i++) pthread_create(&workers[i], NULL, work, NULL);
    for (int i = 0; i < 8; i++) pthread_create(&forkers[i], NULL, fork_children, NULL);
    for (int i = 0; i < 8; i++) pthread_join(forkers[i], NULL);
    done = 1;
    for (int i = 0; i < 4; i++) pthread_join(workers[i], NULL);
    printf("children %d rounds %d %s\n", failed_children, failed_rounds, rounds ? "worked" : "idle");
    return 0;
}
