// A disk that hangs on command: preloaded into tenured, it makes fsync and fdatasync of a file, and writes to it that pass
// by the page cache, wait for as long as a file named `hang` is in its directory, or, of a data directory's log and engine,
// in the data directory. Nothing is lost and nothing fails: what was asked for goes on when the file is gone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void wait_while_hung(int fd) {
  char link[64];
  char path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  char *part = strstr(path, "/wal");
  if (part == NULL) part = strstr(path, "/kv/");
  if (part == NULL) part = strrchr(path, '/');
  if (part == NULL || part + sizeof "/hang" > path + sizeof path) return;
  strcpy(part, "/hang");
  while (access(path, F_OK) == 0) usleep(10000);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  wait_while_hung(fd);
  return real(fd);
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  wait_while_hung(fd);
  return real(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  static ssize_t (*real)(int, const void *, size_t, off_t);
  if (real == NULL) real = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
  if ((fcntl(fd, F_GETFL) & O_DIRECT) != 0) wait_while_hung(fd);
  return real(fd, bytes, size, offset);
}
