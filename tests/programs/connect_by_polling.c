// Connects to ADDRESS PORT without blocking and asks how it goes in the way of argument 1: "again" by connect itself,
// "poll" by SO_ERROR, "epoll" by an edge that was asked for before the connect. Prints every answer that differs from
// the one before.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

static void say(const char *what, int number) {
    static char last[64];
    char text[64];
    snprintf(text, sizeof text, "%s %s", what, number ? strerrorname_np(number) : "ok");
    if (strcmp(text, last)) puts(strcpy(last, text));
    fflush(stdout);
}

static int answer_of(int done) { return done ? errno : 0; }

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[3]))};
    inet_pton(AF_INET, arguments[2], &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
    socklen_t size = sizeof error;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    if (!strcmp(arguments[1], "epoll")) epoll_wait(epoll, &event, 1, 0);
    if (count < 4) return 2;
    say("connect", answer_of(connect(fd, (void *)&address, sizeof address)));
    if (!strcmp(arguments[1], "again")) {
        for (int answer = EALREADY; answer == EALREADY;) {
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
            say("again", answer = answer_of(connect(fd, (void *)&address, sizeof address)));
        }
        return 0;
    }
    struct pollfd one = {.fd = fd, .events = POLLOUT};
    int ready = !strcmp(arguments[1], "epoll") ? epoll_wait(epoll, &event, 1, 20000) : poll(&one, 1, 20000);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    printf("ready %d\n", ready);
    say("SO_ERROR", error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    printf("then %d\n", error);
    return 0;
}
