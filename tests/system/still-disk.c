/* A disk that stands still: preloaded into the server, this holds back what is written into regular files for as
 * long as the file STILL_FLAG is there. To the thread that writes it is what a disk is that hangs, or a network
 * file system whose server is away, and it needs neither root nor a kernel that can delay a device. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static void stand_still(int fd)
{
    const char *flag = getenv("STILL_FLAG");
    struct stat facts;
    if (flag == NULL || fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) return;
    while (access(flag, F_OK) == 0) usleep(10000);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    stand_still(fd);
    return next(fd, bytes, count, at);
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    stand_still(fd);
    return next(fd);
}
