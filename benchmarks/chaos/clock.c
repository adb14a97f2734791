/* Shifts the clock on the wall of one process, for tests: LD_PRELOAD this, CHAOS_CLOCK names a file of entries.
 *
 * libfaketime does the same for all processes alike, and guards its state by a semaphore that a killed process
 * never gives back: the next one that asks for the time waits for ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 64

struct entry {
  int32_t pid;
  int32_t shift_sec;
};

static const volatile struct entry *entries;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void map_entries(void) {
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const char *path = getenv("CHAOS_CLOCK");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(NULL, ENTRIES * sizeof(struct entry), PROT_READ, MAP_SHARED, file, 0);
  if (found != MAP_FAILED) entries = found;
  close(file);
}

static int32_t shift_sec(void) {
  if (!entries) return 0;
  int32_t pid = getpid();
  for (int i = 0; i < ENTRIES && entries[i].pid; i++)
    if (entries[i].pid == pid) return entries[i].shift_sec;
  return 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
  if (!real_clock_gettime) map_entries();
  int failed = real_clock_gettime(id, now);
  if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_sec();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  int failed = clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return failed;
}

time_t time(time_t *to) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (to) *to = exact.tv_sec;
  return exact.tv_sec;
}
