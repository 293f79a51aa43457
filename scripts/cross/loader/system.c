// What stands in for libSystem: Apple's calls, done by Linux. See README.md. Only what the addon uses, as far as it uses it.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "loader.h"

enum { MAX_FILES = 4096 };

// Errors: up to 34 they have the same numbers, but for one.
static const struct {
  int host, apple;
} ERRORS[] = {
    {EAGAIN, 35},       {EDEADLK, 11},      {ENAMETOOLONG, 63}, {ENOLCK, 77},      {ENOSYS, 78},     {ENOTEMPTY, 66},
    {ELOOP, 62},        {EINPROGRESS, 36},  {EALREADY, 37},     {ENOTSOCK, 38},    {EDESTADDRREQ, 39}, {EMSGSIZE, 40},
    {EPROTOTYPE, 41},   {ENOPROTOOPT, 42},  {EPROTONOSUPPORT, 43}, {EOPNOTSUPP, 102}, {EAFNOSUPPORT, 47}, {EADDRINUSE, 48},
    {EADDRNOTAVAIL, 49}, {ENETDOWN, 50},    {ENETUNREACH, 51},  {ECONNABORTED, 53}, {ECONNRESET, 54}, {ENOBUFS, 55},
    {EISCONN, 56},      {ENOTCONN, 57},     {ETIMEDOUT, 60},    {ECONNREFUSED, 61}, {EHOSTUNREACH, 65},
};
enum { ERROR_COUNT = sizeof ERRORS / sizeof *ERRORS };

static int apple_error(int error) {
  for (int i = 0; i < ERROR_COUNT; i++)
    if (ERRORS[i].host == error) return ERRORS[i].apple;
  return error;
}

static int linux_error(int error) {
  for (int i = 0; i < ERROR_COUNT; i++)
    if (ERRORS[i].apple == error) return ERRORS[i].host;
  return error;
}

static int *a_error(void) {
  static __thread int error;
  error = apple_error(errno);
  return &error;
}

static int a_strerror_r(int error, char *text, size_t size) {
  extern int __xpg_strerror_r(int, char *, size_t);
  return __xpg_strerror_r(linux_error(error), text, size);
}

// Files.

enum { A_AT_FDCWD = -2, A_RENAME_SWAP = 2, A_RENAME_EXCL = 4 };

static int directory(int fd) { return fd == A_AT_FDCWD ? AT_FDCWD : fd; }

static int open_flags(int apple) {
  static const struct {
    int apple, host;
  } FLAGS[] = {
      {0x4, O_NONBLOCK}, {0x8, O_APPEND}, {0x100, O_NOFOLLOW}, {0x200, O_CREAT}, {0x400, O_TRUNC},
      {0x800, O_EXCL}, {0x100000, O_DIRECTORY}, {0x1000000, O_CLOEXEC},
  };
  int flags = apple & O_ACCMODE;
  for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
    if (apple & FLAGS[i].apple) flags |= FLAGS[i].host;
  return flags;
}

__attribute__((visibility("hidden"))) int a_open(const char *path, int flags, int mode) {
  return open(path, open_flags(flags), mode);
}

__attribute__((visibility("hidden"))) int a_openat(int folder, const char *path, int flags, int mode) {
  return openat(directory(folder), path, open_flags(flags), mode);
}

struct a_stat {
  int32_t device;
  uint16_t mode, links;
  uint64_t inode;
  uint32_t user, group;
  int32_t special, padding;
  struct timespec accessed, modified, changed, born;
  int64_t size, blocks;
  int32_t block_size;
  uint32_t flags, generation;
  int32_t spare;
  int64_t spares[2];
};

static int fill_stat(int result, const struct stat *from, struct a_stat *to) {
  if (result) return result;
  *to = (struct a_stat){
      .device = from->st_dev, .mode = from->st_mode, .links = from->st_nlink, .inode = from->st_ino,
      .user = from->st_uid, .group = from->st_gid, .special = from->st_rdev, .accessed = from->st_atim,
      .modified = from->st_mtim, .changed = from->st_ctim, .born = from->st_ctim, .size = from->st_size,
      .blocks = from->st_blocks, .block_size = from->st_blksize,
  };
  return 0;
}

static int a_stat(const char *path, struct a_stat *to) {
  struct stat from;
  return fill_stat(stat(path, &from), &from, to);
}

static int a_lstat(const char *path, struct a_stat *to) {
  struct stat from;
  return fill_stat(lstat(path, &from), &from, to);
}

static int a_fstat(int fd, struct a_stat *to) {
  struct stat from;
  return fill_stat(fstat(fd, &from), &from, to);
}

static int a_fstatat(int folder, const char *path, struct a_stat *to, int flags) {
  struct stat from;
  return fill_stat(fstatat(directory(folder), path, &from, flags & 0x20 ? AT_SYMLINK_NOFOLLOW : 0), &from, to);
}

struct a_statvfs {
  unsigned long block_size, fragment_size;
  uint32_t blocks, free, available, files, free_files, available_files;
  unsigned long id, flags, name_max;
};

static int a_fstatvfs(int fd, struct a_statvfs *to) {
  struct statvfs from;
  if (fstatvfs(fd, &from)) return -1;
  *to = (struct a_statvfs){
      .block_size = from.f_bsize, .fragment_size = from.f_frsize, .blocks = from.f_blocks, .free = from.f_bfree,
      .available = from.f_bavail, .files = from.f_files, .free_files = from.f_ffree, .available_files = from.f_favail,
      .id = from.f_fsid, .flags = from.f_flag & 3, .name_max = from.f_namemax,
  };
  return 0;
}

static int a_unlinkat(int folder, const char *path, int flags) {
  return unlinkat(directory(folder), path, flags & 0x80 ? AT_REMOVEDIR : 0);
}

static int a_linkat(int from, const char *old, int to, const char *new, int flags) {
  return linkat(directory(from), old, directory(to), new, flags & 0x40 ? AT_SYMLINK_FOLLOW : 0);
}

static int a_renameatx_np(int from, const char *old, int to, const char *new, unsigned flags) {
  unsigned how = (flags & A_RENAME_SWAP ? RENAME_EXCHANGE : 0) | (flags & A_RENAME_EXCL ? RENAME_NOREPLACE : 0);
  return syscall(SYS_renameat2, directory(from), old, directory(to), new, how);
}

struct a_dirent {
  uint64_t inode, offset;
  uint16_t size, name_size;
  uint8_t type;
  char name[1024];
};

static void fill_dirent(const struct dirent *from, struct a_dirent *to) {
  memset(to, 0, offsetof(struct a_dirent, name));
  to->inode = from->d_ino;
  to->type = from->d_type;
  to->name_size = strlen(from->d_name);
  to->size = sizeof *to;
  strcpy(to->name, from->d_name);
}

static int a_readdir_r(DIR *folder, struct a_dirent *entry, struct a_dirent **result) {
  errno = 0;
  struct dirent *next = readdir(folder);
  *result = next ? entry : 0;
  if (!next) return apple_error(errno);
  fill_dirent(next, entry);
  return 0;
}

static struct a_dirent *a_readdir(DIR *folder) {
  static __thread struct a_dirent entry;
  struct dirent *next = readdir(folder);
  if (!next) return 0;
  fill_dirent(next, &entry);
  return &entry;
}

static void *a_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
  enum { A_ANONYMOUS = 0x1000, SAME = MAP_SHARED | MAP_PRIVATE | MAP_FIXED };
  return mmap(address, size, protection, (flags & SAME) | (flags & A_ANONYMOUS ? MAP_ANONYMOUS : 0), fd, offset);
}

// A queue of events is an epoll; it wakes by an eventfd. A copy of its descriptor shares what the queue is woken with.
static struct queue {
  int event, original;
  void *data;
} queues[MAX_FILES];
static struct interest {
  int read, write;
  void *read_data, *write_data;
} interests[MAX_FILES];

static int a_close(int fd) {
  if (fd >= 0 && fd < MAX_FILES) {
    interests[fd] = (struct interest){0};
    queues[fd] = (struct queue){0};
  }
  return close(fd);
}

__attribute__((visibility("hidden"))) int a_fcntl(int fd, int command, long value) {
  enum { DUPFD, GETFD, SETFD, GETFL, SETFL, PREALLOCATE = 42, FULLFSYNC = 51, DUPFD_CLOEXEC = 67 };
  switch (command) {
    case DUPFD: case GETFD: case SETFD:
      return fcntl(fd, command, value);
    case GETFL: {
      int flags = fcntl(fd, F_GETFL);
      if (flags < 0) return flags;
      return (flags & O_ACCMODE) | (flags & O_NONBLOCK ? 0x4 : 0) | (flags & O_APPEND ? 0x8 : 0);
    }
    case SETFL:
      return fcntl(fd, F_SETFL, (value & 0x4 ? O_NONBLOCK : 0) | (value & 0x8 ? O_APPEND : 0));
    case PREALLOCATE:
      return 0;
    case FULLFSYNC:
      return fsync(fd);
    case DUPFD_CLOEXEC: {
      int copy = fcntl(fd, F_DUPFD_CLOEXEC, value);
      if (copy >= 0 && copy < MAX_FILES && queues[fd].event) queues[copy] = queues[fd];
      return copy;
    }
  }
  errno = EINVAL;
  return -1;
}

__attribute__((visibility("hidden"))) int a_ioctl(int fd, unsigned long request, void *value) {
  if (request == 0x8004667e) return ioctl(fd, FIONBIO, value);
  if (request == 0x20006601) return ioctl(fd, FIOCLEX);
  errno = ENOTTY;
  return -1;
}

// Sockets: an address begins with its length and has the family in one byte.

enum { A_AF_INET6 = 30, A_SOL_SOCKET = 0xffff, A_SO_REUSEADDR = 0x4, A_SO_KEEPALIVE = 0x8, A_SO_ERROR = 0x1007, A_MSG_PEEK = 2 };

static int family(int apple) { return apple == A_AF_INET6 ? AF_INET6 : apple; }

static void to_linux(const uint8_t *from, socklen_t size, struct sockaddr_storage *to) {
  memcpy(to, from, size < sizeof *to ? size : sizeof *to);
  to->ss_family = family(from[1]);
}

static void to_apple(uint8_t *address, socklen_t size) {
  int is_v6 = ((struct sockaddr *)address)->sa_family == AF_INET6;
  address[1] = is_v6 ? A_AF_INET6 : address[0];
  address[0] = size;
}

static int a_socket(int domain, int type, int protocol) { return socket(family(domain), type, protocol); }

static int a_connect(int fd, const uint8_t *address, socklen_t size) {
  struct sockaddr_storage to;
  to_linux(address, size, &to);
  return connect(fd, (struct sockaddr *)&to, size);
}

static int a_bind(int fd, const uint8_t *address, socklen_t size) {
  struct sockaddr_storage to;
  to_linux(address, size, &to);
  return bind(fd, (struct sockaddr *)&to, size);
}

static int a_getsockname(int fd, uint8_t *address, socklen_t *size) {
  int result = getsockname(fd, (struct sockaddr *)address, size);
  if (!result) to_apple(address, *size);
  return result;
}

static int a_getpeername(int fd, uint8_t *address, socklen_t *size) {
  int result = getpeername(fd, (struct sockaddr *)address, size);
  if (!result) to_apple(address, *size);
  return result;
}

static int a_setsockopt(int fd, int level, int option, const void *value, socklen_t size) {
  if (level == A_SOL_SOCKET && option == A_SO_REUSEADDR) return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, value, size);
  if (level == A_SOL_SOCKET && option == A_SO_KEEPALIVE) return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, size);
  // TCP_NODELAY. Others, as Apple's SO_NOSIGPIPE, have their place in the calls below.
  if (level == 6 && option == 1) return setsockopt(fd, 6, 1, value, size);
  return 0;
}

static int a_getsockopt(int fd, int level, int option, void *value, socklen_t *size) {
  if (level == A_SOL_SOCKET && option == A_SO_ERROR) {
    int result = getsockopt(fd, SOL_SOCKET, SO_ERROR, value, size);
    if (!result) *(int *)value = apple_error(*(int *)value);
    return result;
  }
  return getsockopt(fd, level == A_SOL_SOCKET ? SOL_SOCKET : level, option, value, size);
}

static ssize_t a_send(int fd, const void *data, size_t size, int flags) {
  (void)flags;
  return send(fd, data, size, MSG_NOSIGNAL);
}

static ssize_t a_recv(int fd, void *data, size_t size, int flags) {
  return recv(fd, data, size, flags & A_MSG_PEEK ? MSG_PEEK : 0);
}

struct a_event {
  uintptr_t id;
  int16_t filter;
  uint16_t flags;
  uint32_t filter_flags;
  intptr_t data;
  void *user;
};

enum { FILTER_READ = -1, FILTER_WRITE = -2, FILTER_USER = -10 };
enum { ADD = 0x1, DELETE = 0x2, CLEAR = 0x20, RECEIPT = 0x40, IS_ERROR = 0x4000, IS_END = 0x8000, TRIGGER = 0x01000000 };

static int a_kqueue(void) {
  int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return fd;
  queues[fd] = (struct queue){.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .original = fd};
  struct epoll_event wake = {.events = EPOLLIN | EPOLLET, .data.fd = -1 - fd};
  epoll_ctl(fd, EPOLL_CTL_ADD, queues[fd].event, &wake);
  return fd;
}

/// Tells epoll what of a descriptor is of interest.
static void watch(int queue, int fd) {
  struct interest *wanted = &interests[fd];
  struct epoll_event event = {
      .events = EPOLLET | EPOLLRDHUP | (wanted->read ? EPOLLIN : 0) | (wanted->write ? EPOLLOUT : 0), .data.fd = fd};
  if (!wanted->read && !wanted->write) epoll_ctl(queue, EPOLL_CTL_DEL, fd, 0);
  else if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event) && errno == EEXIST) epoll_ctl(queue, EPOLL_CTL_MOD, fd, &event);
}

/// Does one change, and returns the error.
static int change(int queue, const struct a_event *wanted) {
  if (wanted->filter == FILTER_USER) {
    queues[queues[queue].original].data = wanted->user;
    uint64_t one = 1;
    return wanted->filter_flags & TRIGGER && write(queues[queue].event, &one, sizeof one) < 0 ? errno : 0;
  }
  int fd = wanted->id, on = wanted->flags & ADD;
  struct interest *interest = &interests[fd];
  int *which = wanted->filter == FILTER_READ ? &interest->read : &interest->write;
  int error = !on && !*which ? ENOENT : 0;
  *which = on;
  *(wanted->filter == FILTER_READ ? &interest->read_data : &interest->write_data) = wanted->user;
  watch(queue, fd);
  return error;
}

static int a_kevent(int queue, const struct a_event *changes, int change_count, struct a_event *events, int room, const struct timespec *patience) {
  int count = 0;
  for (int i = 0; i < change_count; i++) {
    int error = change(queue, &changes[i]);
    if (!(changes[i].flags & RECEIPT) || count >= room) continue;
    events[count] = changes[i];
    events[count].flags |= IS_ERROR;
    events[count++].data = apple_error(error);
  }
  if (change_count || !room) return count;
  // A descriptor can become two events.
  struct epoll_event ready[64];
  int most = room / 2 < 1 ? 1 : room / 2 < 64 ? room / 2 : 64;
  int milliseconds = patience ? patience->tv_sec * 1000 + (patience->tv_nsec + 999999) / 1000000 : -1;
  int found = epoll_wait(queue, ready, most, milliseconds);
  if (found < 0) return found;
  for (int i = 0; i < found; i++) {
    int fd = ready[i].data.fd;
    uint32_t what = ready[i].events;
    if (fd < 0) {
      uint64_t value;
      const struct queue *woken = &queues[-1 - fd];
      if (read(woken->event, &value, sizeof value) < 0) value = 0;
      events[count++] = (struct a_event){.filter = FILTER_USER, .flags = ADD | CLEAR, .user = woken->data};
      continue;
    }
    const struct interest *wanted = &interests[fd];
    if (wanted->read && what & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
      uint16_t end = what & (EPOLLHUP | EPOLLRDHUP) ? IS_END : 0;
      events[count++] = (struct a_event){.id = fd, .filter = FILTER_READ, .flags = ADD | CLEAR | end, .data = 1, .user = wanted->read_data};
    }
    if (wanted->write && count < room && what & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
      uint16_t end = what & (EPOLLHUP | EPOLLERR) ? IS_END : 0;
      events[count++] = (struct a_event){.id = fd, .filter = FILTER_WRITE, .flags = ADD | CLEAR | end, .data = 1, .user = wanted->write_data};
    }
  }
  return count;
}

// Threads. Apple's static initialisers begin with a signature; glibc's are zeros, and its objects fit into Apple's.

static void *a_semaphore_create(long value) {
  sem_t *semaphore = malloc(sizeof *semaphore);
  if (semaphore) sem_init(semaphore, 0, value);
  return semaphore;
}

static long a_semaphore_signal(sem_t *semaphore) { return sem_post(semaphore); }

static long a_semaphore_wait(sem_t *semaphore, uint64_t until) {
  if (until == ~0ull) {
    while (sem_wait(semaphore)) continue;
    return 0;
  }
  struct timespec time = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
  int result;
  while ((result = sem_clockwait(semaphore, CLOCK_MONOTONIC, &time)) && errno == EINTR) continue;
  return result ? 49 : 0;
}

static uint64_t a_dispatch_time(uint64_t base, int64_t nanoseconds) {
  (void)base;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000ull + now.tv_nsec + nanoseconds;
}

static pthread_mutex_t *mutex(void *apple) {
  if (*(uint64_t *)apple == 0x32aaaba7) memset(apple, 0, 64);
  return apple;
}

static pthread_cond_t *condition(void *apple) {
  if (*(uint64_t *)apple == 0x3cb0b1bb) memset(apple, 0, 48);
  return apple;
}

static int a_mutex_lock(void *lock) { return apple_error(pthread_mutex_lock(mutex(lock))); }
static int a_mutex_trylock(void *lock) { return apple_error(pthread_mutex_trylock(mutex(lock))); }
static int a_mutex_unlock(void *lock) { return apple_error(pthread_mutex_unlock(mutex(lock))); }
static int a_mutexattr_settype(void *attributes, int type) {
  return pthread_mutexattr_settype(attributes, type == 1 ? PTHREAD_MUTEX_ERRORCHECK : type == 2 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
}
static int a_cond_wait(void *cond, void *lock) { return apple_error(pthread_cond_wait(condition(cond), mutex(lock))); }
static int a_cond_destroy(void *cond) { return pthread_cond_destroy(condition(cond)); }
static int a_mutex_destroy(void *lock) { return apple_error(pthread_mutex_destroy(mutex(lock))); }
static int a_cond_signal(void *cond) { return pthread_cond_signal(condition(cond)); }
static int a_cond_broadcast(void *cond) { return pthread_cond_broadcast(condition(cond)); }
static int a_cond_timedwait(void *cond, void *lock, const struct timespec *relative) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += relative->tv_sec;
  until.tv_nsec += relative->tv_nsec;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  return apple_error(pthread_cond_timedwait(condition(cond), mutex(lock), &until));
}

static int a_threadid(void *thread, uint64_t *id) {
  (void)thread;
  *id = gettid();
  return 0;
}

static int a_setname(const char *name) {
  char shorter[16] = {0};
  strncpy(shorter, name, sizeof shorter - 1);
  return pthread_setname_np(pthread_self(), shorter);
}

/* The lowest address of a thread's stack and its size; 0 and 0 where they cannot be asked for. */
static char *stack_of(pthread_t thread, size_t *size) {
  pthread_attr_t attributes;
  void *low = 0;
  *size = 0;
  if (pthread_getattr_np(thread, &attributes)) return 0;
  pthread_attr_getstack(&attributes, &low, size);
  pthread_attr_destroy(&attributes);
  return low;
}

static void *a_stack_address(pthread_t thread) {
  size_t size;
  char *low = stack_of(thread, &size);
  return low ? low + size : 0;
}

static size_t a_stack_size(pthread_t thread) {
  size_t size;
  stack_of(thread, &size);
  return size;
}

static int a_at_thread_exit(void (*destroy)(void *), void *object) {
  extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
  extern void *__dso_handle;
  return __cxa_thread_atexit_impl(destroy, object, &__dso_handle);
}

// The rest.

static int a_clock_gettime(int clock, struct timespec *time) {
  return clock_gettime(clock == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, time);
}

static long a_sysconf(int name) {
  enum { PAGE = 29, PROCESSORS = 58, GETPW = 71 };
  if (name == PAGE) return sysconf(_SC_PAGESIZE);
  if (name == PROCESSORS) return sysconf(_SC_NPROCESSORS_ONLN);
  return name == GETPW ? 4096 : -1;
}

static int a_random(void *data, size_t size) { return getrandom(data, size, 0) == (ssize_t)size ? 0 : -1; }

static char ***a_environment(void) {
  extern char **environ;
  return &environ;
}

struct a_passwd {
  char *name, *password;
  uint32_t user, group;
  long changed;
  char *class, *about, *home, *shell;
  long expires;
};

static int a_getpwuid_r(uint32_t user, struct a_passwd *entry, char *buffer, size_t size, struct a_passwd **result) {
  (void)buffer, (void)size;
  char *home = getenv("HOME");
  *entry = (struct a_passwd){.name = "user", .password = "", .user = user, .class = "", .about = "", .home = home ? home : "/", .shell = ""};
  *result = entry;
  return 0;
}

static void *a_dlopen(const char *path, int how) { return dlopen(path, (how & 3) | (how & 8 ? RTLD_GLOBAL : 0)); }
static void *a_dlsym(void *library, const char *name) { return dlsym((intptr_t)library == -2 ? RTLD_DEFAULT : library, name); }

static void a_bzero(void *data, size_t size) { memset(data, 0, size); }

// What Apple has for compilers in libSystem, and Zig in a library of its own.
extern void __ashlti3(void), __floattidf(void), __floatuntidf(void), __lshrti3(void);

static int zero(void) { return 0; }
/// What starts a program answers that there is none: those that are asked for are Apple's (`ioreg`).
static int no_program(void) { return ENOENT; }
static int unsupported(void) {
  errno = ENOSYS;
  return -1;
}

#ifdef __aarch64__
// Apple's arm64 passes what stands for an ellipsis on the stack.
__asm__(".text\n.irp name,open,fcntl,ioctl\n.hidden v_\\name\n.globl v_\\name\nv_\\name: ldr x2, [sp]\nb a_\\name\n.endr\n"
        ".hidden v_openat\n.globl v_openat\nv_openat: ldr x3, [sp]\nb a_openat\n");
extern void v_open(void), v_openat(void), v_fcntl(void), v_ioctl(void);
#define VARIADIC(name) v_##name
#else
#define VARIADIC(name) a_##name
#endif

// Unwinding: not that of Node or of Linux's libgcc, which know no compact tables, but the libunwind that is linked to this.
#define UNWIND(name) {"_Unwind_" #name, _Unwind_##name}
extern void _Unwind_Backtrace(void), _Unwind_DeleteException(void), _Unwind_GetCFA(void), _Unwind_GetDataRelBase(void), _Unwind_GetIP(void),
    _Unwind_GetIPInfo(void), _Unwind_GetLanguageSpecificData(void), _Unwind_GetRegionStart(void), _Unwind_GetTextRelBase(void),
    _Unwind_RaiseException(void), _Unwind_Resume(void), _Unwind_SetGR(void), _Unwind_SetIP(void);

/// Those that differ.
static const struct {
  const char *name;
  void *function;
} TRANSLATED[] = {
    {"CCRandomGenerateBytes", a_random},
    {"__ashlti3", __ashlti3},
    {"__bzero", a_bzero},
    {"__error", a_error},
    {"__floattidf", __floattidf},
    {"__floatuntidf", __floatuntidf},
    {"__lshrti3", __lshrti3},
    {"_NSGetEnviron", a_environment},
    UNWIND(Backtrace),
    UNWIND(DeleteException),
    UNWIND(GetCFA),
    UNWIND(GetDataRelBase),
    UNWIND(GetIP),
    UNWIND(GetIPInfo),
    UNWIND(GetLanguageSpecificData),
    UNWIND(GetRegionStart),
    UNWIND(GetTextRelBase),
    UNWIND(RaiseException),
    UNWIND(Resume),
    UNWIND(SetGR),
    UNWIND(SetIP),
    {"_dyld_get_image_header", zero},
    {"_dyld_get_image_name", zero},
    {"_dyld_get_image_vmaddr_slide", zero},
    {"_dyld_image_count", zero},
    {"_tlv_atexit", a_at_thread_exit},
    // The loader writes another address over it.
    {"_tlv_bootstrap", unsupported},
    {"bind", a_bind},
    {"bzero", a_bzero},
    {"clock_gettime", a_clock_gettime},
    {"close", a_close},
    {"connect", a_connect},
    {"dispatch_release", zero},
    {"dispatch_semaphore_create", a_semaphore_create},
    {"dispatch_semaphore_signal", a_semaphore_signal},
    {"dispatch_semaphore_wait", a_semaphore_wait},
    {"dispatch_time", a_dispatch_time},
    {"dlopen", a_dlopen},
    {"dlsym", a_dlsym},
    {"dyld_stub_binder", unsupported},
    {"fcntl", VARIADIC(fcntl)},
    {"fstat", a_fstat},
    {"fstatat", a_fstatat},
    {"fstatvfs", a_fstatvfs},
    {"getpeername", a_getpeername},
    {"getpwuid_r", a_getpwuid_r},
    {"getsockname", a_getsockname},
    {"getsockopt", a_getsockopt},
    {"ioctl", VARIADIC(ioctl)},
    {"kevent", a_kevent},
    {"kqueue", a_kqueue},
    {"linkat", a_linkat},
    {"lstat", a_lstat},
    {"mmap", a_mmap},
    {"open", VARIADIC(open)},
    {"openat", VARIADIC(openat)},
    {"posix_spawn_file_actions_adddup2", zero},
    {"posix_spawn_file_actions_destroy", zero},
    {"posix_spawn_file_actions_init", zero},
    {"posix_spawnattr_destroy", zero},
    {"posix_spawnattr_init", zero},
    {"posix_spawnattr_setflags", zero},
    {"posix_spawnattr_setpgroup", zero},
    {"posix_spawnattr_setsigdefault", zero},
    {"posix_spawnp", no_program},
    {"pthread_cond_broadcast", a_cond_broadcast},
    {"pthread_cond_destroy", a_cond_destroy},
    {"pthread_cond_signal", a_cond_signal},
    {"pthread_cond_timedwait_relative_np", a_cond_timedwait},
    {"pthread_cond_wait", a_cond_wait},
    {"pthread_get_stackaddr_np", a_stack_address},
    {"pthread_get_stacksize_np", a_stack_size},
    {"pthread_mutex_destroy", a_mutex_destroy},
    {"pthread_mutex_lock", a_mutex_lock},
    {"pthread_mutex_trylock", a_mutex_trylock},
    {"pthread_mutex_unlock", a_mutex_unlock},
    {"pthread_mutexattr_settype", a_mutexattr_settype},
    {"pthread_setname_np", a_setname},
    {"pthread_threadid_np", a_threadid},
    {"readdir", a_readdir},
    {"readdir_r", a_readdir_r},
    {"recv", a_recv},
    {"renameatx_np", a_renameatx_np},
    {"send", a_send},
    {"setsockopt", a_setsockopt},
    {"sigaddset", zero},
    {"sigaltstack", zero},
    {"sigemptyset", zero},
    {"socket", a_socket},
    {"stat", a_stat},
    {"strerror_r", a_strerror_r},
    {"sysconf", a_sysconf},
    {"sysctlbyname", unsupported},
    {"unlinkat", a_unlinkat},
};

/// Those that are the same on both systems.
static const char *const SAME[] = {
    "_exit", "abort", "calloc", "closedir", "dirfd", "dladdr", "dlclose", "dlerror", "fchmod", "fchown", "flock",
    "free", "fsync", "ftruncate", "gai_strerror", "getcwd", "getentropy", "getenv", "geteuid", "getpid", "getuid", "isatty",
    "kill", "lchown", "lseek", "malloc", "memcmp", "memcpy", "memmove", "memset", "mkdir", "munmap", "nanosleep",
    "opendir", "pipe", "poll", "posix_memalign", "pow", "pthread_attr_destroy", "pthread_attr_init",
    "pthread_attr_setstacksize", "pthread_create", "pthread_detach", "pthread_join", "pthread_mutex_init",
    "pthread_mutexattr_destroy", "pthread_mutexattr_init", "pthread_self", "read", "readlink", "realloc", "realpath",
    "rename", "rmdir", "shutdown", "strlen", "unlink", "write", "writev",
};

static _Noreturn void unknown(const char *name) {
  fprintf(stderr, "[macho] the addon called %s, which system.c does not know\n", name);
  abort();
}

/// A function that calls `unknown` with the name.
static void *unknown_function(const char *name) {
  static uint8_t *page;
  static size_t used;
  if (!page) page = mmap(0, 65536, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t values[] = {(uint64_t)name, (uint64_t)unknown};
#ifdef __aarch64__
  // ldr x0, name; ldr x16, unknown; br x16
  const uint32_t code[] = {0x58000080, 0x580000b0, 0xd61f0200, 0xd503201f};
#else
  // mov name(%rip), %rdi; jmp *unknown(%rip)
  const uint8_t code[16] = {0x48, 0x8b, 0x3d, 9, 0, 0, 0, 0xff, 0x25, 11, 0, 0, 0, 0x90, 0x90, 0x90};
#endif
  if (page == MAP_FAILED || used + sizeof code + sizeof values > 65536) abort();
  uint8_t *function = page + used;
  memcpy(function, code, sizeof code);
  memcpy(function + sizeof code, values, sizeof values);
  used += sizeof code + sizeof values;
  __builtin___clear_cache((char *)function, (char *)function + sizeof code);
  return function;
}

void *system_function(const char *symbol) {
  char name[128] = {0};
  strncpy(name, symbol + 1, sizeof name - 1);
  // Behind a dollar stands which of its versions: stat$INODE64.
  name[strcspn(name, "$")] = 0;
  for (size_t i = 0; i < sizeof TRANSLATED / sizeof *TRANSLATED; i++)
    if (!strcmp(TRANSLATED[i].name, name)) return TRANSLATED[i].function;
  for (size_t i = 0; i < sizeof SAME / sizeof *SAME; i++) {
    if (strcmp(SAME[i], name)) continue;
    void *function = dlsym(RTLD_DEFAULT, name);
    if (function) return function;
  }
  return unknown_function(symbol);
}
