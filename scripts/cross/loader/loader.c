// Loads a macOS dylib of the addon into Linux's Node: the one that RING_AUTH_MACHO names. See README.md.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "loader.h"

#define VISIBLE __attribute__((visibility("default")))

#ifdef __aarch64__
enum { PROCESSOR = 0x0100000c };
#else
enum { PROCESSOR = 0x01000007 };
#endif

enum { MAGIC = 0xfeedfacf, MAX_SEGMENTS = 16 };

enum {
  LC_SYMTAB = 0x2,
  LC_SEGMENT_64 = 0x19,
  LC_DYLD_INFO = 0x22,
  LC_DYLD_INFO_ONLY = 0x80000022,
  LC_DYLD_CHAINED_FIXUPS = 0x80000034,
};

enum {
  S_INITIALISERS = 0x09,
  S_THREAD_LOCAL = 0x11,
  S_THREAD_LOCAL_ZERO = 0x12,
  S_THREAD_LOCAL_VARIABLES = 0x13,
};

struct header {
  uint32_t magic, processor, subtype, type, commands, commands_size, flags, reserved;
};
struct command {
  uint32_t kind, size;
};
struct segment {
  struct command command;
  char name[16];
  uint64_t address, size, offset, file_size;
  uint32_t most, protection, sections, flags;
};
struct section {
  char name[16], segment[16];
  uint64_t address, size;
  uint32_t offset, align, relocations, relocation_count, flags, reserved[3];
};
struct dyld_info {
  struct command command;
  struct {
    uint32_t offset, size;
  } rebase, bind, weak_bind, lazy_bind, exports;
};
struct symbols {
  struct command command;
  uint32_t offset, count, names, names_size;
};
struct symbol {
  uint32_t name;
  uint8_t kind, section;
  uint16_t description;
  uint64_t value;
};
struct thread_variable {
  void *get;
  uint64_t key, offset;
};

/// A dylib while it is loaded.
struct dylib {
  const uint8_t *file;
  uint8_t *base;
  uint64_t size;
  uint64_t segments[MAX_SEGMENTS];
  const struct dyld_info *info;
  const struct symbols *symbols;
  const struct section *eh_frame, *compact, *initialisers, *variables;
  uint64_t thread_begin, thread_end, thread_data_end;
};

static void fail(const char *why) {
  fprintf(stderr, "[macho] %s\n", why);
  abort();
}

// Thread-local variables: a block for each thread, made when the thread first asks, from the content that the file has for it.
static pthread_key_t thread_key;
static const uint8_t *thread_content;
static size_t thread_content_size, thread_size;

__attribute__((visibility("hidden"))) void *thread_variable(const struct thread_variable *variable) {
  uint8_t *block = pthread_getspecific(thread_key);
  if (!block) {
    block = aligned_alloc(64, (thread_size + 63) & ~(size_t)63);
    if (!block) fail("no memory for the variables of a thread");
    memset(block, 0, thread_size);
    memcpy(block, thread_content, thread_content_size);
    pthread_setspecific(thread_key, block);
  }
  return block + variable->offset;
}

// Whoever asks for a variable expects all registers to be as before, but for that of the answer.
extern void get_thread_variable(void);
#ifdef __aarch64__
__asm__(".text\n.globl get_thread_variable\n.hidden get_thread_variable\nget_thread_variable:\n"
        "stp x29, x30, [sp, #-16]!\nmov x29, sp\nsub sp, sp, #656\n"
        "stp x1, x2, [sp]\nstp x3, x4, [sp, #16]\nstp x5, x6, [sp, #32]\nstp x7, x8, [sp, #48]\n"
        "stp x9, x10, [sp, #64]\nstp x11, x12, [sp, #80]\nstp x13, x14, [sp, #96]\nstp x15, x16, [sp, #112]\nstr x17, [sp, #128]\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "str q\\n, [sp, #144 + 16 * \\n]\n.endr\n"
        "bl thread_variable\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "ldr q\\n, [sp, #144 + 16 * \\n]\n.endr\n"
        "ldp x1, x2, [sp]\nldp x3, x4, [sp, #16]\nldp x5, x6, [sp, #32]\nldp x7, x8, [sp, #48]\n"
        "ldp x9, x10, [sp, #64]\nldp x11, x12, [sp, #80]\nldp x13, x14, [sp, #96]\nldp x15, x16, [sp, #112]\nldr x17, [sp, #128]\n"
        "mov sp, x29\nldp x29, x30, [sp], #16\nret\n");
#else
__asm__(".text\n.globl get_thread_variable\n.hidden get_thread_variable\nget_thread_variable:\n"
        "push %rbp\nmov %rsp, %rbp\n"
        "push %rcx\npush %rdx\npush %rsi\npush %rdi\npush %r8\npush %r9\npush %r10\npush %r11\n"
        "sub $256, %rsp\nand $-64, %rsp\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovaps %xmm\\n, 16 * \\n(%rsp)\n.endr\n"
        "call thread_variable\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovaps 16 * \\n(%rsp), %xmm\\n\n.endr\n"
        "lea -64(%rbp), %rsp\n"
        "pop %r11\npop %r10\npop %r9\npop %r8\npop %rdi\npop %rsi\npop %rdx\npop %rcx\npop %rbp\nret\n");
#endif

/* A number in seven bits a byte, how many bits it has, and its last byte. */
static uint64_t number(const uint8_t **at, int *bits, uint8_t *last) {
  uint64_t value = 0;
  *bits = 0;
  do {
    *last = *(*at)++;
    value |= (uint64_t)(*last & 127) << *bits;
    *bits += 7;
  } while (*last & 128);
  return value;
}

static uint64_t unsigned_number(const uint8_t **at) {
  int bits;
  uint8_t last;
  return number(at, &bits, &last);
}

static int64_t signed_number(const uint8_t **at) {
  int bits;
  uint8_t last;
  uint64_t value = number(at, &bits, &last);
  if (bits < 64 && last & 64) value |= ~0ull << bits;
  return (int64_t)value;
}

/// Reads the load commands: where each part is to lie, and where its tables are.
static void read_commands(struct dylib *dylib) {
  const struct header *header = (const struct header *)dylib->file;
  const uint8_t *at = dylib->file + sizeof *header;
  int segments = 0;
  dylib->thread_begin = ~0ull;
  for (uint32_t i = 0; i < header->commands; i++, at += ((const struct command *)at)->size) {
    switch (((const struct command *)at)->kind) {
      case LC_SYMTAB:
        dylib->symbols = (const struct symbols *)at;
        break;
      case LC_DYLD_INFO:
      case LC_DYLD_INFO_ONLY:
        dylib->info = (const struct dyld_info *)at;
        break;
      case LC_DYLD_CHAINED_FIXUPS:
        fail("chained fixups, which this loader does not know");
        break;
      case LC_SEGMENT_64: {
        const struct segment *segment = (const struct segment *)at;
        if (segments == MAX_SEGMENTS) fail("too many segments");
        dylib->segments[segments++] = segment->address;
        if (segment->address + segment->size > dylib->size) dylib->size = segment->address + segment->size;
        const struct section *sections = (const struct section *)(segment + 1);
        for (uint32_t k = 0; k < segment->sections; k++) {
          const struct section *section = &sections[k];
          if (!strncmp(section->name, "__eh_frame", 16)) dylib->eh_frame = section;
          if (!strncmp(section->name, "__unwind_info", 16)) dylib->compact = section;
          uint8_t type = section->flags & 255;
          if (type == S_INITIALISERS) dylib->initialisers = section;
          if (type == S_THREAD_LOCAL_VARIABLES) dylib->variables = section;
          if (type == S_THREAD_LOCAL || type == S_THREAD_LOCAL_ZERO) {
            uint64_t end = section->address + section->size;
            if (section->address < dylib->thread_begin) dylib->thread_begin = section->address;
            if (end > dylib->thread_end) dylib->thread_end = end;
            if (type == S_THREAD_LOCAL && end > dylib->thread_data_end) dylib->thread_data_end = end;
          }
        }
        break;
      }
    }
  }
  if (!dylib->info || !dylib->symbols || !dylib->compact) fail("the dylib lacks a table");
}

/// Copies the segments to where they are to lie, all of it writable and executable: what protects them is not tested here.
static void map(struct dylib *dylib) {
  dylib->base = mmap(0, dylib->size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (dylib->base == MAP_FAILED) fail("no memory for the dylib");
  const uint8_t *at = dylib->file + sizeof(struct header);
  for (uint32_t i = 0; i < ((const struct header *)dylib->file)->commands; i++, at += ((const struct command *)at)->size) {
    const struct segment *segment = (const struct segment *)at;
    if (segment->command.kind == LC_SEGMENT_64)
      memcpy(dylib->base + segment->address, dylib->file + segment->offset, segment->file_size);
  }
}

/// Adds the dylib's address to each pointer into itself.
static void rebase(struct dylib *dylib) {
  const uint8_t *at = dylib->file + dylib->info->rebase.offset, *end = at + dylib->info->rebase.size;
  uint64_t place = 0;
  while (at < end) {
    uint8_t operation = *at & 0xf0, small = *at & 0x0f;
    at++;
    uint64_t times = 0, skip = 0;
    switch (operation) {
      case 0x00: return;
      case 0x10: continue;
      case 0x20: place = dylib->segments[small] + unsigned_number(&at); continue;
      case 0x30: place += unsigned_number(&at); continue;
      case 0x40: place += small * 8; continue;
      case 0x50: times = small; break;
      case 0x60: times = unsigned_number(&at); break;
      case 0x70: times = 1; skip = unsigned_number(&at); break;
      case 0x80: times = unsigned_number(&at); skip = unsigned_number(&at); break;
      default: fail("a rebase that this loader does not know");
    }
    for (; times > 0; times--, place += 8 + skip) *(uint64_t *)(dylib->base + place) += (uint64_t)dylib->base;
  }
}

/// Puts the addresses of libSystem's functions where the dylib looks for them. Those of the lazy table are separated by ends.
static void bind(struct dylib *dylib, uint32_t offset, uint32_t size, int is_lazy) {
  const uint8_t *at = dylib->file + offset, *end = at + size;
  const char *name = "";
  int64_t addend = 0;
  uint64_t place = 0;
  while (at < end) {
    uint8_t operation = *at & 0xf0, small = *at & 0x0f;
    at++;
    uint64_t times = 1, skip = 0;
    switch (operation) {
      case 0x00:
        if (is_lazy) continue;
        return;
      case 0x10: case 0x30: case 0x50: continue;
      case 0x20: unsigned_number(&at); continue;
      case 0x40: name = (const char *)at; at += strlen(name) + 1; continue;
      case 0x60: addend = signed_number(&at); continue;
      case 0x70: place = dylib->segments[small] + unsigned_number(&at); continue;
      case 0x80: place += unsigned_number(&at); continue;
      case 0x90: break;
      case 0xa0: skip = unsigned_number(&at); break;
      case 0xb0: skip = small * 8; break;
      case 0xc0: times = unsigned_number(&at); skip = unsigned_number(&at); break;
      default: fail("a bind that this loader does not know");
    }
    for (; times > 0; times--, place += 8 + skip)
      *(uint64_t *)(dylib->base + place) = (uint64_t)system_function(name) + (uint64_t)addend;
  }
}

static void prepare_threads(struct dylib *dylib) {
  if (!dylib->variables) return;
  pthread_key_create(&thread_key, 0);
  thread_content = dylib->base + dylib->thread_begin;
  thread_size = dylib->thread_end - dylib->thread_begin;
  thread_content_size = dylib->thread_data_end > dylib->thread_begin ? dylib->thread_data_end - dylib->thread_begin : 0;
  struct thread_variable *variables = (struct thread_variable *)(dylib->base + dylib->variables->address);
  for (uint64_t i = 0; i < dylib->variables->size / sizeof *variables; i++) variables[i].get = get_thread_variable;
}

typedef void *entry(void *env, void *exports);

static entry *entry_of(const struct dylib *dylib) {
  const struct symbol *symbols = (const struct symbol *)(dylib->file + dylib->symbols->offset);
  for (uint32_t i = 0; i < dylib->symbols->count; i++) {
    const char *name = (const char *)dylib->file + dylib->symbols->names + symbols[i].name;
    if (symbols[i].kind & 0x0e && !strcmp(name, "_napi_register_module_v1")) return (entry *)(dylib->base + symbols[i].value);
  }
  fail("the dylib has no entry for Node");
  return 0;
}

static entry *load(const char *path) {
  struct dylib dylib = {0};
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  struct stat about;
  if (file < 0 || fstat(file, &about)) fail("RING_AUTH_MACHO names no file");
  dylib.file = mmap(0, about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (dylib.file == MAP_FAILED) fail("the dylib cannot be read");
  const struct header *header = (const struct header *)dylib.file;
  if (header->magic != MAGIC || header->processor != PROCESSOR) fail("no Mach-O for this processor");

  read_commands(&dylib);
  map(&dylib);
  rebase(&dylib);
  bind(&dylib, dylib.info->bind.offset, dylib.info->bind.size, 0);
  bind(&dylib, dylib.info->lazy_bind.offset, dylib.info->lazy_bind.size, 1);
  prepare_threads(&dylib);
  struct image image = {
      .begin = (uintptr_t)dylib.base,
      .end = (uintptr_t)dylib.base + dylib.size,
      .eh_frame = dylib.eh_frame ? (uintptr_t)dylib.base + dylib.eh_frame->address : 0,
      .eh_frame_size = dylib.eh_frame ? dylib.eh_frame->size : 0,
      .compact = (uintptr_t)dylib.base + dylib.compact->address,
      .compact_size = dylib.compact->size,
  };
  add_image(&image);
  __builtin___clear_cache((char *)dylib.base, (char *)dylib.base + dylib.size);

  extern char **environ;
  char *arguments[] = {"node", 0};
  typedef void initialiser(int, char **, char **, char **);
  if (dylib.initialisers) {
    initialiser **all = (initialiser **)(dylib.base + dylib.initialisers->address);
    for (uint64_t i = 0; i < dylib.initialisers->size / sizeof *all; i++) all[i](1, arguments, environ, arguments);
  }
  return entry_of(&dylib);
}

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

// Node calls it for each thread that loads the addon.
VISIBLE void *napi_register_module_v1(void *env, void *exports) {
  static entry *entry;
  pthread_mutex_lock(&loading);
  if (!entry) entry = load(getenv("RING_AUTH_MACHO"));
  pthread_mutex_unlock(&loading);
  return entry(env, exports);
}

VISIBLE int32_t node_api_module_get_api_version_v1(void) { return 8; }
