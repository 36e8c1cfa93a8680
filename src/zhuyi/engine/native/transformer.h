// The encoder–decoder Transformer, as in `zhuyi/model/transformer.py`, and the decoder shape, as in `shapes.py`. The
// parts and their weights have the same names.
//
//     memory = encode(sources)          the hidden states of all source positions, of many sentences concatenated
//     start(memory, …)                  cross-attention's keys and values, once for each sentence
//     hidden = step(rows)               one more position of many rows; each row has a past and a position of its own
//     logits = projection(hidden)
//
// The decoder shape has no memory: the positions of a source are rows of one `step`, and the past of all that follows.
//
// Nothing is padded: a row is a token of some sentence, and only attention distinguishes the sentences.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"

enum Activation { RELU = 0, GELU = 1, SILU = 2, SWIGLU = 3, GEGLU = 4 };
enum Positions { NONE = 0, SINUSOIDAL = 1, TENSOR2TENSOR = 2, LEARNED = 3, ROTARY = 4, ALIBI = 5 };

extern "C" {
struct ZhuyiConfig {  // zhuyi.config.ModelConfig
    int32_t width, heads, key_value_heads, head_width;
    int32_t encoder_layers;  // 0: the decoder shape
    int32_t decoder_layers, feed_forward;
    int32_t activation, positions, pre_norm, rms_norm;
    int32_t embedding_scale, embedding_norm, final_norm, max_length;
    int32_t source_vocabulary, target_vocabulary, precision;
    float norm_epsilon;
};
struct ZhuyiWeight {
    const char* name;
    const float* data;
    int64_t rows, columns;  // 1 row, of vectors
};
}

inline bool has_encoder(const ZhuyiConfig& config) { return config.encoder_layers > 0; }

// Positions of a sequence: the decoder shape has a source and an output in one.
inline int positions_limit(const ZhuyiConfig& config) { return config.max_length * (has_encoder(config) ? 1 : 2); }

// The weights by name; each is asked for with the shape that it must have.
class Weights {
    const ZhuyiWeight* all;
    int count;
    mutable std::vector<char> known;

  public:
    Weights(const ZhuyiWeight* all, int count) : all(all), count(count), known(count) {}

    const float* find(const std::string& name, int64_t rows, int64_t columns) const {
        const float* data = find_if_any(name, rows, columns);
        if (!data) throw std::invalid_argument("tensor " + name + " is missing");
        return data;
    }

    const float* find_if_any(const std::string& name, int64_t rows, int64_t columns) const {
        for (int i = 0; i < count; i++)
            if (name == all[i].name) {
                if (all[i].rows != rows || all[i].columns != columns)
                    throw std::invalid_argument(
                        "tensor " + name + " has shape " + shape(all[i].rows, all[i].columns) + ", the model wants " +
                        shape(rows, columns));
                known[i] = true;
                return all[i].data;
            }
        return nullptr;
    }

    static std::string shape(int64_t rows, int64_t columns) {
        const std::string width = std::to_string(columns);
        return rows == 1 ? "(" + width + ",)" : "(" + std::to_string(rows) + ", " + width + ")";
    }

    void refuse_unknown() const {
        for (int i = 0; i < count; i++)
            if (!known[i]) throw std::invalid_argument(std::string("tensor ") + all[i].name + " is not one of this model");
    }
};

// A copy of vectors, `stride_of(width)` floats apart.
inline Buffer<float> with_stride(const float* vectors, int count, int width) {
    const int stride = stride_of(width);
    Buffer<float> table((size_t)count * stride);
    for (int i = 0; i < count; i++)
        std::memcpy(&table[(size_t)i * stride], vectors + (size_t)i * width, width * sizeof(float));
    return table;
}

// Adds the map `name` to `linear`, from its output `first` on. `output(i)` and `input(i)` are the places of output and
// input i of the map: there are gaps between heads.
template <class Output, class Input>
void add_map(Linear& linear, int first, const Weights& weights, const std::string& name, int outputs, int inputs,
             Output output, Input input) {
    const float* weight = weights.find(name + ".weight", outputs, inputs);
    const float* bias = weights.find_if_any(name + ".bias", 1, outputs);
    for (int i = 0; i < outputs; i++) {
        linear.set_row(first + output(i), weight + (size_t)i * inputs, inputs, input);
        if (bias) linear.set_bias(first + output(i), bias[i]);
    }
}

inline int unchanged(int i) { return i; }

inline Norm make_norm(const ZhuyiConfig& config, const Weights& weights, const std::string& name) {
    Norm norm;
    norm.rms = config.rms_norm;
    norm.width = config.width;
    norm.epsilon = config.norm_epsilon;
    norm.weight = with_stride(weights.find(name + ".weight", 1, config.width), 1, config.width);
    if (!norm.rms) norm.bias = with_stride(weights.find(name + ".bias", 1, config.width), 1, config.width);
    return norm;
}

// The buffers in which a thread computes.
struct Workspace {
    OperandBuffer operand;
    Buffer<float> x, normed, inner, context, scores;
    Buffer<uint8_t> query;
};

// How order enters: zhuyi/model/positions.py.
class PositionalEncoding {
    Positions kind;
    int width, half;
    Buffer<float> table;         // added: [position][width]
    Buffer<float> cosine, sine;  // rotary: [position][half of a head]
    std::vector<float> head_slopes;

    static double wavelength(int m, int width) { return std::pow(10000.0, (double)m / width); }

  public:
    PositionalEncoding(const ZhuyiConfig& config, const Weights& weights, const std::string& name)
        : kind((Positions)config.positions), width(config.width), half(config.head_width / 2) {
        const int stride = stride_of(width), limit = positions_limit(config);
        if (kind == LEARNED) table = with_stride(weights.find(name + ".table", limit, width), limit, width);
        if (kind == SINUSOIDAL || kind == TENSOR2TENSOR) {
            table.at_least((size_t)limit * stride);
            const int period = kind == SINUSOIDAL ? width : std::max((width + 1) / 2 * 2 - 2, 1);
            for (int position = 0; position < limit; position++)
                for (int i = 0; i < width; i++) {
                    const double angle = position / wavelength(i / 2 * 2, period);
                    table[(size_t)position * stride + i] = (float)(i % 2 ? std::cos(angle) : std::sin(angle));
                }
        }
        if (kind == ROTARY) {
            cosine.at_least((size_t)limit * half);
            sine.at_least((size_t)limit * half);
            for (int position = 0; position < limit; position++)
                for (int i = 0; i < half; i++) {
                    const double angle = position / wavelength(2 * i, 2 * half);
                    cosine[(size_t)position * half + i] = (float)std::cos(angle);
                    sine[(size_t)position * half + i] = (float)std::sin(angle);
                }
        }
        if (kind == ALIBI)
            for (int head = 1; head <= config.heads; head++)
                head_slopes.push_back((float)std::pow(2.0, -8.0 * head / config.heads));
    }

    const float* slopes() const { return kind == ALIBI ? head_slopes.data() : nullptr; }

    void add(float* x, int position) const {
        if (kind != SINUSOIDAL && kind != TENSOR2TENSOR && kind != LEARNED) return;
        const float* row = table.data() + (size_t)position * stride_of(width);
        for (int i = 0; i < width; i++) x[i] += row[i];
    }

    // Queries or keys, `heads` of them: (left, right) = (left cos - right sin, right cos + left sin).
    void rotate(float* vectors, int heads, int head_stride, int position) const {
        if (kind != ROTARY) return;
        const float *cos = cosine.data() + (size_t)position * half, *sin = sine.data() + (size_t)position * half;
        for (int head = 0; head < heads; head++, vectors += head_stride)
            for (int i = 0; i < half; i++) {
                const float left = vectors[i], right = vectors[half + i];
                vectors[i] = left * cos[i] - right * sin[i];
                vectors[half + i] = right * cos[i] + left * sin[i];
            }
    }
};

// W_q, W_k, W_v and W_o: zhuyi/model/attention.py. Maps of the same input are one, and each head begins at a register.
struct Attention {
    HeadShape shape;
    int groups;           // heads of keys and values
    Linear maps, output;  // of self-attention: query, key, value; of cross-attention: query
    Linear memory_maps;   // of cross-attention: key, value

    Attention(const ZhuyiConfig& config, const Weights& weights, const std::string& name, bool cross)
        : groups(config.key_value_heads) {
        const int width = config.width, head = config.head_width, precision = config.precision;
        shape = {config.heads, config.heads / groups, head, rounded_up(head, precision == FLOAT32 ? LANES : 2 * LANES)};
        const auto place = [=, stride = shape.stride](int i) { return i / head * stride + i % head; };
        const int keys = groups * shape.stride;
        maps = Linear(query_width() + (cross ? 0 : 2 * keys), width, (Precision)precision);
        add_map(maps, 0, weights, name + ".query", shape.heads * head, width, place, unchanged);
        if (cross) memory_maps = Linear(2 * keys, width, (Precision)precision);
        Linear& of_keys = cross ? memory_maps : maps;
        const int first = cross ? 0 : query_width();
        add_map(of_keys, first, weights, name + ".key", groups * head, width, place, unchanged);
        add_map(of_keys, first + keys, weights, name + ".value", groups * head, width, place, unchanged);
        output = Linear(width, query_width(), (Precision)precision);
        add_map(output, 0, weights, name + ".output", width, shape.heads * head, unchanged, place);
    }

    int query_width() const { return shape.heads * shape.stride; }
    int key_width() const { return groups * shape.stride; }
};

// outer(activation(inner(x))), or outer(activation(gate(x)) · inner(x)): zhuyi/model/blocks.py.
struct FeedForward {
    Activation activation;
    int width;            // of the inner vector, in whole registers
    Linear inner, outer;  // after `inner`, the gate, if there is one

    FeedForward(const ZhuyiConfig& config, const Weights& weights, const std::string& name)
        : activation((Activation)config.activation), width(stride_of(config.feed_forward)) {
        const bool gated = activation == SWIGLU || activation == GEGLU;
        inner = Linear(gated ? 2 * width : width, config.width, (Precision)config.precision);
        add_map(inner, 0, weights, name + ".inner", config.feed_forward, config.width, unchanged, unchanged);
        if (gated)
            add_map(inner, width, weights, name + ".gate", config.feed_forward, config.width, unchanged, unchanged);
        outer = Linear(config.width, config.feed_forward, (Precision)config.precision);
        add_map(outer, 0, weights, name + ".outer", config.width, config.feed_forward, unchanged, unchanged);
    }

    // x += outer(…) of the rows `input`.
    void add(const float* input, float* x, int rows, int stride, Workspace& work) const {
        float* y = work.inner.at_least((size_t)rows * inner.stride);
        inner.apply(inner.prepare(input, rows, stride, work.operand), rows, y);
        for (int row = 0; row < rows; row++) {
            // The results are `width` apart and never overwrite what is still to be read.
            const float* from = y + (size_t)row * inner.stride;
            float* to = y + (size_t)row * width;
            for (int i = 0; i < width; i += LANES) {
                const Vector value = load(from + i);
                switch (activation) {
                    case RELU: store(to + i, relu(value)); break;
                    case GELU: store(to + i, gelu(value)); break;
                    case SILU: store(to + i, silu(value)); break;
                    case SWIGLU: store(to + i, silu(load(from + width + i)) * value); break;
                    case GEGLU: store(to + i, gelu_by_tanh(load(from + width + i)) * value); break;
                }
            }
        }
        outer.add(outer.prepare(y, rows, width, work.operand), rows, x);
    }
};

// Pre-norm: x += sublayer(norm(x)). Post-norm: x = norm(x + sublayer(x)).
struct Residual {
    bool pre_norm;
    Norm norm;

    Residual(const ZhuyiConfig& config, const Weights& weights, const std::string& name)
        : pre_norm(config.pre_norm), norm(make_norm(config, weights, name + ".norm")) {}

    const float* before(const float* x, int rows, int stride, Workspace& work) const {
        if (!pre_norm) return x;
        float* normed = work.normed.at_least((size_t)rows * stride);
        norm.apply(x, normed, rows, stride);
        return normed;
    }
    void after(float* x, int rows, int stride) const {
        if (!pre_norm) norm.apply(x, x, rows, stride);
    }
};

struct Block {
    Attention mixer;
    std::unique_ptr<Attention> cross;
    FeedForward feed_forward;
    Residual mixer_residual;
    std::unique_ptr<Residual> cross_residual;
    Residual feed_forward_residual;

    Block(const ZhuyiConfig& config, const Weights& weights, const std::string& name, bool has_cross)
        : mixer(config, weights, name + ".mixer", false),
          feed_forward(config, weights, name + ".feed_forward"),
          mixer_residual(config, weights, name + ".mixer_residual"),
          feed_forward_residual(config, weights, name + ".feed_forward_residual") {
        if (!has_cross) return;
        cross = std::make_unique<Attention>(config, weights, name + ".cross", true);
        cross_residual = std::make_unique<Residual>(config, weights, name + ".cross_residual");
    }
};

struct Stack {
    int width, stride;
    float scale;
    Buffer<float> embedding;  // [token][width]
    PositionalEncoding positions;
    std::unique_ptr<Norm> embedding_norm;
    std::vector<Block> blocks;
    std::unique_ptr<Norm> norm;

    Stack(const ZhuyiConfig& config, const Weights& weights, const std::string& name, int vocabulary, int layers,
          bool cross)
        : width(config.width),
          stride(stride_of(config.width)),
          scale(config.embedding_scale ? std::sqrt((float)config.width) : 1.0f),
          positions(config, weights, name + ".positions") {
        embedding = with_stride(weights.find(name + ".embedding.weight", vocabulary, width), vocabulary, width);
        for (int n = 0; n < layers; n++)
            blocks.emplace_back(config, weights, name + ".blocks." + std::to_string(n), cross);
        if (config.embedding_norm)
            embedding_norm = std::make_unique<Norm>(make_norm(config, weights, name + ".embedding_norm"));
        if (config.final_norm) norm = std::make_unique<Norm>(make_norm(config, weights, name + ".norm"));
    }

    void embed(int token, int position, float* x) const {
        const float* vector = embedding.data() + (size_t)token * stride;
        for (int i = 0; i < stride; i++) x[i] = vector[i] * scale;
        positions.add(x, position);
        if (embedding_norm) embedding_norm->apply(x, x, 1, stride);
    }
};

// Keys and values of a layer, [place][width of keys] each: in bf16 unless the model is in float32, since a step reads
// little else.
struct KeysAndValues {
    Buffer<uint8_t> keys, values;
};

// The source of a sentence, for cross-attention. A place is a position.
struct Memory {
    int length = 0;
    std::vector<KeysAndValues> layers;
};

// The target of a sentence so far, and in the decoder shape, its source. Every row of every step has a place of its
// own, which is never moved: a row that continues another one reads the places of that one.
struct Past {
    std::vector<KeysAndValues> layers;

    // Makes space for `places` of `bytes` each in every layer; the first `filled` are kept.
    void at_least(size_t places, size_t filled, size_t bytes) {
        for (KeysAndValues& layer : layers)
            for (Buffer<uint8_t>* each : {&layer.keys, &layer.values}) each->at_least(places * bytes, filled * bytes);
    }
};

// Stores a vector, whose width is a multiple of a register's, in the type of a cache.
inline void store_row(const float* x, int width, float* to) { std::memcpy(to, x, width * sizeof(float)); }
inline void store_row(const float* x, int width, Bf16* to) {
    for (int i = 0; i < width; i += LANES) store(to + i, load(x + i));
}

// One row of a step.
struct Row {
    int token, position;
    Past* past;            // of the first member of an ensemble, followed by those of the others
    const int* places;     // of the positions 0 … position; the row's own key and value are written to the last one
    const Memory* memory;  // of the encoder–decoder; for an ensemble, as `past`
};

struct Source {
    const int32_t* tokens;
    int length;
};

struct Transformer {
    ZhuyiConfig config;
    std::unique_ptr<Stack> encoder;  // the decoder shape has none
    Stack decoder;
    Linear projection;

    Transformer(const ZhuyiConfig& config, const Weights& weights)
        : config(config),
          encoder(has_encoder(config) ? std::make_unique<Stack>(config, weights, "encoder", config.source_vocabulary,
                                                                config.encoder_layers, false)
                                      : nullptr),
          decoder(config, weights, "decoder", config.target_vocabulary, config.decoder_layers, has_encoder(config)),
          projection(config.target_vocabulary, config.width, (Precision)config.precision) {
        add_map(projection, 0, weights, "projection", config.target_vocabulary, config.width, unchanged, unchanged);
        weights.refuse_unknown();
        // The last panel may have outputs that are not tokens.
        for (int i = config.target_vocabulary; i < projection.width(); i++) projection.set_bias(i, -INFINITY);
    }

    // The memory of sentences, concatenated: a row for each of their positions.
    const float* encode(const std::vector<Source>& sources, Workspace& work) const {
        const Stack& stack = *encoder;
        const int stride = stack.stride;
        int rows = 0, longest = 0;
        for (const Source& source : sources) rows += source.length, longest = std::max(longest, source.length);
        float* x = work.x.at_least((size_t)rows * stride);
        float* row = x;
        for (const Source& source : sources)
            for (int position = 0; position < source.length; position++, row += stride)
                stack.embed(source.tokens[position], position, row);
        for (const Block& block : stack.blocks) {
            attend_to_itself(block, sources, x, rows, longest, work);
            feed_forward(block, x, rows, work);
        }
        return finish(stack, x, rows, work);
    }

    // Bytes of a key or value in a cache.
    int key_bytes() const {
        return decoder.blocks[0].mixer.key_width() * (config.precision == FLOAT32 ? sizeof(float) : sizeof(Bf16));
    }

    // The keys and values of sentences whose memory is the rows at `hidden`, concatenated.
    void start(const float* hidden, const std::vector<Memory*>& memories, Workspace& work) const {
        config.precision == FLOAT32 ? start<float>(hidden, memories, work) : start<Bf16>(hidden, memories, work);
    }

    // The hidden states of one more position of each row. Adjacent rows may be consecutive positions of one sequence:
    // each attends to those before it.
    const float* step(const std::vector<Row>& rows, Workspace& work) const {
        return config.precision == FLOAT32 ? step<float>(rows, work) : step<Bf16>(rows, work);
    }

  private:
    template <class Number>
    void start(const float* hidden, const std::vector<Memory*>& memories, Workspace& work) const {
        int rows = 0;
        for (const Memory* memory : memories) rows += memory->length;
        const Operand operand = projection.prepare(hidden, rows, decoder.stride, work.operand);
        for (size_t layer = 0; layer < decoder.blocks.size(); layer++) {
            const Attention& cross = *decoder.blocks[layer].cross;
            const int width = cross.key_width();
            float* both = work.inner.at_least((size_t)rows * cross.memory_maps.stride);
            cross.memory_maps.apply(operand, rows, both);
            for (Memory* memory : memories) {
                memory->layers.resize(decoder.blocks.size());
                KeysAndValues& cache = memory->layers[layer];
                Number* keys = (Number*)cache.keys.at_least((size_t)memory->length * key_bytes());
                Number* values = (Number*)cache.values.at_least((size_t)memory->length * key_bytes());
                for (int t = 0; t < memory->length; t++, both += cross.memory_maps.stride) {
                    store_row(both, width, keys + (size_t)t * width);
                    store_row(both + width, width, values + (size_t)t * width);
                }
            }
        }
    }

    template <class Number>
    const float* step(const std::vector<Row>& rows, Workspace& work) const {
        const Stack& stack = decoder;
        const int stride = stack.stride, count = (int)rows.size();
        float* x = work.x.at_least((size_t)count * stride);
        for (int r = 0; r < count; r++) stack.embed(rows[r].token, rows[r].position, x + (size_t)r * stride);
        for (size_t layer = 0; layer < stack.blocks.size(); layer++) {
            const Block& block = stack.blocks[layer];
            attend_to_past<Number>(block, layer, rows, x, work);
            if (block.cross) attend_to_memory<Number>(block, layer, rows, x, work);
            feed_forward(block, x, count, work);
        }
        return finish(stack, x, count, work);
    }

    void attend_to_itself(const Block& block, const std::vector<Source>& sources, float* x, int rows, int longest,
                          Workspace& work) const {
        const Attention& mixer = block.mixer;
        const PositionalEncoding& positions = encoder->positions;
        const int stride = encoder->stride, y_stride = mixer.maps.stride, context_stride = stride_of(mixer.query_width());
        const float* input = block.mixer_residual.before(x, rows, stride, work);
        float* y = work.inner.at_least((size_t)rows * y_stride);
        mixer.maps.apply(mixer.maps.prepare(input, rows, stride, work.operand), rows, y);
        float* context = work.context.at_least((size_t)rows * context_stride);
        float* scores = work.scores.at_least((size_t)mixer.shape.heads * rounded_up(longest, LANES));
        for (const Source& source : sources) {
            float* keys = y + mixer.query_width();
            for (int t = 0; t < source.length; t++) {
                positions.rotate(y + (size_t)t * y_stride, mixer.shape.heads, mixer.shape.stride, t);
                positions.rotate(keys + (size_t)t * y_stride, mixer.groups, mixer.shape.stride, t);
            }
            for (int t = 0; t < source.length; t++, context += context_stride)
                attend<float>(y + (size_t)t * y_stride, keys, keys + mixer.key_width(), source.length, mixer.shape,
                              positions.slopes(), t, scores, context, [=](int key) { return (size_t)key * y_stride; });
            y += (size_t)source.length * y_stride;
        }
        const Operand operand = mixer.output.prepare(work.context.data(), rows, context_stride, work.operand);
        mixer.output.add(operand, rows, x);
        block.mixer_residual.after(x, rows, stride);
    }

    template <class Number>
    void attend_to_past(const Block& block, size_t layer, const std::vector<Row>& rows, float* x,
                        Workspace& work) const {
        const Attention& mixer = block.mixer;
        const int stride = decoder.stride, count = (int)rows.size(), context_stride = stride_of(mixer.query_width());
        const size_t width = mixer.key_width();
        const float* input = block.mixer_residual.before(x, count, stride, work);
        float* y = work.inner.at_least((size_t)count * mixer.maps.stride);
        mixer.maps.apply(mixer.maps.prepare(input, count, stride, work.operand), count, y);
        float* context = work.context.at_least((size_t)count * context_stride);
        for (const Row& row : rows) {
            const int times = row.position + 1;
            float *key = y + mixer.query_width(), *value = key + width;
            decoder.positions.rotate(y, mixer.shape.heads, mixer.shape.stride, row.position);
            decoder.positions.rotate(key, mixer.groups, mixer.shape.stride, row.position);
            KeysAndValues& cache = row.past->layers[layer];
            Number *keys = (Number*)cache.keys.data(), *values = (Number*)cache.values.data();
            store_row(key, width, keys + row.places[row.position] * width);
            store_row(value, width, values + row.places[row.position] * width);
            Number* query = (Number*)work.query.at_least(mixer.query_width() * sizeof(Number));
            store_row(y, mixer.query_width(), query);
            float* scores = work.scores.at_least((size_t)mixer.shape.heads * rounded_up(times, LANES));
            attend<Number>(query, keys, values, times, mixer.shape, decoder.positions.slopes(), row.position, scores,
                           context, [=, places = row.places](int t) { return places[t] * width; });
            y += mixer.maps.stride;
            context += context_stride;
        }
        const Operand operand = mixer.output.prepare(work.context.data(), count, context_stride, work.operand);
        mixer.output.add(operand, count, x);
        block.mixer_residual.after(x, count, stride);
    }

    template <class Number>
    void attend_to_memory(const Block& block, size_t layer, const std::vector<Row>& rows, float* x,
                          Workspace& work) const {
        const Attention& cross = *block.cross;
        const int stride = decoder.stride, count = (int)rows.size(), context_stride = stride_of(cross.query_width());
        const size_t width = cross.key_width();
        const float* input = block.cross_residual->before(x, count, stride, work);
        float* queries = work.inner.at_least((size_t)count * cross.maps.stride);
        cross.maps.apply(cross.maps.prepare(input, count, stride, work.operand), count, queries);
        float* context = work.context.at_least((size_t)count * context_stride);
        for (const Row& row : rows) {
            const Memory& memory = *row.memory;
            float* scores = work.scores.at_least((size_t)cross.shape.heads * rounded_up(memory.length, LANES));
            const KeysAndValues& cache = memory.layers[layer];
            Number* query = (Number*)work.query.at_least(cross.query_width() * sizeof(Number));
            store_row(queries, cross.query_width(), query);
            attend<Number>(query, (const Number*)cache.keys.data(), (const Number*)cache.values.data(), memory.length,
                           cross.shape, nullptr, 0, scores, context, [=](int t) { return t * width; });
            queries += cross.maps.stride;
            context += context_stride;
        }
        const Operand operand = cross.output.prepare(work.context.data(), count, context_stride, work.operand);
        cross.output.add(operand, count, x);
        block.cross_residual->after(x, count, stride);
    }

    void feed_forward(const Block& block, float* x, int rows, Workspace& work) const {
        const int stride = decoder.stride;
        const float* input = block.feed_forward_residual.before(x, rows, stride, work);
        block.feed_forward.add(input, x, rows, stride, work);
        block.feed_forward_residual.after(x, rows, stride);
    }

    const float* finish(const Stack& stack, float* x, int rows, Workspace& work) const {
        if (!stack.norm) return x;
        float* normed = work.normed.at_least((size_t)rows * stack.stride);
        stack.norm->apply(x, normed, rows, stack.stride);
        return normed;
    }
};
