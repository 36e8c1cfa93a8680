// Multiplications a second of one core, as JSON: what the instructions of a set can do if everything is in registers, and
// what `Linear` does with weights and rows in memory.
#include <chrono>
#include <cstdio>
#include <vector>

#include "kernels.h"

extern "C" const char* zhuyi_cpu();

#if defined(__x86_64__)
#define CHANGE(vector) __asm__ volatile("" : "+x"(vector))  // as far as the compiler knows
#else
#define CHANGE(vector) __asm__ volatile("" : "+w"(vector))
#endif

constexpr int SUMS = 12, STEPS = 20000, RUNS = 40;

// Billions of multiplications a second, in the fastest run.
template <class Work>
double rate(double multiplications, Work work) {
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
        const auto begun = std::chrono::steady_clock::now();
        work();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
        best = std::max(best, multiplications / seconds.count() / 1e9);
    }
    return best;
}

// Independent sums, each of which adds one product of registers after another.
template <class Sum, class Product>
double of_registers(int per_lane, Product product) {
    Sum sums[SUMS] = {};
    Ints x = splat_bits(0x3f003f00), w = splat_bits(0x3e013e01);
    const double found = rate((double)STEPS * SUMS * LANES * per_lane, [&] {
        for (int step = 0; step < STEPS; step++) {
            for (Sum& sum : sums) {
                sum = product(sum, x, w);
                CHANGE(w);
            }
            CHANGE(x);
        }
    });
    for (Sum& sum : sums) CHANGE(sum);
    return found;
}

double peak(Precision precision) {
#if defined(__AMX_TILE__)
    constexpr double PRODUCTS = 4.0 * STEPS * TILE_ROWS * LANES * TILE_GROUPS;
    if (precision == INT8)
        return rate(4 * PRODUCTS, [] {
            for (int step = 0; step < STEPS; step++)
                _tile_dpbusd(0, 4, 5), _tile_dpbusd(1, 4, 6), _tile_dpbusd(2, 4, 7), _tile_dpbusd(3, 5, 6);
        });
    if (precision == BF16)
        return rate(2 * PRODUCTS, [] {
            for (int step = 0; step < STEPS; step++)
                _tile_dpbf16ps(0, 4, 5), _tile_dpbf16ps(1, 4, 6), _tile_dpbf16ps(2, 4, 7), _tile_dpbf16ps(3, 5, 6);
        });
#endif
    if (precision == INT8) return of_registers<Ints>(4, [](Ints sum, Ints x, Ints w) { return dot_bytes(sum, x, w); });
    if (precision == BF16) return of_registers<Vector>(2, [](Vector sum, Ints x, Ints w) { return dot_bf16(sum, x, w); });
    return of_registers<Vector>(1, [](Vector sum, Ints x, Ints w) { return (Vector)x * (Vector)w + sum; });
}

double of_linear(Precision precision, int rows, int outputs, int inputs) {
    Linear linear(outputs, inputs, precision);
    const std::vector<float> row(inputs, 0.5f), x((size_t)rows * stride_of(inputs), 0.25f);
    for (int output = 0; output < outputs; output++) linear.set_row(output, row.data(), inputs, [](int i) { return i; });
    std::vector<float> y((size_t)rows * linear.stride);
    OperandBuffer buffer;
    const Operand operand = linear.prepare(x.data(), rows, stride_of(inputs), buffer);
    return rate((double)rows * outputs * inputs, [&] { linear.apply(operand, rows, y.data()); });
}

int main() {
    zhuyi_cpu();  // asks for the permission to use tiles
    const Tiles tiles;
    for (Precision precision : {FLOAT32, BF16, INT8}) {
        printf("%s%.1f", precision == FLOAT32 ? "[[" : ", [", peak(precision));
        for (const auto& [outputs, inputs] : {std::pair(10000, 128), std::pair(2048, 512), std::pair(512, 2048)})
            printf(", %.1f", of_linear(precision, 64, outputs, inputs));
        printf("]");
    }
    printf("]\n");
}
