// Resolves a host (argument 1) in every way that libc has, and prints a line for each.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static void list(const char *what, const char *host, const char *service, int family, int flags) {
    struct addrinfo hints = {.ai_family = family, .ai_flags = flags, .ai_socktype = SOCK_STREAM}, *found = NULL;
    int failed = getaddrinfo(host, service, &hints, &found);
    printf("%s", what);
    if (failed) printf(" %s", failed == EAI_NONAME ? "EAI_NONAME" : failed == EAI_NODATA ? "EAI_NODATA" : failed == EAI_AGAIN ? "EAI_AGAIN" : failed == EAI_SERVICE ? "EAI_SERVICE" : "?");
    for (struct addrinfo *one = found; one; one = one->ai_next) {
        char text[64] = "", port[16] = "";
        getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
        printf(" %s:%s", text, port);
        if (one->ai_canonname) printf("(%s)", one->ai_canonname);
    }
    printf("\n");
    if (!failed) freeaddrinfo(found);
}

static void entry(const char *what, struct hostent *host) {
    printf("%s", what);
    if (!host) printf(" h_errno=%d", h_errno);
    if (host) printf(" %s", host->h_name);
    for (int i = 0; host && host->h_addr_list[i]; i++) {
        char text[64] = "";
        printf(" %s", inet_ntop(host->h_addrtype, host->h_addr_list[i], text, sizeof text));
    }
    if (host && host->h_aliases[0]) printf(" alias");
    printf("\n");
}

int main(int count, char **arguments) {
    const char *host = arguments[count - 1];
    list("both", host, "80", AF_UNSPEC, 0);
    list("service-name", host, "https", AF_UNSPEC, 0);
    list("no-service", host, NULL, AF_UNSPEC, 0);
    list("bad-service", host, "no-such-service", AF_UNSPEC, 0);
    list("v4", host, "80", AF_INET, 0);
    list("v6", host, "80", AF_INET6, 0);
    list("v6-mapped", host, "80", AF_INET6, AI_V4MAPPED);
    list("v6-mapped-all", host, "80", AF_INET6, AI_V4MAPPED | AI_ALL);
    list("canonical", host, "80", AF_UNSPEC, AI_CANONNAME | AI_ADDRCONFIG);
    list("numeric-only", host, "80", AF_UNSPEC, AI_NUMERICHOST);
    list("passive", NULL, "80", AF_INET, AI_PASSIVE);
    list("number", "10.4.4.4", "80", AF_UNSPEC, 0);
    list("localhost", "localhost", "80", AF_INET, 0);
    entry("gethostbyname", gethostbyname(host));
    entry("gethostbyname2-v6", gethostbyname2(host, AF_INET6));
    struct hostent room, *found = NULL;
    char buffer[1024];
    int number = 0, result = gethostbyname_r(host, &room, buffer, sizeof buffer, &found, &number);
    printf("gethostbyname_r %s %d\n", strerrorname_np(result) && result ? strerrorname_np(result) : "0", number);
    if (found) entry("gethostbyname_r-entry", found);
    result = gethostbyname2_r(host, AF_INET6, &room, buffer + 1, sizeof buffer - 1, &found, &number);
    if (found) entry("gethostbyname2_r-entry", found);
    result = gethostbyname_r(host, &room, buffer, 8, &found, &number);
    printf("gethostbyname_r-small %s\n", result ? strerrorname_np(result) : "0");
    return 0;
}
