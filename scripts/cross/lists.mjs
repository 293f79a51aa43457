// @ts-check
// What a binary may take from the system that it runs on, and what it has to have. Whoever adds a line has looked up that the oldest supported
// system has it.

/** What Node looks for in an addon. */
export const ENTRY = 'napi_register_module_v1'

/** The DLLs that each Windows 10 and 11 brings, the C runtime (UCRT) included. MSVC's own (`vcruntime140.dll`) is not among them. */
export const WINDOWS_LIBRARIES =
  /^(?:(?:advapi32|bcrypt|bcryptprimitives|kernel32|ntdll|userenv|ws2_32)\.dll|api-ms-win-core-(?:synch|winrt-error)-l\d-\d-\d\.dll|api-ms-win-crt-[a-z]+-l1-1-0\.dll)$/

/** Of these Apple's own linker leaves the second, which Rust names and from which nothing is taken. */
export const MACOS_LIBRARIES = ['/usr/lib/libSystem.B.dylib', '/usr/lib/libiconv.2.dylib']

export const GLIBC_LIBRARIES = /^(?:ld-linux[\w-]*|ld64|libc|libdl|libgcc_s|libm|libpthread|librt)\.so\.\d+$/
export const MUSL_LIBRARIES = /^libc(?:\.musl-\w+\.so\.1|\.so)$/

/** Whether a version with dots is older than another or the same. @param {string} one @param {string} other */
export function isOlderOrSame(one, other) {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number))
  for (let i = 0; i < 3; i += 1) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return true
}
