// The unwind tables of the dylibs that were loaded, for libunwind.
#include <stdbool.h>
#include <stdlib.h>
#include "loader.h"

static struct image images[4];
static int count;

void add_image(const struct image *image) {
  if (count == sizeof images / sizeof *images) abort();
  images[count++] = *image;
}

/// What libunwind asks for each address; false: the address is in no dylib, so it is Linux's.
bool find_image(uintptr_t address, struct image *found) {
  for (int i = 0; i < count; i++) {
    if (address < images[i].begin || address >= images[i].end) continue;
    *found = images[i];
    return true;
  }
  return false;
}
