/* A disk that takes its time: fsync and fdatasync wait as long as the file that SLOW_DISK names is there. */

#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_for_disk(void) {
    const struct timespec breath = {0, 10 * 1000 * 1000};
    const char *stalled = getenv("SLOW_DISK");
    while (stalled != NULL && access(stalled, F_OK) == 0) nanosleep(&breath, NULL);
}

int fsync(int file) {
    wait_for_disk();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    wait_for_disk();
    return (int)syscall(SYS_fdatasync, file);
}
