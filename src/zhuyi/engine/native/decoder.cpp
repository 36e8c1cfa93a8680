// The loop: workers decode the sentences of a queue.
//
// A worker is a thread with slots, one for each sentence that it is decoding. Each of its steps computes all rows of
// all its slots together, whatever their own step, limit and beam. When a sentence is done, the next one of the queue
// takes its slot, so no sentence waits for another, and no worker for another worker.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "search.h"

#if defined(_WIN32)
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

constexpr int ROWS_A_STEP = 64;    // most rows of a step; a sentence that has more is decoded alone
constexpr int PANELS_AT_ONCE = 4;  // of logits: as many as `Linear` takes together for one row; they stay in the cache
constexpr int READ_AT_ONCE = 512;  // source tokens, approximately: their activations stay in the cache

// Sentences with the same settings.
struct Job {
    ZhuyiDecoding decoding;
    std::vector<int32_t> tokens, prefixes, limits;
    std::vector<int64_t> first_token, first_prefix, lines;  // of each sentence, and the end
    std::vector<int> order;                                 // longest first, so that the last ones are short
    size_t taken = 0, done = 0;                             // numbers of sentences
    int64_t ticket = 0;  // `zhuyi_next` returns it when the job is done; 0: never
    std::atomic<bool> cancelled = false;
    std::string error;
    std::vector<std::vector<Hypothesis>> found;
    std::condition_variable changed;

    size_t count() const { return limits.size(); }
    bool is_done() const { return done == count() || !error.empty() || cancelled; }
    Source source(int i) const { return {tokens.data() + first_token[i], (int)(first_token[i + 1] - first_token[i])}; }
};

struct Slot {
    std::shared_ptr<Job> job;
    int sentence = 0;
    Search search;
};

class Engine {
    const Models models;
    const size_t worker_count;
    std::mutex mutex;
    std::condition_variable waiting, announced;
    std::deque<std::shared_ptr<Job>> queue;          // jobs with sentences that have not been taken
    std::deque<std::shared_ptr<Job>> announcements;  // jobs with a ticket that are done
    bool stopping = false;
    std::vector<std::thread> workers;

  public:
    Engine(Models members, int threads) : models(std::move(members)), worker_count(threads) {
        try {
            for (int i = 0; i < threads; i++) workers.emplace_back([this] { work(); });
        } catch (...) {  // the system gives no more threads
            stop();
            throw;
        }
    }

    ~Engine() { stop(); }

    // The configuration of a model, with the length that all of them can read.
    ZhuyiConfig config() const {
        ZhuyiConfig all = models[0]->config;
        for (const Transformer* model : models) all.max_length = std::min(all.max_length, model->config.max_length);
        return all;
    }

    // Ends the workers, once they have decoded the sentences that they have begun.
    void stop() {
        {
            std::lock_guard lock(mutex);
            stopping = true;
        }
        waiting.notify_all();
        for (std::thread& worker : workers) worker.join();
    }

    void submit(std::shared_ptr<Job> job) {
        {
            std::lock_guard lock(mutex);
            if (job->is_done()) announce(job);
            else queue.push_back(job);
        }
        job->count() == 1 ? waiting.notify_one() : waiting.notify_all();
    }

    // Whether the job is done, after waiting for it at most so long.
    bool wait(Job& job, int milliseconds) {
        std::unique_lock lock(mutex);
        return job.changed.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return job.is_done(); });
    }

    // A job with a ticket that is done; none, if there is none after so long.
    std::shared_ptr<Job> next(int milliseconds) {
        std::unique_lock lock(mutex);
        announced.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return !announcements.empty(); });
        if (announcements.empty()) return nullptr;
        std::shared_ptr<Job> job = announcements.front();
        announcements.pop_front();
        return job;
    }

  private:
    void announce(const std::shared_ptr<Job>& job) {
        job->changed.notify_all();
        if (!job->ticket) return;
        announcements.push_back(job);
        announced.notify_one();
    }

    // The next sentences for a worker that has `rows` rows free: its share of those that wait, one of each job in turn.
    // An idle worker waits until there are any, or until the engine stops.
    void take(std::vector<Slot*>& fresh, std::vector<std::unique_ptr<Slot>>& idle, int rows, bool is_idle) {
        std::unique_lock lock(mutex);
        const auto is_awake = [&] {
            std::erase_if(queue, [](const auto& job) { return job->is_done(); });  // cancelled, or failed
            return stopping || !queue.empty();
        };
        if (is_idle) waiting.wait(lock, is_awake);
        else is_awake();
        if (stopping) return;
        size_t left = 0;
        for (const auto& job : queue) left += job->count() - job->taken;
        for (size_t share = (left + worker_count - 1) / worker_count; share > 0 && !queue.empty(); share--) {
            const std::shared_ptr<Job> job = queue.front();
            if (job->decoding.rows > rows && !(is_idle && fresh.empty())) return;
            rows -= job->decoding.rows;
            if (idle.empty()) idle.push_back(std::make_unique<Slot>());
            fresh.push_back(idle.back().release());
            idle.pop_back();
            fresh.back()->job = job;
            fresh.back()->sentence = job->order[job->taken++];
            queue.pop_front();
            if (job->taken < job->count()) queue.push_back(job);
        }
    }

    void work() {
        const Tiles tiles;
        // One for each member: beyond the width of its rows, a buffer must stay zero, and widths may differ.
        std::vector<Workspace> workspaces(models.size());
        std::vector<std::unique_ptr<Slot>> active, idle;
        std::vector<Slot*> fresh;
        std::vector<Row> rows;
        std::vector<Distribution> distributions;
        Buffer<float> logits;
        while (true) {
            int used = 0;
            for (const auto& slot : active) used += slot->job->decoding.rows;
            fresh.clear();
            // New sources are read together, so the worker waits until a quarter of its rows are free.
            const int rows_free = ROWS_A_STEP - used;
            if (active.empty() || rows_free >= ROWS_A_STEP / 4) take(fresh, idle, rows_free, active.empty());
            const size_t begun = active.size();
            for (Slot* slot : fresh) active.emplace_back(slot);
            if (active.empty()) return;  // the engine stops
            try {
                begin(active, begun, workspaces);
                step(active, rows, distributions, logits, workspaces);
            } catch (const std::exception& problem) {
                for (auto& slot : active) {
                    fail(slot->job, problem.what());
                    slot->job.reset();
                    idle.push_back(std::move(slot));
                }
                active.clear();
                continue;
            }
            size_t kept = 0;
            for (auto& slot : active) {
                const bool ended = slot->search.is_done();
                if (ended) deliver(*slot);
                if (!ended && !slot->job->cancelled) {
                    std::swap(active[kept++], slot);
                } else {
                    slot->job.reset();
                    idle.push_back(std::move(slot));
                }
            }
            active.resize(kept);
        }
    }

    // Reads the sources of the slots from `first` on.
    void begin(std::vector<std::unique_ptr<Slot>>& slots, size_t first, std::vector<Workspace>& workspaces) {
        while (first < slots.size()) {
            std::vector<Source> sources;
            std::vector<Memory*> memories;
            std::vector<Row> rows;  // of the decoder shape
            const bool has_encoder = models[0]->encoder != nullptr;
            for (int tokens = 0; first < slots.size() && tokens < READ_AT_ONCE; first++) {
                Slot& slot = *slots[first];
                const Job& job = *slot.job;
                const int i = slot.sentence;
                sources.push_back(job.source(i));
                tokens += sources.back().length;
                const int64_t prefix = job.first_prefix[i];
                slot.search.begin(models, job.decoding, job.limits[i], job.lines[i],
                                  {job.prefixes.data() + prefix, (size_t)(job.first_prefix[i + 1] - prefix)});
                for (Memory& memory : slot.search.memory) memory.length = sources.back().length;
                memories.push_back(slot.search.memory.data());
                if (!has_encoder) slot.search.add_source(models, sources.back(), rows);
            }
            for (size_t m = 0; m < models.size(); m++) {
                if (has_encoder) models[m]->start(models[m]->encode(sources, workspaces[m]), memories, workspaces[m]);
                else if (!rows.empty()) models[m]->step(rows, workspaces[m]);
                for (Memory*& memory : memories) memory++;
                to_next_member(rows);
            }
        }
    }

    static void to_next_member(std::vector<Row>& rows) {
        for (Row& row : rows) row.past++, row.memory++;
    }

    // One step of all slots.
    void step(std::vector<std::unique_ptr<Slot>>& slots, std::vector<Row>& rows,
              std::vector<Distribution>& distributions, Buffer<float>& logits, std::vector<Workspace>& workspaces) {
        rows.clear();
        std::vector<char> every_token;
        for (auto& slot : slots) {
            slot->search.add_rows(models, rows, distributions);
            every_token.resize(rows.size(), slot->search.every_token());
        }
        if (models.size() == 1) {
            compute(*models[0], rows, every_token, distributions, logits, workspaces[0],
                    [&](int r, const float* block, int first, int width) { distributions[r].add(block, first, width); });
        } else {
            average(rows, every_token, distributions, logits, workspaces);
        }
        int first = 0;
        for (auto& slot : slots) {
            const int own = slot->search.row_count();
            slot->search.advance(&distributions[first]);
            first += own;
        }
    }

    // One step of an ensemble: the logits of a row are the logarithm of the mean of its members' probabilities.
    void average(std::vector<Row>& rows, const std::vector<char>& every_token, std::vector<Distribution>& distributions,
                 Buffer<float>& logits, std::vector<Workspace>& workspaces) {
        const int count = (int)rows.size(), members = (int)models.size(), width = models[0]->projection.width();
        std::vector<float> all((size_t)members * count * width), log_sums((size_t)members * count);
        for (int m = 0; m < members; m++) {
            std::vector<Distribution> own(count);
            for (Distribution& distribution : own) distribution.begin(0, 0);
            compute(*models[m], rows, every_token, distributions, logits, workspaces[m],
                    [&](int r, const float* block, int first, int block_width) {
                        own[r].add(block, first, block_width);
                        std::copy_n(block, block_width, &all[((size_t)m * count + r) * width + first]);
                    });
            for (int r = 0; r < count; r++) log_sums[(size_t)m * count + r] = own[r].log_sum();
            to_next_member(rows);
        }
        for (int r = 0; r < count; r++) {
            float* mean = &all[(size_t)r * width];  // in the place of the first member's logits
            for (int i = 0; i < width; i += LANES) {
                const auto log_prob = [&](int m) {
                    return load(&all[((size_t)m * count + r) * width + i]) - log_sums[(size_t)m * count + r];
                };
                Vector most = log_prob(0), sum = {};
                for (int m = 1; m < members; m++) most = max(most, log_prob(m));
                for (int m = 0; m < members; m++) sum = exponential(log_prob(m) - most) + sum;
                const Vector found = most + logarithm(sum * (1.0f / members));
                store(mean + i, most > splat(-INFINITY) ? found : most);  // a token that has no probability keeps −∞
            }
            distributions[r].add(mean, 0, width);
        }
    }

    // One step of one model: calls `add` with the logits of each row, some panels at a time.
    template <class Add>
    static void compute(const Transformer& model, const std::vector<Row>& rows, const std::vector<char>& every_token,
                        std::vector<Distribution>& distributions, Buffer<float>& logits, Workspace& workspace, Add add) {
        const int count = (int)rows.size(), stride = model.decoder.stride;
        const float* hidden = model.step(rows, workspace);
        for (int r = 0; r < count; r++) {
            // 0 · x is 0 unless x is NaN or infinite, which bytes cannot be.
            Vector zeros = {};
            for (int i = 0; i < stride; i += LANES) zeros = load(hidden + (size_t)r * stride + i) * 0.0f + zeros;
            distributions[r].failed |= sum(zeros) != 0;
        }
        const Linear& projection = model.projection;
        const Operand operand = projection.prepare(hidden, count, stride, workspace.operand);
        const int panels = projection.panel_count();
        float* blocks = logits.at_least((size_t)count * PANELS_AT_ONCE * PANEL);
        for (int panel = 0; panel < panels; panel += PANELS_AT_ONCE) {
            const int last = std::min(panel + PANELS_AT_ONCE, panels), width = (last - panel) * PANEL;
            projection.apply(operand, count, panel, last, blocks, width);
            for (int r = 0; r < count; r++) {
                float* block = blocks + (size_t)r * width;
                if (!panel && !every_token[r]) block[PAD] = block[BOS] = -INFINITY;
                add(r, block, panel * PANEL, width);
            }
        }
    }

    void deliver(Slot& slot) {
        std::vector<Hypothesis> hypotheses = slot.search.hypotheses();
        std::lock_guard lock(mutex);
        slot.job->found[slot.sentence] = std::move(hypotheses);
        if (++slot.job->done == slot.job->count()) announce(slot.job);
    }

    void fail(const std::shared_ptr<Job>& job, const char* problem) {
        std::lock_guard lock(mutex);
        if (job->is_done()) return;
        job->error = problem;
        announce(job);
    }
};

// What Python calls: see native.py and packed.py of zhuyi/engine. A function that may fail writes a line to `error`, of
// ERROR_SIZE bytes.

constexpr int ERROR_SIZE = 256;

static void explain(char* error, const char* problem) {
    size_t length = std::strlen(problem);
    if (length >= ERROR_SIZE)  // cut before a character of UTF-8, and not within one
        for (length = ERROR_SIZE - 1; length > 0 && (problem[length] & 0xc0) == 0x80;) length--;
    std::memcpy(error, problem, length);
    error[length] = 0;
}

EXPORT Transformer* zhuyi_model(const ZhuyiConfig* config, const ZhuyiWeight* weights, int count, char* error) {
    try {
        const ZhuyiConfig& c = *config;
        for (int size : {c.width, c.heads, c.key_value_heads, c.head_width, c.decoder_layers, c.feed_forward, c.max_length})
            if (size < 1) throw std::invalid_argument("a size of the model is less than 1");
        if (!has_encoder(c) && c.source_vocabulary != c.target_vocabulary)
            throw std::invalid_argument("the decoder shape has one vocabulary for source and output");
        if (c.heads % c.key_value_heads) throw std::invalid_argument("the heads do not share the keys and values evenly");
        return new Transformer(c, Weights(weights, count));
    } catch (const std::exception& problem) {
        explain(error, problem.what());
        return nullptr;
    }
}

EXPORT void zhuyi_free_model(Transformer* model) { delete model; }

EXPORT Engine* zhuyi_engine(const Transformer* const* models, int count, int workers, char* error) {
    try {
        if (workers < 1) throw std::invalid_argument("the number of workers is less than 1");
        for (int m = 1; m < count; m++)
            if (has_encoder(models[m]->config) != has_encoder(models[0]->config) ||
                models[m]->config.source_vocabulary != models[0]->config.source_vocabulary ||
                models[m]->config.target_vocabulary != models[0]->config.target_vocabulary)
                throw std::invalid_argument("the models differ in shape or vocabulary");
        return new Engine(Models(models, models + count), workers);
    } catch (const std::exception& problem) {
        explain(error, problem.what());
        return nullptr;
    }
}

EXPORT void zhuyi_free_engine(Engine* engine) { delete engine; }

extern "C" {
struct ZhuyiRequest {
    const ZhuyiDecoding* decoding;
    int64_t count;                         // of sentences
    const int32_t* tokens;                 // of all sources, EOS included
    const int64_t* first_token;            // count + 1: where each source begins, and the end
    const int32_t* prefixes;               // first tokens of the outputs
    const int64_t* first_prefix;           // count + 1
    const int32_t* limits;                 // most tokens of each output, EOS counted
    const int64_t* lines;                  // numbers, which samples depend on
    int64_t ticket;                        // what `zhuyi_next` returns when all are done; 0: nothing
};
}

// The job of a request. Throws std::invalid_argument, saying why, if the model cannot decode it.
static std::shared_ptr<Job> checked(const ZhuyiConfig& config, const ZhuyiRequest& request) {
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument(what);
    };
    auto job = std::make_shared<Job>();
    job->decoding = *request.decoding;
    const ZhuyiDecoding& how = job->decoding;
    require(how.rows >= 1 && how.n_best >= 1 && how.n_best <= how.rows, "n_best is less than 1, or more than the rows");
    require(how.stop >= BOUND && how.stop <= MARIAN, "there is no such rule for the end of a search");
    require(request.count >= 0 && request.first_token[0] == 0 && request.first_prefix[0] == 0, "a count is less than 0");
    for (int64_t i = 0; i < request.count; i++) {
        const int64_t length = request.first_token[i + 1] - request.first_token[i];
        require(length >= 1 && length <= config.max_length, "a source has no token, or more than the model reads");
        require(request.first_prefix[i + 1] >= request.first_prefix[i], "the length of a prefix is less than 0");
        require(request.limits[i] >= 1 && request.limits[i] <= config.max_length,
                "a limit is less than 1, or more than the model writes");
    }
    const int64_t tokens = request.first_token[request.count], prefixes = request.first_prefix[request.count];
    for (int64_t i = 0; i < tokens; i++)
        require(request.tokens[i] >= 0 && request.tokens[i] < config.source_vocabulary,
                "a token of a source is not in its vocabulary");
    for (int64_t i = 0; i < prefixes; i++)
        require(request.prefixes[i] >= 0 && request.prefixes[i] < config.target_vocabulary,
                "a token of a prefix is not in the vocabulary");
    job->tokens.assign(request.tokens, request.tokens + tokens);
    job->first_token.assign(request.first_token, request.first_token + request.count + 1);
    job->prefixes.assign(request.prefixes, request.prefixes + prefixes);
    job->first_prefix.assign(request.first_prefix, request.first_prefix + request.count + 1);
    job->limits.assign(request.limits, request.limits + request.count);
    job->lines.assign(request.lines, request.lines + request.count);
    job->ticket = request.ticket;
    job->found.resize(request.count);
    job->order.resize(request.count);
    std::iota(job->order.begin(), job->order.end(), 0);
    std::ranges::stable_sort(job->order, std::greater(), [&](int i) { return job->source(i).length; });
    return job;
}

typedef std::shared_ptr<Job> JobHandle;

EXPORT JobHandle* zhuyi_submit(Engine* engine, const ZhuyiRequest* request, char* error) {
    try {
        auto* handle = new JobHandle(checked(engine->config(), *request));
        engine->submit(*handle);
        return handle;
    } catch (const std::exception& problem) {
        explain(error, problem.what());
        return nullptr;
    }
}

// 1: done; 0: not yet, after so long; -1: it failed.
EXPORT int zhuyi_wait(Engine* engine, JobHandle* job, int milliseconds, char* error) {
    if (!engine->wait(**job, milliseconds)) return 0;
    explain(error, (*job)->error.c_str());
    return (*job)->error.empty() ? 1 : -1;
}

// The ticket of a job that is done, once for each job; 0, if there is none after so long.
EXPORT int64_t zhuyi_next(Engine* engine, int milliseconds) {
    const std::shared_ptr<Job> job = engine->next(milliseconds);
    return job ? job->ticket : 0;
}

// The number of hypotheses of a job that is done, and of all their log-probabilities.
EXPORT void zhuyi_sizes(const JobHandle* job, int64_t* hypotheses, int64_t* log_probs) {
    *hypotheses = *log_probs = 0;
    for (const auto& found : (*job)->found)
        for (const Hypothesis& hypothesis : found) ++*hypotheses, *log_probs += (int64_t)hypothesis.log_probs.size();
}

// For each sentence, the number of its hypotheses; for each of these, its score, whether it is finished and the number
// of its log-probabilities; and all log-probabilities, with their tokens, EOS included.
EXPORT void zhuyi_read(const JobHandle* job, int32_t* counts, float* scores, uint8_t* finished, int32_t* lengths,
                       int32_t* tokens, float* log_probs) {
    for (const auto& found : (*job)->found) {
        *counts++ = (int32_t)found.size();
        for (const Hypothesis& hypothesis : found) {
            *scores++ = hypothesis.score;
            *finished++ = hypothesis.finished;
            *lengths++ = (int32_t)hypothesis.log_probs.size();
            tokens = std::copy(hypothesis.tokens.begin(), hypothesis.tokens.end(), tokens);
            if (hypothesis.finished) *tokens++ = EOS;
            log_probs = std::copy(hypothesis.log_probs.begin(), hypothesis.log_probs.end(), log_probs);
        }
    }
}

// Frees the job, and cancels it if it is not done.
EXPORT void zhuyi_free_job(JobHandle* job) {
    (*job)->cancelled = true;
    delete job;
}

// The largest difference, as a share of the largest result, between a product in this precision and one in float64.
EXPORT double zhuyi_check(int precision) {
    const Tiles tiles;
    const int outputs = 150, inputs = 203, rows = 9, stride = stride_of(inputs);
    Linear linear(outputs, inputs, (Precision)precision);
    std::vector<float> weights((size_t)outputs * inputs), x((size_t)rows * stride);
    uint32_t state = 1;
    const auto random = [&] { return (float)((state = state * 1664525 + 1013904223) >> 8) / (1 << 23) - 1; };
    for (float& weight : weights) weight = random();
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < inputs; i++) x[(size_t)row * stride + i] = random();
    for (int output = 0; output < outputs; output++) {
        linear.set_row(output, &weights[(size_t)output * inputs], inputs, unchanged);
        linear.set_bias(output, (float)output);
    }
    std::vector<float> y((size_t)rows * linear.stride);
    OperandBuffer operand;
    linear.apply(linear.prepare(x.data(), rows, stride, operand), rows, y.data());
    double most = 0, difference = 0;
    for (int row = 0; row < rows; row++)
        for (int output = 0; output < outputs; output++) {
            double exact = 0;
            for (int i = 0; i < inputs; i++)
                exact += (double)weights[(size_t)output * inputs + i] * x[(size_t)row * stride + i];
            most = std::max(most, std::fabs(exact));
            difference = std::max(difference, std::fabs(exact + output - y[(size_t)row * linear.stride + output]));
        }
    return difference / most;
}
