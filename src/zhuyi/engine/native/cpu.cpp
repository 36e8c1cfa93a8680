// Which of the libraries this processor can run. Every library contains this file, and `plain` is asked first.

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(_WIN32)
#define PUBLIC extern "C" __declspec(dllexport)
#else
#define PUBLIC extern "C" __attribute__((visibility("default")))
#endif

/// The names of those libraries, best first, with commas between them. An instruction set counts only where the operating
/// system saves its registers too.
PUBLIC const char* zhuyi_cpu() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    const bool avxvnni = avx2 && __builtin_cpu_supports("avxvnni");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vnni");
    const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
    if (bf16) return avxvnni ? "avx512bf16,avx512,avxvnni,avx2,plain" : "avx512bf16,avx512,avx2,plain";
    if (avx512) return avxvnni ? "avx512,avxvnni,avx2,plain" : "avx512,avx2,plain";
    return avxvnni ? "avxvnni,avx2,plain" : avx2 ? "avx2,plain" : "plain";
#elif defined(__aarch64__) && defined(__linux__)
    constexpr unsigned long HWCAP_DOT_PRODUCT = 1ul << 20;  // HWCAP_ASIMDDP of Linux
    return getauxval(AT_HWCAP) & HWCAP_DOT_PRODUCT ? "neon,plain" : "plain";
#elif defined(__aarch64__) && defined(__APPLE__)
    return "neon,plain";  // every Apple silicon has the dot product
#else
    return "plain";
#endif
}
