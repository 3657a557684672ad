// Asks the name server on 127.0.0.1 at a port (argument 1) for the address of a name (argument 2), by the versions of
// libresolv's functions that programs have which were linked before glibc 2.34. Prints each one's result, and the address.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __aarch64__
#define OLD(name) __asm__(".symver old_" #name ", __res_" #name "@GLIBC_2.17")
#else
#define OLD(name) __asm__(".symver old_" #name ", __res_" #name "@GLIBC_2.2.5")
#endif

typedef unsigned char Byte;
int old_query(const char *, int, int, Byte *, int);
int old_search(const char *, int, int, Byte *, int);
int old_querydomain(const char *, const char *, int, int, Byte *, int);
int old_send(const Byte *, int, Byte *, int);
int old_nquery(res_state, const char *, int, int, Byte *, int);
int old_nsearch(res_state, const char *, int, int, Byte *, int);
int old_nquerydomain(res_state, const char *, const char *, int, int, Byte *, int);
int old_nsend(res_state, const Byte *, int, Byte *, int);
OLD(query);
OLD(search);
OLD(querydomain);
OLD(send);
OLD(nquery);
OLD(nsearch);
OLD(nquerydomain);
OLD(nsend);

static Byte answer[512], question[512];

static void print(const char *what, int length) {
    const Byte *last = answer + length - 4;
    if (length < 4)
        printf("%s failed h_errno=%d %s\n", what, h_errno, strerrorname_np(errno));
    else
        printf("%s %d.%d.%d.%d\n", what, last[0], last[1], last[2], last[3]);
    memset(answer, 0, sizeof answer);
}

int main(int count, char **arguments) {
    struct __res_state own = {0};
    if (count != 3 || res_init() || res_ninit(&own)) return 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    _res.nsaddr_list[0] = own.nsaddr_list[0] = server;
    _res.nscount = own.nscount = 1;
    const char *name = arguments[2];
    int asked = res_mkquery(ns_o_query, name, ns_c_in, ns_t_a, NULL, 0, NULL, question, sizeof question);
    print("query", old_query(name, ns_c_in, ns_t_a, answer, sizeof answer));
    print("search", old_search(name, ns_c_in, ns_t_a, answer, sizeof answer));
    print("querydomain", old_querydomain(name, NULL, ns_c_in, ns_t_a, answer, sizeof answer));
    print("send", old_send(question, asked, answer, sizeof answer));
    print("nquery", old_nquery(&own, name, ns_c_in, ns_t_a, answer, sizeof answer));
    print("nsearch", old_nsearch(&own, name, ns_c_in, ns_t_a, answer, sizeof answer));
    print("nquerydomain", old_nquerydomain(&own, name, NULL, ns_c_in, ns_t_a, answer, sizeof answer));
    print("nsend", old_nsend(&own, question, asked, answer, sizeof answer));
    return 0;
}
