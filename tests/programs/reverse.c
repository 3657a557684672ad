// Asks for the name of an address (argument 1) in every way that libc has, and prints a line for each.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static struct sockaddr_storage room;
static socklen_t length;

static const char *error(int number) {
    return number == EAI_NONAME ? "EAI_NONAME" : number == EAI_AGAIN ? "EAI_AGAIN" : number == EAI_OVERFLOW ? "EAI_OVERFLOW" : "?";
}

static void info(const char *what, size_t host_size, int flags) {
    char host[256] = "", service[32] = "";
    int failed = getnameinfo((struct sockaddr *)&room, length, host_size ? host : NULL, host_size, service, sizeof service, flags);
    if (failed) {
        printf("%s %s\n", what, error(failed));
    } else {
        printf("%s %s %s\n", what, host, service);
    }
}

int main(int count, char **arguments) {
    const char *text = arguments[count - 1];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    struct sockaddr_in *v4 = (void *)&room;
    struct sockaddr_in6 *v6 = (void *)&room;
    void *ip = family == AF_INET ? (void *)&v4->sin_addr : (void *)&v6->sin6_addr;
    socklen_t size = family == AF_INET ? 4 : 16;
    room.ss_family = family;
    v4->sin_port = htons(443);
    length = family == AF_INET ? sizeof *v4 : sizeof *v6;
    inet_pton(family, text, ip);
    info("both", 256, NI_NUMERICSERV);
    info("service-name", 256, 0);
    info("service-only", 0, 0);
    info("numeric", 256, NI_NUMERICHOST | NI_NUMERICSERV);
    info("required", 256, NI_NAMEREQD | NI_NUMERICSERV);
    info("small", 4, NI_NUMERICSERV);
    struct hostent *host = gethostbyaddr(ip, size, family), entry, *found = NULL;
    char address[64] = "", buffer[512];
    if (host) {
        printf("gethostbyaddr %s %s\n", host->h_name, inet_ntop(host->h_addrtype, host->h_addr_list[0], address, sizeof address));
    } else {
        printf("gethostbyaddr h_errno=%d\n", h_errno);
    }
    int number = 0, result = gethostbyaddr_r(ip, size, family, &entry, buffer, sizeof buffer, &found, &number);
    printf("gethostbyaddr_r %d %d %s\n", result != 0, number, found ? found->h_name : "-");
    result = gethostbyaddr_r(ip, size, family, &entry, buffer, 8, &found, &number);
    printf("gethostbyaddr_r-small %s %s\n", result == ERANGE ? "ERANGE" : "?", found ? "found" : "-");
}
