/* service PORT: the pod's service. PORT echoes; PORT+1 is told a size (u64) and sends so much of the pattern;
 * PORT+2 reads the pattern up to EOF and answers how many bytes were right (i64). UDP port 53, where it can be had,
 * answers that every name has the IPv4 address 10.87.0.1 and no other. Says "ready". */
#include "bench.h"

static int listeners[3], names;

static void *serve_one(void *argument) {
    long packed = (long)argument;
    int fd = packed & 0xffffff, what = packed >> 24;
    no_delay(fd);
    if (what == 0) {
        char *buffer = malloc(1 << 18);
        ssize_t n;
        while ((n = recv(fd, buffer, 1 << 18, 0)) > 0 && send(fd, buffer, n, MSG_NOSIGNAL) == n) continue;
        free(buffer);
    } else if (what == 1) {
        uint64_t size;
        if (recv(fd, &size, sizeof size, MSG_WAITALL) == sizeof size) send_pattern(fd, size);
    } else {
        int64_t size = check_pattern(fd, UINT64_MAX);
        send(fd, &size, sizeof size, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static _Noreturn void *serve(void *argument) {
    long what = (long)argument;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listeners[what], NULL, NULL);
        /* One thread for each connection: the service must never be what is slow. */
        if (fd >= 0 && pthread_create(&thread, &attributes, serve_one, (void *)(what << 24 | fd))) close(fd);
    }
}

static _Noreturn void *answer_names(void *nothing) {
    (void)nothing;
    struct sockaddr_in from;
    for (;;) {
        unsigned char message[600];
        socklen_t from_size = sizeof from;
        ssize_t size = recvfrom(names, message, 500, 0, (struct sockaddr *)&from, &from_size), at = 12;
        if (size < 17) continue;
        while (at < size && message[at]) at += message[at] + 1;
        at += 5; /* The root's 0, type and class: here the question ends (RFC 1035, section 4.1). */
        if (at > size) continue;
        int is_a = message[at - 3] == 1;
        /* A response without an error, one question, one answer or none; what EDNS said is dropped. */
        message[2] = 0x81, message[3] = 0x80;
        memcpy(message + 6, is_a ? "\0\1\0\0\0\0" : "\0\0\0\0\0\0", 6);
        if (is_a) memcpy(message + at, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x57\0\1", 16), at += 16;
        sendto(names, message, at, 0, (struct sockaddr *)&from, from_size);
    }
}

int main(int argc, char **argv) {
    pthread_t thread;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(53)};
    need(argc == 2, "usage");
    /* All of them before the word: who reads it may call at once. */
    for (int what = 0; what < 3; what++) listeners[what] = serve_on(atoi(argv[1]) + what);
    names = socket(AF_INET, SOCK_DGRAM, 0);
    if (!bind(names, (struct sockaddr *)&here, sizeof here)) pthread_create(&thread, NULL, answer_names, NULL);
    puts("ready"), fflush(stdout);
    for (long what = 0; what < 2; what++) pthread_create(&thread, NULL, serve, (void *)what);
    serve((void *)2);
}
