// Which of the libraries this processor can run. Every library contains this file; `plain` is asked before any other is
// loaded.

#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

#if defined(__x86_64__)

namespace {

struct Registers {
    unsigned a, b, c, d;
};

/// What the instruction cpuid says: zeros where the processor is too old for the question.
Registers cpuid(unsigned leaf, unsigned part) {
    Registers found{};
    __get_cpuid_count(leaf, part, &found.a, &found.b, &found.c, &found.d);
    return found;
}

/// The registers that the operating system saves (XCR0), a bit a kind.
unsigned saved(Registers basic) {
    unsigned low = 0, high = 0;
    if (basic.c >> 27 & 1) __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

bool has(unsigned value, unsigned bits) { return (value & bits) == bits; }

/// Whether this process may use the tiles of AMX, which Linux allows to those that ask.
bool tiles_allowed() {
#if defined(__linux__)
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

}  // namespace

#endif

/// The names of those libraries, best first, with commas between them. Bits as in Intel's manual, volume 2A, CPUID.
static std::string runnable() {
#if defined(__x86_64__)
    const Registers basic = cpuid(1, 0), more = cpuid(7, 0), most = cpuid(7, 1);
    const unsigned state = saved(basic);
    const bool avx2 = has(state, 0x06) && has(basic.c, bit_FMA | bit_F16C | bit_AVX) && has(more.b, bit_AVX2);
    const bool avxvnni = avx2 && has(most.a, bit_AVXVNNI);
    const bool avx512 = avx2 && has(state, 0xe6) && has(more.c, bit_AVX512VNNI) &&
                        has(more.b, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
    const bool avx512bf16 = avx512 && has(most.a, bit_AVX512BF16);
    constexpr unsigned tile_int8_bf16 = 1u << 24 | 1u << 25 | 1u << 22;  // for which Clang has names, and GCC has none
    const bool amx = avx512bf16 && has(state, 0x60000) && has(more.d, tile_int8_bf16);
    std::string names;
    if (amx && tiles_allowed()) names += "amx,";
    if (avx512bf16) names += "avx512bf16,";
    if (avx512) names += "avx512,";
    if (avxvnni) names += "avxvnni,";
    if (avx2) names += "avx2,";
    return names + "plain";
#elif defined(__linux__)
    constexpr unsigned long dot_product = 1ul << 20;  // HWCAP_ASIMDDP
    return getauxval(AT_HWCAP) & dot_product ? "neon,plain" : "plain";
#else
    return "neon,plain";  // every Mac with an ARM processor has the dot product
#endif
}

EXPORT const char* zhuyi_cpu() {
    static const std::string names = runnable();  // made once, whichever threads ask first
    return names.c_str();
}
