// Vectors of float32 and int32, as wide as the registers of the instruction set that this is compiled for.
//
// They are the vector extensions of Clang and GCC, on which +, *, < and ?: work element by element: almost everything
// else in this folder is written once, for all machines. What differs stands here: the width, the products that have
// instructions of their own (of bytes, and of pairs of bf16), sums and maxima over a register, and orders of elements.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
constexpr int LANES = 16;          // float32 in a register
constexpr int PANEL_VECTORS = 4;   // registers of a panel (see `Linear`): with 6 rows, 24 of 32 hold sums
#elif defined(__AVX2__)
constexpr int LANES = 8;
constexpr int PANEL_VECTORS = 2;   // 12 of 16
#elif defined(__ARM_NEON)
constexpr int LANES = 4;
constexpr int PANEL_VECTORS = 4;   // 24 of 32
#else
constexpr int LANES = 4;
constexpr int PANEL_VECTORS = 2;   // 12 of 16
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef int16_t Shorts __attribute__((vector_size(4 * LANES)));

inline Vector load(const float* from) {
    Vector vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

inline void store(float* to, Vector vector) { std::memcpy(to, &vector, sizeof vector); }

// A number in bf16: the upper half of a float32.
typedef uint16_t Bf16;
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

inline void store(Bf16* to, Vector vector) {  // to the nearest, ties to even; NaN stays NaN
    const Ints bits = (Ints)vector, rounded = bits + 0x7fff + ((bits >> 16) & 1);
    const Halves halves = __builtin_convertvector((vector == vector ? rounded : bits | 0x400000) >> 16, Halves);
    std::memcpy(to, &halves, sizeof halves);
}

inline Ints load_bits(const void* from) {
    Ints vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

inline Vector splat(float x) { return x - Vector{}; }
inline Ints splat_bits(int32_t x) { return x - Ints{}; }

// NaN of the second argument passes; that of the first does not.
inline Vector max(Vector a, Vector b) { return a > b ? a : b; }

inline Vector absolute(Vector x) { return (Vector)((Ints)x & 0x7fffffff); }

inline float sum(Vector x) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps(x);
#elif defined(__AVX2__)
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 pairs = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
#elif defined(__aarch64__)
    return vaddvq_f32((float32x4_t)x);
#else
    return (x[0] + x[2]) + (x[1] + x[3]);
#endif
}

inline float largest(Vector x) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps(x);
#elif defined(__AVX2__)
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 pairs = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(pairs, _mm_movehdup_ps(pairs)));
#elif defined(__aarch64__)
    return vmaxvq_f32((float32x4_t)x);
#else
    const float even = x[0] > x[2] ? x[0] : x[2], odd = x[1] > x[3] ? x[1] : x[3];
    return even > odd ? even : odd;
#endif
}

// 1 in each lane below `count`, 0 in the others.
inline Vector lanes_below(int count) {
    Vector lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = i < count;
    return lanes;
}

// The lanes where a > b, as bits.
inline uint32_t greater(Vector a, Vector b) {
#if defined(__AVX512F__)
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps(a > b);
#else
    const Ints wider = a > b;
    uint32_t bits = 0;
    for (int i = 0; i < LANES; i++) bits |= (uint32_t)(wider[i] & 1) << i;
    return bits;
#endif
}

// a0 + a1, a2 + a3, ..., b0 + b1, b2 + b3, ...
inline Vector sum_pairs(Vector a, Vector b) {
#if defined(__AVX512F__)
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return (Vector)_mm512_permutex2var_ps(a, even, b) +
           (Vector)_mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b);
#elif defined(__AVX2__)
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) + __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#endif
}

// The sums of LANES vectors, one in each lane.
inline Vector sum_each(const Vector* x) {
    Vector sums[LANES / 2];
    for (int i = 0; i < LANES / 2; i++) sums[i] = sum_pairs(x[2 * i], x[2 * i + 1]);
    for (int left = LANES / 4; left; left /= 2)
        for (int i = 0; i < left; i++) sums[i] = sum_pairs(sums[2 * i], sums[2 * i + 1]);
    return sums[0];
}

// even[0], odd[0], even[1], odd[1], ...
inline void store_pairs(float* to, Vector even, Vector odd) {
#if defined(__AVX512F__)
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    store(to, (Vector)_mm512_permutex2var_ps(even, low, odd));
    store(to + LANES, (Vector)_mm512_permutex2var_ps(even, _mm512_add_epi32(low, _mm512_set1_epi32(8)), odd));
#elif defined(__AVX2__)
    store(to, __builtin_shufflevector(even, odd, 0, 8, 1, 9, 2, 10, 3, 11));
    store(to + LANES, __builtin_shufflevector(even, odd, 4, 12, 5, 13, 6, 14, 7, 15));
#else
    store(to, __builtin_shufflevector(even, odd, 0, 4, 1, 5));
    store(to + LANES, __builtin_shufflevector(even, odd, 2, 6, 3, 7));
#endif
}

// Bytes of weights are signed. Bytes of activations are too, or have 128 added, as the instruction wants them.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int BYTE_OFFSET = 128;
#else
constexpr int BYTE_OFFSET = 0;
#endif

// sums + the four products of bytes in each lane. Both are at most 127, so two products fit into 16 bits.
inline Ints dot_bytes(Ints sums, Ints activations, Ints weights) {
#if defined(__AVX512VNNI__)
    return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)activations, (__m512i)weights);
#elif defined(__AVXVNNI__)
    return (Ints)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)activations, (__m256i)weights);
#elif defined(__AVX2__)
    const __m256i signed_weights = _mm256_sign_epi8((__m256i)weights, (__m256i)activations);
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)activations), signed_weights);
    return sums + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__ARM_FEATURE_DOTPROD)
    return (Ints)vdotq_s32((int32x4_t)sums, (int8x16_t)activations, (int8x16_t)weights);
#else
    const Shorts x = (Shorts)activations, w = (Shorts)weights;
    const Ints pairs = (Ints)(((x << 8) >> 8) * ((w << 8) >> 8) + (x >> 8) * (w >> 8));
    return sums + ((pairs << 16) >> 16) + (pairs >> 16);
#endif
}

// sums + the two products of bf16 in each lane.
inline Vector dot_bf16(Vector sums, Ints activations, Ints weights) {
#if defined(__AVX512BF16__)
    return (Vector)_mm512_dpbf16_ps(sums, (__m512bh)activations, (__m512bh)weights);
#else
    const Ints high = splat_bits((int32_t)0xffff0000);
    sums = (Vector)(activations << 16) * (Vector)(weights << 16) + sums;
    return (Vector)(activations & high) * (Vector)(weights & high) + sums;
#endif
}

// 1 / x to about 1e-7 of it. A division is slow: where there is an estimate, one step of Newton's method mends it.
inline Vector reciprocal(Vector x) {
#if defined(__AVX512F__)
    const Vector guess = _mm512_rcp14_ps(x);
    return guess * (2.0f - x * guess);
#elif defined(__AVX2__)
    const Vector guess = _mm256_rcp_ps(x);
    return guess * (2.0f - x * guess);
#else
    return 1.0f / x;
#endif
}

// 2^x to about 1e-7 of it; below -126 as if it were -126. x is less than 127. NaN gives NaN.
inline Vector power_of_two(Vector x) {
    // 2^x = 2^n 2^f with n = round(x). Adding 1.5 · 2^23 + 127 rounds, and leaves the exponent of 2^n in the last bits.
    constexpr float rounding = 0x1.8p23f + 127;
    x = -126.0f > x ? splat(-126.0f) : x;
    const Vector rounded = x + rounding;
    const Vector f = x - (rounded - rounding);
    // The polynomial whose largest error between -1/2 and 1/2 is least, except that 2^0 is 1.
    Vector p = f * 0x1.5c08e6p-10f + 0x1.3d0c54p-7f;
    p = p * f + 0x1.c6b6e4p-5f;
    p = p * f + 0x1.ebf918p-3f;
    p = p * f + 0x1.62e428p-1f;
    p = p * f + 1.0f;
    return p * (Vector)((Ints)rounded << 23);
}

constexpr float LOG2_E = 0x1.715476p+0f;

inline Vector exponential(Vector x) { return power_of_two(x * LOG2_E); }

// log x to about 1e-7, for normal numbers that are more than 0.
inline Vector logarithm(Vector x) {
    // x = 2^n f with f from √½ to √2, and log f = 2 artanh((f − 1) / (f + 1)).
    constexpr int32_t root_half = 0x3f3504f3;
    const Ints bits = (Ints)x - root_half, n = bits >> 23;
    const Vector f = (Vector)((bits & 0x7fffff) + root_half), z = (f - 1.0f) / (f + 1.0f), square = z * z;
    Vector p = square * (2.0f / 9) + 2.0f / 7;
    p = p * square + 2.0f / 5;
    p = p * square + 2.0f / 3;
    p = p * square + 2.0f;
    return p * z + __builtin_convertvector(n, Vector) * 0x1.62e43p-1f;
}
