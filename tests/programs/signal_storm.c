/* signal_storm RESTART FOLDER POD_FILE: under a signal each 100 us, makes files here, reads one of the pod, binds and
 * listens; prints how often each failed, by errno. Argument 1: whether handlers restart calls. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ROUNDS 1500

static volatile long ticks;

static void tick(int number) {
    (void)number;
    ticks++;
}

static void tell(const char *what, const int *failures) {
    printf("%s", what);
    for (int i = 1; i < 140; i++)
        if (failures[i]) printf(" %d:%d", i, failures[i]);
    printf("\n");
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    struct sigaction action = {.sa_handler = tick, .sa_flags = atoi(argv[1]) ? SA_RESTART : 0};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 100}, {0, 100}};
    int made[140] = {0}, read_failed[140] = {0}, bound[140] = {0};
    char name[4096], text[64];
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "%s/%d", argv[2], i);
        int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (fd < 0) made[errno]++;
        else close(fd);
        fd = open(argv[3], O_RDONLY);
        if (fd < 0 || read(fd, text, sizeof text) <= 0) read_failed[errno]++;
        if (fd >= 0) close(fd);
    }
    for (int i = 0; i < 100; i++) {
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(20000 + i)};
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 5) < 0) bound[errno]++;
        close(fd);
    }
    memset(&every, 0, sizeof every);
    setitimer(ITIMER_REAL, &every, NULL);
    tell("made", made);
    tell("read", read_failed);
    tell("bound", bound);
    printf("ticks %s\n", ticks > 100 ? "many" : "few");
    return 0;
}
