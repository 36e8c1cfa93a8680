// Kernels: the operations that take most of the time. Each works on rows: vectors of the model, `stride` floats apart
// in memory, with zeros between the width of a vector and the stride.
//
// The result of a row never depends on the rows beside it: its sums are taken in the same order alone and in a batch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#include "vectors.h"

enum Precision { FLOAT32 = 0, BF16 = 1, INT8 = 2 };

constexpr int PANEL = PANEL_VECTORS * LANES;

inline int rounded_up(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }

// Floats from one row to the next, for vectors of a width.
inline int stride_of(int width) { return rounded_up(width, PANEL > 16 ? PANEL : 16); }

// Memory that grows, is aligned to cache lines, and is initialised to zeros.
template <class T>
class Buffer {
    T* memory = nullptr;
    size_t count = 0;

    static T* allocate(size_t count) {
        void* memory = ::operator new(count * sizeof(T), std::align_val_t(64));
        std::memset(memory, 0, count * sizeof(T));
        return (T*)memory;
    }
    static void release(T* memory) { ::operator delete(memory, std::align_val_t(64)); }

  public:
    Buffer() = default;
    explicit Buffer(size_t wanted) { at_least(wanted); }
    Buffer(Buffer&& other) noexcept : memory(std::exchange(other.memory, nullptr)), count(std::exchange(other.count, 0)) {}
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(memory, other.memory);
        std::swap(count, other.count);
        return *this;
    }
    ~Buffer() { release(memory); }

    // Space for `wanted` elements. If it has to move, the first `kept` elements move along.
    T* at_least(size_t wanted, size_t kept = 0) {
        if (wanted > count) {
            T* larger = allocate(wanted + wanted / 4);
            if (kept) std::memcpy(larger, memory, kept * sizeof(T));
            release(memory);
            memory = larger;
            count = wanted + wanted / 4;
        }
        return memory;
    }
    T* data() { return memory; }
    const T* data() const { return memory; }
    T& operator[](size_t i) { return memory[i]; }
    const T& operator[](size_t i) const { return memory[i]; }
};

inline Bf16 to_bf16(float x) {  // as `store`
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return (Bf16)((x == x ? bits + 0x7fff + ((bits >> 16) & 1) : bits | 0x400000) >> 16);
}

#if defined(__AMX_TILE__)
constexpr int TILE_ROWS = 16, TILE_GROUPS = 16;  // of a tile: rows, and groups of four bytes in a row

// While one of these exists, its thread can use tiles: registers of 16 rows of 64 bytes.
class Tiles {
    struct alignas(64) Shape {
        uint8_t palette = 1, first_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };

  public:
    Tiles() {
        const Shape shape;
        _tile_loadconfig(&shape);
    }
    ~Tiles() { _tile_release(); }
};
#else
constexpr int TILE_ROWS = 1, TILE_GROUPS = 1;

struct Tiles {
    Tiles() {}
};
#endif

// Rows in the form that the products of a precision take: floats, bf16, or bytes with a scale for each row.
struct Operand {
    const uint8_t* rows;
    int row_bytes;
    const float* scales;
};

struct OperandBuffer {
    Buffer<uint8_t> rows;
    Buffer<float> scales;
};

inline Operand quantise_bytes(const float* x, int rows, int stride, OperandBuffer& buffer) {
    typedef uint8_t Bytes __attribute__((vector_size(LANES)));
    uint8_t* to = buffer.rows.at_least((size_t)rounded_up(rows, TILE_ROWS) * stride);
    float* scales = buffer.scales.at_least(rows);
    for (int row = 0; row < rows; row++, x += stride, to += stride) {
        // Of numbers that are not negative, the order is that of their bits; NaN is above all.
        Ints size = (Ints)splat(1e-12f);
        for (int i = 0; i < stride; i += LANES) {
            const Ints bits = (Ints)absolute(load(x + i));
            size = bits > size ? bits : size;
        }
        const float most = largest((Vector)size);
        scales[row] = most / 127 + sum((Vector)size) * 0.0f;  // a byte cannot be NaN or infinite: the scale is NaN then
        const Vector inverse = splat(127 / most);
        for (int i = 0; i < stride; i += LANES) {
            // Adding 1.5 · 2^23 rounds, and leaves the integer in the last bits.
            const Ints rounded = (Ints)(load(x + i) * inverse + 0x1.8p23f);
            const Bytes bytes = __builtin_convertvector(rounded + BYTE_OFFSET, Bytes);
            std::memcpy(to + i, &bytes, sizeof bytes);
        }
    }
    return {buffer.rows.data(), stride, scales};
}

inline Operand round_to_bf16(const float* x, int rows, int stride, OperandBuffer& buffer) {
    Bf16* to = (Bf16*)buffer.rows.at_least((size_t)rounded_up(rows, TILE_ROWS) * stride * sizeof(Bf16));
    for (size_t i = 0; i < (size_t)rows * stride; i += LANES) store(to + i, load(x + i));
    return {buffer.rows.data(), stride * (int)sizeof(Bf16), nullptr};
}

// y = W x + b, for rows x. W is kept in panels of PANEL outputs; within a panel, four bytes (one float, two bf16 or
// four int8) of the inputs of each of its outputs are adjacent: what a vector register multiplies at once.
class Linear {
    Precision precision = FLOAT32;
    int panels = 0, groups = 0;  // groups of four bytes of inputs
    Buffer<int32_t> weights;     // [panel][group][output of the panel]
    Buffer<float> scales;        // of int8: that of each output
    Buffer<float> bias;
    Buffer<int32_t> offsets;     // of int8: what BYTE_OFFSET adds to each sum, negated

  public:
    int outputs = 0;
    int stride = 0;  // of its output rows

    Linear() = default;
    Linear(int outputs, int inputs, Precision precision)
        : precision(precision), outputs(outputs), stride(stride_of(outputs)) {
        const int per_group = 1 << precision;
        panels = stride / PANEL;
        groups = rounded_up(rounded_up(inputs, per_group) / per_group, TILE_GROUPS);
        weights.at_least((size_t)panels * groups * PANEL);
        scales.at_least(stride);
        bias.at_least(stride);
        offsets.at_least(stride);
    }

    int width() const { return panels * PANEL; }
    int panel_count() const { return panels; }
    void set_bias(int output, float value) { bias[output] = value; }

    // Sets the weights of one output. `input(i)` is the input that weight i of the row multiplies.
    template <class Place>
    void set_row(int output, const float* row, int count, Place input) {
        const size_t first = (size_t)(output / PANEL) * groups * PANEL + output % PANEL;
        float most = 1e-12f;
        for (int i = 0; i < count; i++) most = std::max(most, std::fabs(row[i]));
        scales[output] = most / 127;
        int32_t total = 0;
        for (int i = 0; i < count; i++) {
            const int at = input(i), per_group = 1 << precision;
            uint8_t* four = (uint8_t*)&weights[first + (size_t)(at / per_group) * PANEL];
            if (precision == FLOAT32) {
                std::memcpy(four, &row[i], 4);
            } else if (precision == BF16) {
                const Bf16 half = to_bf16(row[i]);
                std::memcpy(four + 2 * (at % 2), &half, 2);
            } else {
                if (row[i] != row[i]) scales[output] = NAN;
                const int8_t byte = (int8_t)std::lrint(row[i] * (127 / most));
                std::memcpy(four + at % 4, &byte, 1);
                total += byte;
            }
        }
        offsets[output] = -BYTE_OFFSET * total;
    }

    // Converts the rows `x`, for any number of maps of this precision.
    Operand prepare(const float* x, int rows, int stride, OperandBuffer& buffer) const {
        if (precision == INT8) return quantise_bytes(x, rows, stride, buffer);
        if (precision == BF16) return round_to_bf16(x, rows, stride, buffer);
        return {(const uint8_t*)x, stride * 4, nullptr};
    }

    // y = W x + b, or y += W x + b: all outputs.
    void apply(const Operand& x, int rows, float* y) const { apply(x, rows, 0, panels, y, stride); }
    void add(const Operand& x, int rows, float* y) const { apply(x, rows, 0, panels, y, stride, true); }

    // The outputs of the panels from `first` to `last` - 1, which are stored at `y`, or added to what is there.
    void apply(const Operand& x, int rows, int first, int last, float* y, int y_stride, bool add = false) const {
        if (precision == INT8) return multiply<INT8>(x, rows, first, last, y, y_stride, add);
        if (precision == BF16) return multiply<BF16>(x, rows, first, last, y, y_stride, add);
        return multiply<FLOAT32>(x, rows, first, last, y, y_stride, add);
    }

  private:
    // Whether a product is computed in tiles. Sums of bytes are exact, so few rows may be computed by `tile`, which is
    // faster for them. Sums of bf16 are not, so any number of rows is computed in the same way.
    template <Precision P>
    static bool in_tiles(int rows) {
        return TILE_ROWS > 1 && (P == BF16 || (P == INT8 && rows > 2));
    }

    template <Precision P>
    void multiply(const Operand& x, int rows, int first, int last, float* y, int y_stride, bool add) const {
        // Few rows take several panels at once: an addition waits for the one before it, so enough independent sums must
        // be in flight.
        const int together = in_tiles<P>(rows) ? 1 : rows == 1 ? 4 : rows <= 3 ? 2 : 1;
        int panel = first;
        for (; panel + together <= last; panel += together, y += together * PANEL) {
            if (together == 1) one_panel<P>(x, rows, panel, y, y_stride, add);
            else if (rows == 1) tile<P, 1, 4>(x, 0, panel, y, y_stride, add);
            else if (rows == 2) tile<P, 2, 2>(x, 0, panel, y, y_stride, add);
            else tile<P, 3, 2>(x, 0, panel, y, y_stride, add);
        }
        for (; panel < last; panel++, y += PANEL) one_panel<P>(x, rows, panel, y, y_stride, add);
    }

#if defined(__AMX_TILE__)
    // 16 rows times a panel at a time.
    template <Precision P>
    void multiply_tiles(const Operand& x, int rows, int panel, float* y, int y_stride, bool add) const {
        alignas(64) int32_t results[TILE_ROWS][PANEL];
        const int32_t* w = weights.data() + (size_t)panel * groups * PANEL;
        for (int row = 0; row < rows; row += TILE_ROWS) {
            const uint8_t* inputs = x.rows + (size_t)row * x.row_bytes;
            _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
            for (int group = 0; group < groups; group += TILE_GROUPS) {
                const int32_t* columns = w + (size_t)group * PANEL;
                _tile_loadd(4, inputs + 4 * group, x.row_bytes);
                _tile_loadd(5, columns, 4 * PANEL);
                _tile_loadd(6, columns + LANES, 4 * PANEL);
                if constexpr (P == INT8) _tile_dpbusd(0, 4, 5), _tile_dpbusd(1, 4, 6);
                else _tile_dpbf16ps(0, 4, 5), _tile_dpbf16ps(1, 4, 6);
                _tile_loadd(5, columns + 2 * LANES, 4 * PANEL);
                _tile_loadd(6, columns + 3 * LANES, 4 * PANEL);
                if constexpr (P == INT8) _tile_dpbusd(2, 4, 5), _tile_dpbusd(3, 4, 6);
                else _tile_dpbf16ps(2, 4, 5), _tile_dpbf16ps(3, 4, 6);
            }
            _tile_stored(0, results[0], 4 * PANEL);
            _tile_stored(1, results[0] + LANES, 4 * PANEL);
            _tile_stored(2, results[0] + 2 * LANES, 4 * PANEL);
            _tile_stored(3, results[0] + 3 * LANES, 4 * PANEL);
            for (int r = 0; r < std::min(TILE_ROWS, rows - row); r++)
                for (int v = 0; v < PANEL_VECTORS; v++) {
                    const Ints result = load_bits(results[r] + v * LANES);
                    const int output = panel * PANEL + v * LANES;
                    float* to = y + (size_t)(row + r) * y_stride + v * LANES;
                    if constexpr (P == INT8) finish<P>(result + load_bits(&offsets[output]), x, row + r, output, to, add);
                    else finish<P>((Vector)result, x, row + r, output, to, add);
                }
        }
    }
#endif

    template <Precision P>
    void one_panel(const Operand& x, int rows, int panel, float* y, int y_stride, bool add) const {
#if defined(__AMX_TILE__)
        if (in_tiles<P>(rows)) return multiply_tiles<P == BF16 ? BF16 : INT8>(x, rows, panel, y, y_stride, add);
#endif
        int row = 0;
        for (; row + 6 <= rows; row += 6) tile<P, 6, 1>(x, row, panel, y, y_stride, add);
        switch (rows - row) {
            case 5: return tile<P, 5, 1>(x, row, panel, y, y_stride, add);
            case 4: return tile<P, 4, 1>(x, row, panel, y, y_stride, add);
            case 3: return tile<P, 3, 1>(x, row, panel, y, y_stride, add);
            case 2: return tile<P, 2, 1>(x, row, panel, y, y_stride, add);
            case 1: return tile<P, 1, 1>(x, row, panel, y, y_stride, add);
        }
    }

    // ROWS rows times PANELS panels: all sums stay in registers.
    template <Precision P, int ROWS, int PANELS>
    void tile(const Operand& x, int row, int panel, float* y, int y_stride, bool add) const {
        constexpr int VECTORS = PANELS * PANEL_VECTORS;
        const int32_t* w = weights.data() + (size_t)panel * groups * PANEL;
        const uint8_t* inputs = x.rows + (size_t)row * x.row_bytes;
        Vector sums[ROWS][VECTORS];
        Ints counts[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) {
                if constexpr (P == INT8) counts[r][v] = load_bits(&offsets[panel * PANEL + v * LANES]);
                else sums[r][v] = Vector{};
            }
        for (int group = 0; group < groups; group++, w += PANEL) {
            Ints columns[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                columns[v] = load_bits(w + (v / PANEL_VECTORS) * (size_t)groups * PANEL + (v % PANEL_VECTORS) * LANES);
            for (int r = 0; r < ROWS; r++) {
                int32_t four;
                std::memcpy(&four, inputs + (size_t)r * x.row_bytes + 4 * group, 4);
                const Ints input = splat_bits(four);
                for (int v = 0; v < VECTORS; v++) {
                    if constexpr (P == INT8) counts[r][v] = dot_bytes(counts[r][v], input, columns[v]);
                    else if constexpr (P == BF16) sums[r][v] = dot_bf16(sums[r][v], input, columns[v]);
                    else sums[r][v] = (Vector)input * (Vector)columns[v] + sums[r][v];
                }
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) {
                const int output = panel * PANEL + v * LANES;
                float* to = y + (size_t)(row + r) * y_stride + v * LANES;
                if constexpr (P == INT8) finish<P>(counts[r][v], x, row + r, output, to, add);
                else finish<P>(sums[r][v], x, row + r, output, to, add);
            }
    }

    template <Precision P, class Sum>
    void finish(Sum sum, const Operand& x, int row, int output, float* to, bool add) const {
        Vector result;
        if constexpr (P == INT8)
            result = __builtin_convertvector(sum, Vector) * (load(&scales[output]) * x.scales[row]) + load(&bias[output]);
        else
            result = sum + load(&bias[output]);
        store(to, add ? load(to) + result : result);
    }
};

// LayerNorm (Ba et al. 2016), or RMSNorm (Zhang & Sennrich 2019), which subtracts no mean.
struct Norm {
    bool rms = false;
    int width = 0;
    float epsilon = 0;
    Buffer<float> weight, bias;  // `bias` of LayerNorm only

    void apply(const float* x, float* y, int rows, int stride) const {
        for (int row = 0; row < rows; row++, x += stride, y += stride) rms ? rms_norm(x, y) : layer_norm(x, y);
    }

  private:
    void rms_norm(const float* x, float* y) const {
        Vector squares = {};
        for (int i = 0; i < width; i += LANES) squares = load(x + i) * load(x + i) + squares;
        const Vector scale = splat(1 / std::sqrt(sum(squares) / width + epsilon));
        for (int i = 0; i < width; i += LANES) store(y + i, load(x + i) * scale * load(&weight[i]));
    }

    void layer_norm(const float* x, float* y) const {
        Vector total = {}, squares = {};
        for (int i = 0; i < width; i += LANES) total = load(x + i) + total;
        const Vector mean = splat(sum(total) / width);
        int i = 0;
        for (; i + LANES <= width; i += LANES) squares = (load(x + i) - mean) * (load(x + i) - mean) + squares;
        if (i < width) {
            const Vector difference = (load(x + i) - mean) * lanes_below(width - i);
            squares = difference * difference + squares;
        }
        const Vector scale = splat(1 / std::sqrt(sum(squares) / width + epsilon));
        for (i = 0; i < width; i += LANES)
            store(y + i, (load(x + i) - mean) * scale * load(&weight[i]) + load(&bias[i]));
    }
};

inline Vector relu(Vector x) { return max(Vector{}, x); }

inline Vector silu(Vector x) { return x * reciprocal(1.0f + exponential(max(splat(-80.0f), x) * -1.0f)); }

// The approximation of `gelu` below: x (1 + tanh u) / 2 = x / (1 + e^-2u) with u = √(2/π) (x + 0.044715 x³).
inline Vector gelu_by_tanh(Vector x) {
    const Vector u = (x + 0.044715f * x * x * x) * 0.7978845608f;
    return x * reciprocal(1.0f + exponential(max(splat(-40.0f), u) * -2.0f));
}

// x times the probability that a standard normal number is below x, whose error function is that of Abramowitz & Stegun
// 1964, formula 7.1.26: to 1.5e-7.
inline Vector gelu(Vector x) {
    const Vector z = absolute(x) * 0x1.6a09e6p-1f, t = reciprocal(1.0f + 0.3275911f * z);
    Vector p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const Vector tail = 0.5f * p * t * exponential(-z * z);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

struct HeadShape {
    int heads = 0, per_group = 1;  // heads, and how many of them share keys and values
    int width = 0, stride = 0;     // of a head, and numbers from one head to the next
};

// The products of a query and KEYS keys, lane by lane: the sums of their lanes are the scores.
template <int KEYS>
void multiply_keys(const float* query, const float* const* keys, int width, Vector* products) {
    for (int k = 0; k < KEYS; k++) products[k] = Vector{};
    for (int i = 0; i < width; i += LANES) {
        const Vector q = load(query + i);
        for (int k = 0; k < KEYS; k++) products[k] = q * load(keys[k] + i) + products[k];
    }
}
template <int KEYS>
void multiply_keys(const Bf16* query, const Bf16* const* keys, int width, Vector* products) {
    for (int k = 0; k < KEYS; k++) products[k] = Vector{};
    for (int i = 0; i < width; i += 2 * LANES) {
        const Ints q = load_bits(query + i);
        for (int k = 0; k < KEYS; k++) products[k] = dot_bf16(products[k], q, load_bits(keys[k] + i));
    }
}

// The weighted sums of values, whose width is a multiple of a register's.
template <class Place>
void add_values(const float* values, const float* weights, int times, int width, float* to, Place place) {
    int i = 0;
    for (; i + 2 * LANES <= width; i += 2 * LANES) {  // two independent sums at once
        Vector left = {}, right = {};
        for (int t = 0; t < times; t++) {
            const float* value = values + place(t) + i;
            left = load(value) * weights[t] + left;
            right = load(value + LANES) * weights[t] + right;
        }
        store(to + i, left);
        store(to + i + LANES, right);
    }
    for (; i < width; i += LANES) {
        Vector total = {};
        for (int t = 0; t < times; t++) total = load(values + place(t) + i) * weights[t] + total;
        store(to + i, total);
    }
}
template <class Place>
void add_values(const Bf16* values, const float* weights, int times, int width, float* to, Place place) {
    for (int i = 0; i < width; i += 2 * LANES) {
        Vector even = {}, odd = {};
        for (int t = 0; t < times; t++) {
            const Ints pairs = load_bits(values + place(t) + i);
            even = (Vector)(pairs << 16) * weights[t] + even;
            odd = (Vector)(pairs & (int32_t)0xffff0000) * weights[t] + odd;
        }
        store_pairs(to + i, even, odd);
    }
}

// The softmax of `count` scores, in place. The row is padded to whole registers, where it gets zeros.
inline void softmax(float* row, int count) {
    const int padded = rounded_up(count, LANES);
    const Vector none = splat(-INFINITY), live = lanes_below(count - (padded - LANES));
    const Vector last = live > 0.0f ? load(row + padded - LANES) : none;
    Vector most = last;
    for (int t = 0; t + LANES < padded; t += LANES) most = max(load(row + t), most);
    const Vector shift = splat(largest(most) * -LOG2_E);
    const Vector last_weights = power_of_two(last * LOG2_E + shift) * live;
    Vector total = last_weights;
    for (int t = 0; t + LANES < padded; t += LANES) {
        const Vector weights = power_of_two(load(row + t) * LOG2_E + shift);
        store(row + t, weights);
        total = weights + total;
    }
    store(row + padded - LANES, last_weights);
    const float inverse = 1 / sum(total);
    for (int t = 0; t < padded; t += LANES) store(row + t, load(row + t) * inverse);
}

// softmax(q kᵀ / √d + bias) v for the heads of one query, over `times` keys and values. Query, keys and values are in
// float32 or in bf16; all else is in float32. Key t is at keys + place(t), value t at values + place(t). With slopes,
// the scores fall with the distance (Press et al. 2022).
template <class Number, class Place>
void attend(const Number* query, const Number* keys, const Number* values, int times, const HeadShape& shape,
            const float* slopes, int position, float* scores, float* context, Place place) {
    const float scale = 1 / std::sqrt((float)shape.width);
    const int padded = rounded_up(times, LANES), stride = shape.stride;
    constexpr int KEYS = 4;
    for (int first = 0; first < times; first += LANES) {
        const int here = std::min(LANES, times - first);
        for (int head = 0; head < shape.heads; head++) {
            const Number* k = keys + head / shape.per_group * stride;
            Vector products[LANES] = {};
            for (int t = 0; t < here; t += KEYS) {
                const Number* four[KEYS];  // after the last key, that one again: softmax leaves it out
                for (int i = 0; i < KEYS; i++) four[i] = k + place(first + std::min(t + i, here - 1));
                multiply_keys<KEYS>(query + head * stride, four, stride, products + t);
            }
            Vector row = sum_each(products) * scale;
            if (slopes)
                for (int t = 0; t < here; t++) row[t] -= slopes[head] * (float)std::abs(position - first - t);
            store(scores + head * padded + first, row);
        }
    }
    for (int head = 0; head < shape.heads; head++) {
        float* row = scores + head * padded;
        softmax(row, times);
        add_values(values + head / shape.per_group * stride, row, times, stride, context + head * stride, place);
    }
}
