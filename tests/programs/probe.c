// Probe, C: prints what a program sees of the pod. The lines are described in tests/matrix.py.
// With the argument NAME it only serves, as a program of that name.
#include <arpa/inet.h>
#include <dirent.h>
#include <libgen.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int visible(const struct dirent *d) { return strcmp(d->d_name, ".") && strcmp(d->d_name, ".."); }

static void look_at_files(const char *path) {
    char line[256] = "", folder[4096], name[4096], cwd[4096];
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, sizeof line, file)) die(path);
    fclose(file);
    line[strcspn(line, "\n")] = 0;
    printf("file %s\n", line);
    strcpy(folder, path);
    strcpy(name, path);
    struct dirent **members;
    char *dir = dirname(folder), *base = basename(name);
    int n = scandir(dir, &members, visible, by_name);
    if (n < 0) die("scandir");
    printf("list ");
    for (int i = 0; i < n; i++) printf("%s%s", i ? "," : "", members[i]->d_name);
    struct stat found;
    if (chdir(dir) || stat(base, &found) || !getcwd(cwd, sizeof cwd)) die("chdir");
    printf("\ncwd %s %lld\n", cwd, (long long)found.st_size);
}

static void look_at_child_and_host(const char *path) {
    char command[4200], line[256] = "", name[256];
    snprintf(command, sizeof command, "cd \"${PROBE_FILE%%/*}\" && cat %s", strrchr(path, '/') + 1);
    FILE *said = popen(command, "r");
    if (!said || !fgets(line, sizeof line, said)) die(command);
    pclose(said);
    line[strcspn(line, "\n")] = 0;
    if (gethostname(name, sizeof name)) die("gethostname");
    printf("child %s\nhost %s\n", line, name);
}

static void call(const char *url) {
    char host[256], port[8] = "80", path[256] = "", text[4096];
    if (sscanf(url, "http://%255[^:/]:%7[0-9]/%255s", host, port, path) < 2) sscanf(url, "http://%255[^/]/%255s", host, path);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed) fprintf(stderr, "%s: %s\n", host, gai_strerror(failed)), exit(1);
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) die("connect");
    freeaddrinfo(found);
    dprintf(fd, "GET /%s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);
    size_t have = 0;
    ssize_t n;
    while (have < sizeof text - 1 && (n = read(fd, text + have, sizeof text - 1 - have)) > 0) have += n;
    text[have] = 0;
    close(fd);
    char *body = strstr(text, "\r\n\r\n");
    printf("call %s\n", body ? strtok(body + 4, "\n") : "");
}

static void look_around(void) {
    const char *greeting = getenv("GREETING");
    printf("env %s\n", greeting ? greeting : "");
    look_at_files(getenv("PROBE_FILE"));
    look_at_child_and_host(getenv("PROBE_FILE"));
    call(getenv("PROBE_URL"));
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 1) look_around();
    char body[64];
    int length = snprintf(body, sizeof body, "program %s", count == 1 ? "c" : arguments[1]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PROBE_PORT")))}, peer, local;
    socklen_t size = sizeof at;
    if (bind(listener, (void *)&at, size) || listen(listener, 64) || getsockname(listener, (void *)&at, &size)) die("bind");
    printf("listening %s %d\n", inet_ntoa(at.sin_addr), ntohs(at.sin_port));
    for (;;) {
        socklen_t peer_size = sizeof peer, local_size = sizeof local;
        int fd = accept(listener, (void *)&peer, &peer_size);
        char text[8192], path[256] = "", from[64];
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (n <= 0) {
            close(fd);
            continue;
        }
        text[n] = 0;
        sscanf(text, "%*s %255s", path);
        getsockname(fd, (void *)&local, &local_size);
        strcpy(from, inet_ntoa(peer.sin_addr));
        printf("request %s %s %d %s %d\n", path, from, ntohs(peer.sin_port), inet_ntoa(local.sin_addr), ntohs(local.sin_port));
        dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", length, body);
        close(fd);
        if (!strcmp(path, "/stop")) puts("bye"), exit(7);
    }
}
