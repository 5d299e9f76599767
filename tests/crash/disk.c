/* Stands between fleet and its disk (LD_PRELOAD): at one line of a journal it ends the process, tears the line, waits, lets the
 * disk be full, or sets the clock. So a crash comes exactly where a test wants it, in the real program and without a debugger.
 *
 *   CRASH_AT    the text that the line holds    CRASH_NTH   the how-many-eth such line, from 1
 *   CRASH_DO    before | after | torn | hold | full | jump
 *   CRASH_GATE  a folder: `hold` makes the file `here` in it and goes on when there is a file `go`
 *   CRASH_JUMP  seconds by which the clock is wrong from then on, for this process
 *   CRASH_END   the text of a later line: before it is written the process waits again, from `there` to `on`
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int seen, hit, full, ended;
static long jumped;

static int is(const char *what) {
    const char *wanted = getenv("CRASH_DO");
    return wanted && strcmp(wanted, what) == 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static void hold(const char *from, const char *to) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("CRASH_GATE"), from);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof path, "%s/%s", getenv("CRASH_GATE"), to);
    while (access(path, F_OK) != 0) usleep(3000);
}

static int is_journal(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/journal.ndjson") != NULL;
}

static int is_file(int fd) {
    struct stat about;
    return fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    const char *at = getenv("CRASH_AT"), *nth = getenv("CRASH_NTH"), *end = getenv("CRASH_END");
    if (end && hit && !ended && memmem(bytes, count, end, strlen(end)) && is_journal(fd)) {
        ended = 1;
        hold("there", "on");
    }
    if (at && !hit && memmem(bytes, count, at, strlen(at)) && is_journal(fd) && ++seen == (nth ? atoi(nth) : 1)) {
        hit = 1;
        if (is("before")) die();
        if (is("torn")) {
            syscall(SYS_write, fd, bytes, count / 2);
            die();
        }
        if (is("full")) full = 1;
        if (is("jump")) jumped = atol(getenv("CRASH_JUMP"));
    }
    /* The screen is on no disk. */
    if (full && fd > 2 && is_file(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, count);
}

/* What is written is on the disk: only now does `after` end the process, and `hold` wait. */
int fdatasync(int fd) {
    int done = (int)syscall(SYS_fdatasync, fd);
    if (hit == 1 && is_journal(fd)) {
        hit = 2;
        if (is("after")) die();
        if (is("hold")) hold("here", "go");
    }
    return done;
}

/* The clock of the wall alone: how long something took is told by one that nobody sets. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jumped;
    return done;
}
