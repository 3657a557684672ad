// Asks for the TXT records of a name (argument 1) by every function of resolver(3), by both names of each, and prints a
// line for each: its length and the text of its first record, or h_errno, also that of the resolver's state. A second
// argument is the size of the answer's buffer.
#define _GNU_SOURCE
#include <arpa/nameser.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char answer[70000], question[512];
static int size = sizeof answer;
static struct __res_state state;

static void print(const char *prefix, const char *what, int length) {
    printf("%s%s", prefix, what);
    if (length < 0) {
        printf(" failed h_errno=%d", h_errno);
        if (strchr(what, 'n') == what + 4) printf(" state=%d", state.res_h_errno);
        printf(" %s\n", strstr(what, "send") ? strerrorname_np(errno) : "");
        return;
    }
    printf(" %d", length);
    // Behind the head and the question: a pointer to the name, ten bytes more, and the text with its length.
    const unsigned char *at = answer + 12;
    while (*at) at += *at + 1;
    at += 5 + 2 + 10;
    if (answer[7] == 0 || at >= answer + size)
        printf(" rcode=%d\n", answer[3] & 15);
    else
        printf(" %.*s\n", *at, at + 1);
}

static void ask(const char *prefix, const char *name) {
    char text[64];
    memset(&state, 0, sizeof state);
    if (res_ninit(&state)) exit(2);
    for (int n = 0; n < 2; n++) {
        for (int search = 0; search < 2; search++) {
            snprintf(text, sizeof text, "res_%s%s", n ? "n" : "", search ? "search" : "query");
            char symbol[80];
            snprintf(symbol, sizeof symbol, "%s%s", prefix, text);
            void *function = dlsym(RTLD_DEFAULT, symbol);
            memset(answer, 0, sizeof answer);
            h_errno = 0;
            int done = n ? ((int (*)(res_state, const char *, int, int, unsigned char *, int))function)(
                               &state, name, ns_c_in, ns_t_txt, answer, size)
                         : ((int (*)(const char *, int, int, unsigned char *, int))function)(name, ns_c_in, ns_t_txt,
                                                                                            answer, size);
            print(prefix, text, done);
        }
        // Of "name.domain" in two pieces, else of the name alone.
        char first[64];
        const char *dot = strchr(name, '.');
        snprintf(first, sizeof first, "%.*s", dot ? (int)(dot - name) : 63, name);
        snprintf(text, sizeof text, "%sres_%squerydomain", prefix, n ? "n" : "");
        void *in_domain = dlsym(RTLD_DEFAULT, text);
        memset(answer, 0, sizeof answer);
        h_errno = 0;
        int found = n ? ((int (*)(res_state, const char *, const char *, int, int, unsigned char *, int))in_domain)(
                            &state, first, dot ? dot + 1 : NULL, ns_c_in, ns_t_txt, answer, size)
                      : ((int (*)(const char *, const char *, int, int, unsigned char *, int))in_domain)(
                            first, dot ? dot + 1 : NULL, ns_c_in, ns_t_txt, answer, size);
        print(prefix, n ? "res_nquerydomain" : "res_querydomain", found);
        snprintf(text, sizeof text, "%sres_%ssend", prefix, n ? "n" : "");
        void *function = dlsym(RTLD_DEFAULT, text);
        int length = res_mkquery(ns_o_query, name, ns_c_in, ns_t_txt, NULL, 0, NULL, question, sizeof question);
        memset(answer, 0, sizeof answer);
        h_errno = 0;
        int done = n ? ((int (*)(res_state, const unsigned char *, int, unsigned char *, int))function)(
                           &state, question, length, answer, size)
                     : ((int (*)(const unsigned char *, int, unsigned char *, int))function)(question, length, answer,
                                                                                            size);
        print(prefix, n ? "res_nsend" : "res_send", done);
    }
    res_nclose(&state);
}

int main(int count, char **arguments) {
    if (count > 2) size = atoi(arguments[2]);
    ask("", arguments[1]);
    ask("__", arguments[1]);
    return 0;
}
