/* calls COUNT: what a system call takes that nobody has a use for, as JSON: microseconds, of batches of 1000. */
#include "bench.h"

#include <sys/syscall.h>
#include <unistd.h>

#define BATCH 1000

int main(int argc, char **argv) {
    need(argc > 1, "usage");
    long count = atol(argv[1]);
    double *us = calloc(count, sizeof *us), start = now_us();
    for (long i = 0; i < count; i++) {
        double before = now_us();
        for (int j = 0; j < BATCH; j++) syscall(SYS_getppid);
        us[i] = (now_us() - before) / BATCH;
    }
    tell(us, count, now_us() - start);
    return 0;
}
