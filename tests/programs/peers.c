// Asks several UDP servers from one socket, by each call that takes addresses, and prints who answered what.
// Arguments: 4 or 6, then address and port of each server.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MOST 4
static struct sockaddr_storage to[MOST];
static socklen_t size;
static int count, sock;

static void die(const char *what) {
    printf("%s: %s\n", what, strerror(errno));
    exit(1);
}

static void tell(const char *how, const struct sockaddr_storage *from, socklen_t length, const char *text, int n) {
    char ip[64] = "";
    int port = 0;
    if (from->ss_family == AF_INET) {
        inet_ntop(AF_INET, &((struct sockaddr_in *)from)->sin_addr, ip, sizeof ip);
        port = ntohs(((struct sockaddr_in *)from)->sin_port);
    } else {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)from)->sin6_addr, ip, sizeof ip);
        port = ntohs(((struct sockaddr_in6 *)from)->sin6_port);
    }
    printf("%s %s %d %d %.*s\n", how, ip, port, length == size, n, text);
}

static void receive_each(const char *how) {
    for (int i = 0; i < count; i++) {
        char text[100];
        struct sockaddr_storage from = {0};
        socklen_t length = sizeof from;
        int n;
        if (*how == 'f') {
            n = recvfrom(sock, text, sizeof text, 0, (void *)&from, &length);
        } else {
            struct iovec parts[2] = {{text, 3}, {text + 3, sizeof text - 3}};
            struct msghdr message = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = parts, .msg_iovlen = 2};
            n = recvmsg(sock, &message, 0);
            length = message.msg_namelen;
        }
        if (n < 0) die("receive");
        tell(how, &from, length, text, n);
    }
}

// Without a flag one call is to send all, and one to receive all.
static void send_and_receive_several(const char *how, int flags) {
    char text[MOST][30], got[MOST][100];
    struct sockaddr_storage from[MOST] = {0};
    struct iovec parts[MOST];
    struct mmsghdr messages[MOST] = {0};
    for (int i = 0; i < count; i++) {
        sprintf(text[i], "sendmmsg %d", i);
        parts[i] = (struct iovec){text[i], strlen(text[i])};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &to[i], .msg_namelen = size, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    if (sendmmsg(sock, messages, count, 0) != count) die("sendmmsg");
    for (int left = count; left;) {
        for (int i = 0; i < left; i++) {
            parts[i] = (struct iovec){got[i], sizeof got[i]};
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int n = recvmmsg(sock, messages, left, flags, NULL);
        if (n < 0 || (!flags && n != count)) die("recvmmsg");
        for (int i = 0; i < n; i++)
            tell(how, &from[i], messages[i].msg_hdr.msg_namelen, got[i], messages[i].msg_len);
        left -= n;
    }
}

int main(int argc, char **argv) {
    int family = argv[1][0] == '6' ? AF_INET6 : AF_INET;
    size = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    for (int i = 2; i + 1 < argc && count < MOST; i += 2, count++) {
        to[count].ss_family = family;
        if (family == AF_INET6) {
            struct sockaddr_in6 *at = (void *)&to[count];
            inet_pton(AF_INET6, argv[i], &at->sin6_addr);
            at->sin6_port = htons(atoi(argv[i + 1]));
        } else {
            struct sockaddr_in *at = (void *)&to[count];
            inet_pton(AF_INET, argv[i], &at->sin_addr);
            at->sin_port = htons(atoi(argv[i + 1]));
        }
    }
    sock = socket(family, SOCK_DGRAM, 0);
    struct timeval limit = {20, 0};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    char text[MOST][30];
    struct iovec parts[MOST][2];
    for (int i = 0; i < count; i++) {
        sprintf(text[i], "sendto %d", i);
        if (sendto(sock, text[i], strlen(text[i]), 0, (void *)&to[i], size) < 0) die("sendto");
    }
    receive_each("from");
    for (int i = 0; i < count; i++) {
        sprintf(text[i], "sendmsg %d", i);
        parts[i][0] = (struct iovec){text[i], 4};
        parts[i][1] = (struct iovec){text[i] + 4, strlen(text[i]) - 4};
        struct msghdr message = {.msg_name = &to[i], .msg_namelen = size, .msg_iov = parts[i], .msg_iovlen = 2};
        if (sendmsg(sock, &message, 0) < 0) die("sendmsg");
    }
    receive_each("msg");
    send_and_receive_several("once", 0);
    send_and_receive_several("mmsg", MSG_WAITFORONE);
    struct sockaddr_storage own = {0};
    socklen_t length = sizeof own;
    printf("peer %d\n", getpeername(sock, (void *)&own, &length) < 0 ? errno : 0);
    return 0;
}
