/* client connect|echo HOST PORT COUNT | ping HOST PORT CONNECTIONS SECONDS | download|upload HOST PORT MIB
 *      | resolve|resolve-new NAME COUNT: what that took, as JSON. PORT as in service.c. */
#include "bench.h"

static double us[MOST];
static char message[64];

static void ping(const struct sockaddr_in *to, int connections, double seconds) {
    int poll = epoll_create1(0);
    double *sent = calloc(65536, sizeof *sent);
    for (int i = 0; i < connections; i++) {
        int fd = dial(to);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
        /* The first answer shows that the whole way is there; it does not count. */
        send_all(fd, message, sizeof message);
        receive_all(fd, message, sizeof message);
        sent[fd] = now_us();
        send_all(fd, message, sizeof message);
    }
    double start = now_us(), at = start;
    long count = 0;
    while (at - start < seconds * 1e6 && count < MOST - 64) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 5000);
        need(ready > 0, "no answer for 5 s");
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            receive_all(fd, message, sizeof message);
            at = now_us();
            us[count++] = at - sent[fd];
            sent[fd] = at;
            send_all(fd, message, sizeof message);
        }
    }
    tell(us, count, at - start);
}

static void bulk(struct sockaddr_in to, int is_upload, uint64_t size) {
    double start = now_us();
    int64_t right;
    to.sin_port = htons(ntohs(to.sin_port) + (is_upload ? 2 : 1));
    int fd = dial(&to);
    if (is_upload) {
        send_pattern(fd, size);
        shutdown(fd, SHUT_WR);
        receive_all(fd, (char *)&right, sizeof right);
    } else {
        send_all(fd, (char *)&size, sizeof size);
        right = check_pattern(fd, UINT64_MAX);
    }
    need(right == (int64_t)size, "the bytes are not those that were sent");
    us[0] = now_us() - start;
    close(fd);
    tell(us, 1, us[0]);
}

int main(int argc, char **argv) {
    need(argc > 3, "usage");
    const char *what = argv[1];
    double start = now_us();
    if (!strcmp(what, "resolve") || !strcmp(what, "resolve-new")) {
        long count = atol(argv[3]);
        for (long i = 0; i < count; i++) {
            struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
            char name[300];
            /* resolve-new: one of the names below it that was not asked for. */
            if (what[7]) {
                snprintf(name, sizeof name, "n%ld.%s", i, argv[2]);
            } else {
                snprintf(name, sizeof name, "%s", argv[2]);
            }
            double before = now_us();
            need(getaddrinfo(name, NULL, &hints, &found) == 0, name);
            us[i] = now_us() - before;
            freeaddrinfo(found);
        }
        tell(us, count, now_us() - start);
        return 0;
    }
    struct sockaddr_in to = address(argv[2], atoi(argv[3]));
    if (!strcmp(what, "ping")) {
        ping(&to, atoi(argv[4]), atof(argv[5]));
    } else if (!strcmp(what, "connect") || !strcmp(what, "echo")) {
        long count = atol(argv[4]);
        for (long i = 0; i < count; i++) {
            double before = now_us();
            int fd = dial(&to);
            if (what[0] == 'e') {
                send_all(fd, "x", 1);
                receive_all(fd, message, 1);
            }
            close(fd);
            us[i] = now_us() - before;
        }
        tell(us, count, now_us() - start);
    } else {
        bulk(to, what[0] == 'u', strtoull(argv[4], NULL, 10) << 20);
    }
    return 0;
}
