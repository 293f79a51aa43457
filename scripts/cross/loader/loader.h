// What the parts of the loader have of each other.
#include <stddef.h>
#include <stdint.h>

/// The address of what Linux does for a function of libSystem; `name` begins with the underscore of a Mach-O symbol.
void *system_function(const char *name);

/// Where a dylib lies, and its unwind tables.
struct image {
  uintptr_t begin, end;
  uintptr_t eh_frame, eh_frame_size;
  uintptr_t compact, compact_size;
};

/// Makes the unwind tables of a dylib known.
void add_image(const struct image *image);
