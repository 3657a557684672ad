/* http_hold HOST PORT CONNECTIONS ASKING: opens so many, asks once on so many of them, and keeps all until its input ends. */
#include "bench.h"

int main(int argc, char **argv) {
    need(argc == 5, "usage");
    struct sockaddr_in to = address(argv[1], atoi(argv[2]));
    const char *request = "GET / HTTP/1.1\r\nHost: pod\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    int connections = atoi(argv[3]), asking = atoi(argv[4]);
    char answer[4096];
    raise_descriptor_limit();
    for (int i = 0; i < connections; i++) {
        int fd = dial(&to);
        if (i >= asking) continue;
        send_all(fd, request, strlen(request));
        need(recv(fd, answer, sizeof answer, 0) > 12 && !strncmp(answer, "HTTP/1.1 200", 12), "answer");
    }
    puts("ready"), fflush(stdout);
    return read(0, answer, 1) != 0;
}
