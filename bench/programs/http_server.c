/* http_server PORT NAME: answers every GET with NAME and the number of requests before, over kept connections.
 * GET /count does not count. Heads are small and come whole, so finding their end in one read will do. */
#include "bench.h"

int main(int argc, char **argv) {
    need(argc == 3, "usage");
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    int listener = serve_on(atoi(argv[1])), poll = epoll_create1(0);
    long served = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    puts("ready"), fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                event.data.fd = accept(listener, NULL, NULL);
                no_delay(event.data.fd);
                epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            char head[4096], answer[256], body[64];
            ssize_t n = recv(fd, head, sizeof head - 1, 0);
            if (n <= 0) {
                close(fd);
                continue;
            }
            head[n] = 0;
            /* A mirrored connection brings several requests in one read when the copy is behind. */
            for (char *at = head; (at = strstr(at, "\r\n\r\n")); at += 4) {
                int length = snprintf(body, sizeof body, "%s %ld\n", argv[2], served);
                if (strncmp(head, "GET /count", 10)) served++;
                int size = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, body);
                if (send(fd, answer, size, MSG_NOSIGNAL) != size) break;
            }
        }
    }
}
