/* http_load HOST PORT CONNECTIONS SECONDS RATE PATH kept|new: GETs, as JSON; RATE 0: as many as are answered.
 * kept: over so many connections; new: each over its own, so many at a time. */
#include "bench.h"

#include <sys/timerfd.h>

static double us[MOST], sent[65536];
static char request[256];

static void ask(int fd) {
    sent[fd] = now_us();
    send_all(fd, request, strlen(request));
}

/* Connects and asks: what both take counts. */
static void ask_anew(struct sockaddr_in *to, int poll) {
    double start = now_us();
    int fd = dial(to);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    ask(fd);
    sent[fd] = start;
}

int main(int argc, char **argv) {
    need(argc == 8, "usage");
    int is_new = !strcmp(argv[7], "new");
    struct sockaddr_in to = address(argv[1], atoi(argv[2]));
    int connections = atoi(argv[3]), poll = epoll_create1(0), free_fds[1024], free_count = 0;
    double seconds = atof(argv[4]), rate = atof(argv[5]);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: pod\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", argv[6]);
    for (int i = 0; i < connections; i++) {
        int fd = dial(&to);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        free_fds[free_count++] = fd;
    }
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    if (rate > 0) {
        long every = 1e9 / rate;
        struct itimerspec ticks = {{every / 1000000000, every % 1000000000}, {0, 1}};
        struct epoll_event event = {.events = EPOLLIN, .data.fd = timer};
        timerfd_settime(timer, 0, &ticks, NULL);
        epoll_ctl(poll, EPOLL_CTL_ADD, timer, &event);
    } else {
        while (free_count) ask(free_fds[--free_count]);
    }
    double start = now_us(), at = start;
    long count = 0;
    uint64_t owed = 0;
    while ((at - start < seconds * 1e6 || free_count < connections) && count < MOST - 64 && connections) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 5000), is_over = at - start >= seconds * 1e6;
        need(ready > 0, "no answer for 5 s");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            char answer[4096];
            at = now_us();
            if (fd == timer) {
                uint64_t ticks;
                need(read(timer, &ticks, sizeof ticks) == sizeof ticks, "timer");
                owed += ticks;
            } else {
                ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
                need(n > 0 && !strncmp(answer, "HTTP/1.1 200", 12), "answer");
                answer[n] = 0;
                if (seconds == 0) fprintf(stderr, "%s", strstr(answer, "\r\n\r\n") + 4);
                us[count++] = at - sent[fd];
                free_fds[free_count++] = fd;
            }
            if (is_new) {
                close(fd);
                free_count--;
                if (is_over) connections--;
                else ask_anew(&to, poll);
                if (!connections) break;
                continue;
            }
            if (rate == 0) owed = 1;
            for (; owed && free_count && !is_over; owed--) ask(free_fds[--free_count]);
        }
    }
    tell(us, count, at - start);
    return 0;
}
