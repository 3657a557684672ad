// Changes its user first of all, as apt's methods do, then has a byte echoed: drop_rights ADDRESS PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3 || setresuid(65534, 65534, 65534)) return perror("setresuid"), 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    int sock = socket(AF_INET, SOCK_STREAM, 0);
    char byte = 'h';
    if (connect(sock, (struct sockaddr *)&to, sizeof to)) return perror("connect"), 1;
    if (write(sock, &byte, 1) != 1 || read(sock, &byte, 1) != 1) return perror("echo"), 1;
    printf("%c\n", byte);
}
