/* What the bench's programs share: a clock, sorting, one line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 4000000

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void need(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Prints what `count` operations took, in us each, and how many there were in a second of `total_us`. */
static void tell(double *us, long count, double total_us) {
    need(count > 0, "nothing was done");
    qsort(us, count, sizeof *us, by_size);
    printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"per_s\": %.1f, \"total_us\": %.1f, \"count\": %ld}\n", us[count / 2],
           us[count * 99 / 100], count * 1e6 / total_us, total_us, count);
    fflush(stdout);
}

/* As many descriptors as may be: each connection takes one. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    need(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    need(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    need(inet_pton(AF_INET, host, &a.sin_addr) == 1, host);
    return a;
}

static void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static int dial(const struct sockaddr_in *to) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof *to) == 0, "connect");
    no_delay(fd);
    return fd;
}

static int serve_on(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    need(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 512) == 0, "listen");
    return fd;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        need(n > 0, "send");
        data += n, size -= n;
    }
}

static void receive_all(int fd, char *data, size_t size) {
    while (size) {
        ssize_t n = recv(fd, data, size, 0);
        need(n > 0, "receive");
        data += n, size -= n;
    }
}

/* The byte at a place of a bulk transfer: its period is no power of two, so a lost or doubled piece shows. */
#define PERIOD 65521
#define CHUNK (PERIOD * 4)

static char *pattern(void) {
    char *p = malloc(CHUNK * 2);
    for (long i = 0; i < CHUNK * 2; i++) p[i] = (char)((i % PERIOD) * 31 >> 3);
    return p;
}

static void send_pattern(int fd, uint64_t size) {
    char *p = pattern();
    for (uint64_t at = 0; at < size;) {
        uint64_t n = size - at < CHUNK ? size - at : CHUNK;
        send_all(fd, p + at % PERIOD, n);
        at += n;
    }
    free(p);
}

/* Reads up to EOF or `limit` bytes; returns how many came, or -1 if they were not the pattern. */
static int64_t check_pattern(int fd, uint64_t limit) {
    char *p = pattern(), *buffer = malloc(CHUNK);
    uint64_t at = 0;
    int is_good = 1;
    ssize_t n;
    while (at < limit && (n = recv(fd, buffer, limit - at < CHUNK ? limit - at : CHUNK, 0)) > 0) {
        is_good &= !memcmp(buffer, p + at % PERIOD, n);
        at += n;
    }
    free(p), free(buffer);
    return is_good ? (int64_t)at : -1;
}
