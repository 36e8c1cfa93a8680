// Tries the engine through its C interface alone, with the cases that test_driver.py writes to files: without Python it
// runs under sanitizers and emulators.
//
//     driver FILE...    0: all is well. 1: the first difference, as a line on standard error.
//
// Each file is tried in float32, and in one of the other precisions by turns: what these change, the products, does not
// depend on the options of a model.
//
// A file is words with white space between them:
//
//     the numbers of ZhuyiConfig, without the precision
//     the number of weights, and of each one: name, rows, columns, numbers
//     the number of jobs, and of each one: the numbers of ZhuyiDecoding, the number of sentences, and of each sentence:
//         length and tokens of the source, length and tokens of the prefix, limit, line,
//         the number of hypotheses that are expected in float32, and of each one: score, whether it is finished, length,
//         tokens, log-probabilities
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

extern "C" {
struct ZhuyiConfig {
    int32_t width, heads, key_value_heads, head_width, encoder_layers, decoder_layers, feed_forward;
    int32_t activation, positions, pre_norm, rms_norm;
    int32_t embedding_scale, embedding_norm, final_norm, max_length;
    int32_t source_vocabulary, target_vocabulary, precision;
    float norm_epsilon;
};
struct ZhuyiWeight {
    const char* name;
    const float* data;
    int64_t rows, columns;
};
struct ZhuyiDecoding {
    int32_t sampling, rows, n_best, top_k, no_repeat_ngram, max_repetition, min_length;
    int32_t every_token, power, stop, end_at_limit, no_unknown;
    float length_penalty, temperature, top_p;
    uint32_t seed;
};
struct ZhuyiRequest {
    const ZhuyiDecoding* decoding;
    int64_t count;
    const int32_t* tokens;
    const int64_t* first_token;
    const int32_t* prefixes;
    const int64_t* first_prefix;
    const int32_t* limits;
    const int64_t* lines;
    int64_t ticket;
};
struct Model;
struct Engine;
struct Job;
Model* zhuyi_model(const ZhuyiConfig*, const ZhuyiWeight*, int, char*);
void zhuyi_free_model(Model*);
Engine* zhuyi_engine(const Model* const*, int, int, char*);
void zhuyi_free_engine(Engine*);
Job* zhuyi_submit(Engine*, const ZhuyiRequest*, char*);
int zhuyi_wait(Engine*, Job*, int, char*);
int64_t zhuyi_next(Engine*, int);
void zhuyi_sizes(const Job*, int64_t*, int64_t*);
void zhuyi_read(const Job*, int32_t*, float*, uint8_t*, int32_t*, int32_t*, float*);
void zhuyi_free_job(Job*);
const char* zhuyi_cpu();
double zhuyi_check(int);
}

namespace {  // the engine has types of the same names

const char* const PRECISIONS[] = {"float32", "bf16", "int8"};
const double LARGEST_ERRORS[] = {1e-5, 0.01, 0.02};  // as zhuyi/engine/library.py has them
constexpr double TOLERANCE = 1e-4;                   // of scores and log-probabilities
constexpr int A_MINUTE = 60000;

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
    std::ostringstream line;
    (line << ... << parts);
    std::fprintf(stderr, "driver: %s\n", line.str().c_str());
    std::_Exit(1);
}

struct Hypothesis {
    float score = 0;
    bool finished = false;
    std::vector<int32_t> tokens;  // with EOS
    std::vector<float> log_probs;
};
typedef std::vector<Hypothesis> Found;

struct Sentence {
    std::vector<int32_t> source, prefix;
    int32_t limit = 0;
    int64_t line = 0;
    Found expected;
};

struct Task {
    ZhuyiDecoding decoding;
    std::vector<Sentence> sentences;
};

struct Weight {
    std::string name;
    int64_t rows, columns;
    std::vector<float> data;
};

struct Cases {
    std::string path;
    ZhuyiConfig config = {};
    std::vector<Weight> weights;
    std::vector<Task> tasks;

    explicit Cases(const char* path) : path(path) {
        std::ifstream file(path);
        const auto word = [&] {
            std::string next;
            if (!(file >> next)) fail(path, ": ends too early");
            return next;
        };
        const auto integer = [&] { return std::stoll(word()); };
        const auto number = [&] { return std::strtof(word().c_str(), nullptr); };
        const auto integers = [&](size_t count) {
            std::vector<int32_t> all(count);
            for (int32_t& each : all) each = (int32_t)integer();
            return all;
        };
        const auto numbers = [&](size_t count) {
            std::vector<float> all(count);
            for (float& each : all) each = number();
            return all;
        };
        for (int32_t* field = &config.width; field != &config.precision; field++) *field = (int32_t)integer();
        config.norm_epsilon = number();
        weights.resize(integer());
        for (Weight& weight : weights) {
            weight.name = word();
            weight.rows = integer();
            weight.columns = integer();
            weight.data = numbers(weight.rows * weight.columns);
        }
        tasks.resize(integer());
        for (Task& task : tasks) {
            ZhuyiDecoding& decoding = task.decoding;
            for (int32_t* field = &decoding.sampling; field <= &decoding.no_unknown; field++) *field = (int32_t)integer();
            decoding.length_penalty = number();
            decoding.temperature = number();
            decoding.top_p = number();
            decoding.seed = (uint32_t)integer();
            task.sentences.resize(integer());
            for (Sentence& sentence : task.sentences) {
                sentence.source = integers(integer());
                sentence.prefix = integers(integer());
                sentence.limit = (int32_t)integer();
                sentence.line = integer();
                sentence.expected.resize(integer());
                for (Hypothesis& hypothesis : sentence.expected) {
                    hypothesis.score = number();
                    hypothesis.finished = integer();
                    const size_t length = integer();
                    hypothesis.tokens = integers(length);
                    hypothesis.log_probs = numbers(length);
                }
            }
        }
    }
};

// Sentences that are submitted together.
struct Request {
    ZhuyiDecoding decoding;
    std::vector<int32_t> tokens, prefixes, limits;
    std::vector<int64_t> first_token = {0}, first_prefix = {0}, lines;

    explicit Request(const ZhuyiDecoding& decoding) : decoding(decoding) {}
    Request(const ZhuyiDecoding& decoding, const Sentence& sentence) : decoding(decoding) { add(sentence); }

    void add(const Sentence& sentence) {
        tokens.insert(tokens.end(), sentence.source.begin(), sentence.source.end());
        first_token.push_back((int64_t)tokens.size());
        prefixes.insert(prefixes.end(), sentence.prefix.begin(), sentence.prefix.end());
        first_prefix.push_back((int64_t)prefixes.size());
        limits.push_back(sentence.limit);
        lines.push_back(sentence.line);
    }

    ZhuyiRequest with(int64_t ticket) const {
        return {&decoding,           (int64_t)limits.size(), tokens.data(), first_token.data(), prefixes.data(),
                first_prefix.data(), limits.data(),          lines.data(),  ticket};
    }
};

std::vector<Found> read(const Job* job, size_t sentences) {
    int64_t hypotheses, log_probs;
    zhuyi_sizes(job, &hypotheses, &log_probs);
    std::vector<int32_t> counts(sentences), lengths(hypotheses), tokens(log_probs);
    std::vector<float> scores(hypotheses), all(log_probs);
    std::vector<uint8_t> finished(hypotheses);
    zhuyi_read(job, counts.data(), scores.data(), finished.data(), lengths.data(), tokens.data(), all.data());
    std::vector<Found> found(sentences);
    size_t which = 0, at = 0;
    for (size_t i = 0; i < sentences; i++)
        for (int n = 0; n < counts[i]; n++, which++) {
            const size_t end = at + lengths[which];
            found[i].push_back({scores[which], finished[which] != 0,
                                {tokens.begin() + at, tokens.begin() + end},
                                {all.begin() + at, all.begin() + end}});
            at = end;
        }
    return found;
}

// What makes two results differ; nothing if they are alike, to the last bit if there is no tolerance.
std::string difference(const Found& a, const Found& b, double tolerance) {
    const auto differ = [=](float x, float y) {
        if (!std::memcmp(&x, &y, sizeof x)) return false;
        return !tolerance || !(std::fabs(x - y) <= tolerance);
    };
    std::ostringstream line;
    line.precision(9);
    if (a.size() != b.size()) line << a.size() << " hypotheses, not " << b.size();
    for (size_t n = 0; n < a.size() && line.str().empty(); n++) {
        const Hypothesis &x = a[n], &y = b[n];
        if (x.tokens != y.tokens || x.finished != y.finished) {
            line << "hypothesis " << n << ": tokens";
            for (int32_t token : x.tokens) line << ' ' << token;
            line << ", not";
            for (int32_t token : y.tokens) line << ' ' << token;
        } else if (differ(x.score, y.score)) {
            line << "hypothesis " << n << ": score " << x.score << ", not " << y.score;
        } else {
            for (size_t i = 0; i < x.log_probs.size(); i++)
                if (differ(x.log_probs[i], y.log_probs[i])) {
                    line << "hypothesis " << n << ", token " << i << ": " << x.log_probs[i] << ", not " << y.log_probs[i];
                    break;
                }
        }
    }
    return line.str();
}

// A model in a precision, with its cases and what each sentence becomes if nothing else is decoded beside it.
class Trial {
    const Cases& cases;
    const std::string name;
    const bool is_exact;  // in float32
    Model* model;
    std::vector<std::vector<Found>> alone;  // of each task, of each sentence

    // Workers, as long as a block goes on.
    class Workers {
        Engine* engine;

      public:
        Workers(const std::vector<const Model*>& models, int count) {
            char error[256] = "";
            engine = zhuyi_engine(models.data(), (int)models.size(), count, error);
            if (!engine) fail("no workers: ", error);
        }
        ~Workers() { zhuyi_free_engine(engine); }
        operator Engine*() const { return engine; }
    };

    Job* submit(Engine* engine, const Request& request, int64_t ticket = 0) const {
        char error[256] = "";
        const ZhuyiRequest numbers = request.with(ticket);
        Job* job = zhuyi_submit(engine, &numbers, error);
        if (!job) fail(name, ": a job is refused: ", error);
        return job;
    }

    void wait(Engine* engine, Job* job) const {
        char error[256] = "";
        const int state = zhuyi_wait(engine, job, A_MINUTE, error);
        if (state != 1) fail(name, ": a job is not done: ", state ? error : "nothing came in a minute");
    }

    void compare(size_t task, size_t sentence, const Found& found, const Found& wanted, double tolerance,
                 const char* how) const {
        const std::string line = difference(found, wanted, tolerance);
        if (!line.empty()) fail(name, ", job ", task, ", sentence ", sentence, ", ", how, ": ", line);
    }

    template <class Visit>
    void each_sentence(Visit visit) const {
        for (size_t task = 0; task < cases.tasks.size(); task++)
            for (size_t i = 0; i < cases.tasks[task].sentences.size(); i++) visit(task, i);
    }

    Request single(size_t task, size_t sentence) const {
        return {cases.tasks[task].decoding, cases.tasks[task].sentences[sentence]};
    }

  public:
    Trial(const Cases& cases, int precision)
        : cases(cases), name(cases.path + ", " + PRECISIONS[precision]), is_exact(!precision), alone(cases.tasks.size()) {
        ZhuyiConfig config = cases.config;
        config.precision = precision;
        std::vector<ZhuyiWeight> weights;
        for (const Weight& each : cases.weights)
            weights.push_back({each.name.c_str(), each.data.data(), each.rows, each.columns});
        char error[256] = "";
        model = zhuyi_model(&config, weights.data(), (int)weights.size(), error);
        if (!model) fail(name, ": the model is refused: ", error);
        const Workers engine({model}, 1);
        each_sentence([&](size_t task, size_t i) {
            Job* job = submit(engine, single(task, i));
            wait(engine, job);
            alone[task].push_back(read(job, 1)[0]);
            zhuyi_free_job(job);
            const Found& expected = cases.tasks[task].sentences[i].expected;
            if (is_exact) compare(task, i, alone[task][i], expected, TOLERANCE, "against torch");
        });
    }
    ~Trial() { zhuyi_free_model(model); }

    // An ensemble of the model with itself writes what the model does; in lower precisions, rounding decides too often.
    void in_ensemble() const {
        const Workers engine({model, model, model}, 2);
        for (size_t task = 0; task < cases.tasks.size(); task++) {
            Request request(cases.tasks[task].decoding);
            for (const Sentence& sentence : cases.tasks[task].sentences) request.add(sentence);
            Job* job = submit(engine, request);
            wait(engine, job);
            const std::vector<Found> found = read(job, alone[task].size());
            zhuyi_free_job(job);
            for (size_t i = 0; is_exact && i < found.size(); i++)
                compare(task, i, found[i], alone[task][i], TOLERANCE, "in an ensemble");
        }
    }

    // All jobs at once, forwards and backwards: other rows and slots, and beams side by side.
    void in_company(int workers) const {
        const Workers engine({model}, workers);
        std::vector<Job*> jobs;
        for (bool backwards : {false, true})
            for (const Task& task : cases.tasks) {
                Request request(task.decoding);
                std::vector<Sentence> sentences(task.sentences);
                if (backwards) std::reverse(sentences.begin(), sentences.end());
                for (const Sentence& sentence : sentences) request.add(sentence);
                jobs.push_back(submit(engine, request));
            }
        for (size_t j = 0; j < jobs.size(); j++) {
            const size_t task = j % cases.tasks.size(), count = cases.tasks[task].sentences.size();
            const bool backwards = j >= cases.tasks.size();
            wait(engine, jobs[j]);
            const std::vector<Found> found = read(jobs[j], count);
            zhuyi_free_job(jobs[j]);
            for (size_t i = 0; i < count; i++) {
                const size_t own = backwards ? count - 1 - i : i;
                compare(task, own, found[i], alone[task][own], 0, "in company");
            }
        }
    }

    // Two threads submit sentences in any order and cancel some, while another one takes those that are done.
    void announced(int workers) const {
        struct Pending {
            Job* job;
            size_t task, sentence;
        };
        const Workers engine({model}, workers);
        std::mutex mutex;
        std::map<int64_t, Pending> pending;  // by their tickets
        std::atomic<int> submitting = 2;
        std::thread taker([&] {
            while (true) {
                const bool last = !submitting;
                {
                    const std::lock_guard lock(mutex);
                    if (last && pending.empty()) return;
                }
                const int64_t ticket = zhuyi_next(engine, last ? A_MINUTE : 1);
                if (!ticket && last) fail(name, ": a job that is done is not announced");
                if (!ticket) continue;
                Pending own;
                {
                    const std::lock_guard lock(mutex);
                    const auto found = pending.find(ticket);
                    if (found == pending.end()) fail(name, ": what is announced is cancelled, or announced twice");
                    own = found->second;
                    pending.erase(found);
                }
                compare(own.task, own.sentence, read(own.job, 1)[0], alone[own.task][own.sentence], 0, "announced");
                zhuyi_free_job(own.job);
            }
        });
        const auto submitter = [&](int which) {
            std::mt19937 random(which);
            int64_t ticket = which;
            std::vector<std::pair<size_t, size_t>> order;
            each_sentence([&](size_t task, size_t i) { order.emplace_back(task, i); });
            std::shuffle(order.begin(), order.end(), random);
            for (const auto& [task, i] : order) {
                if (random() % 4 == 0) zhuyi_free_job(submit(engine, single(task, i)));
                const std::lock_guard lock(mutex);
                ticket += 2;
                pending[ticket] = {submit(engine, single(task, i), ticket), task, i};
            }
            submitting--;
        };
        std::thread first(submitter, 1), second(submitter, 2);
        first.join();
        second.join();
        taker.join();
    }

    // The engine ends while it is busy: jobs that are given up before it, and after it.
    void freed_while_busy(int workers) const {
        std::vector<Job*> jobs;
        {
            const Workers engine({model}, workers);
            for (int round = 0; round < 3; round++)
                for (const Task& task : cases.tasks) {
                    Request request(task.decoding);
                    for (const Sentence& sentence : task.sentences) request.add(sentence);
                    jobs.push_back(submit(engine, request, round));
                }
            for (size_t i = 0; i < jobs.size(); i += 2) zhuyi_free_job(std::exchange(jobs[i], nullptr));
        }
        for (Job* job : jobs)
            if (job) zhuyi_free_job(job);
    }

    // What is wrong in a request is said, and the request after it is decoded as ever.
    void refuse_requests() const {
        const Workers engine({model}, 1);
        const ZhuyiConfig& config = cases.config;
        Sentence usual = cases.tasks[0].sentences[0];
        usual.prefix = {4, 5};
        const Request good(cases.tasks[0].decoding, usual);
        const auto refused = [&](const char* what, const std::function<void(Request&)>& change, int64_t count = 1) {
            Request request(good);
            change(request);
            ZhuyiRequest numbers = request.with(0);
            numbers.count = count;
            char error[256] = "";
            if (zhuyi_submit(engine, &numbers, error)) fail(name, ": takes ", what);
            if (!*error) fail(name, ": refuses ", what, " without a message");
        };
        refused("a token of -1", [](Request& r) { r.tokens[0] = -1; });
        refused("a token beyond the vocabulary", [&](Request& r) { r.tokens.back() = config.source_vocabulary; });
        refused("a prefix of -1", [](Request& r) { r.prefixes[1] = -1; });
        refused("a prefix beyond the vocabulary", [&](Request& r) { r.prefixes[0] = config.target_vocabulary; });
        refused("an empty source", [](Request& r) { r.first_token[1] = 0; });
        refused("a source of negative length", [](Request& r) { r.first_token[1] = -1; });
        refused("a source beyond max_length", [&](Request& r) {
            r.tokens.assign(config.max_length + 1, 4);
            r.first_token[1] = config.max_length + 1;
        });
        refused("a source that does not begin at 0", [](Request& r) { r.first_token[0] = 1; });
        refused("a prefix of negative length", [](Request& r) { r.first_prefix[1] = -1; });
        refused("a prefix that does not begin at 0", [](Request& r) { r.first_prefix[0] = 1; });
        refused("a limit of 0", [](Request& r) { r.limits[0] = 0; });
        refused("a limit beyond max_length", [&](Request& r) { r.limits[0] = config.max_length + 1; });
        refused("no rows", [](Request& r) { r.decoding.rows = 0; });
        refused("a rule that there is not", [](Request& r) { r.decoding.stop = 4; });
        refused("no hypotheses", [](Request& r) { r.decoding.n_best = 0; });
        refused("more hypotheses than rows", [](Request& r) { r.decoding.n_best = r.decoding.rows + 1; });
        refused("-1 sentences", [](Request&) {}, -1);

        Job* job = submit(engine, single(0, 0));
        wait(engine, job);
        compare(0, 0, read(job, 1)[0], alone[0][0], 0, "after requests that were refused");
        zhuyi_free_job(job);

        job = submit(engine, Request(cases.tasks[0].decoding), 7);  // no sentences: done at once
        wait(engine, job);
        if (zhuyi_next(engine, A_MINUTE) != 7) fail(name, ": a job without sentences is not announced");
        read(job, 0);
        zhuyi_free_job(job);
    }
};

// A weight that is missing or has another shape is named; only a linear map may be without a bias.
void refuse_weights(const Cases& cases) {
    std::vector<ZhuyiWeight> weights;
    for (const Weight& each : cases.weights) weights.push_back({each.name.c_str(), each.data.data(), each.rows, each.columns});
    const auto refused = [&](const std::vector<ZhuyiWeight>& changed, const char* name, const char* what) {
        char error[256] = "";
        Model* model = zhuyi_model(&cases.config, changed.data(), (int)changed.size(), error);
        if (model) fail(cases.path, ": a model is made, although ", name, " ", what);
        if (!std::strstr(error, name)) fail(cases.path, ": ", name, " ", what, ", and the message is \"", error, '"');
    };
    for (size_t i = 0; i < weights.size(); i++) {
        const std::string name = weights[i].name;
        const bool optional = name.ends_with(".bias") && name.find("norm") == std::string::npos;
        std::vector<ZhuyiWeight> changed(weights);
        changed[i].rows++;
        refused(changed, name.c_str(), "has a row too many");
        changed[i] = weights[i];
        changed[i].columns--;
        refused(changed, name.c_str(), "has a column too few");
        changed.erase(changed.begin() + i);
        if (!optional) refused(changed, name.c_str(), "is missing");
    }
}

}  // namespace

int main(int count, char** arguments) {
    std::printf("this processor runs %s\n", zhuyi_cpu());  // and may use all of their registers from now on
    for (int precision = 0; precision < 3; precision++)
        if (const double error = zhuyi_check(precision); !(error <= LARGEST_ERRORS[precision]))
            fail("products in ", PRECISIONS[precision], " differ by ", error);
    for (int i = 1; i < count; i++) {
        const Cases cases(arguments[i]);
        refuse_weights(cases);
        for (int precision : {0, 1 + i % 2}) {
            const Trial trial(cases, precision);
            for (int workers : {1, 3}) trial.in_company(workers);
            trial.in_ensemble();
            trial.announced(2);
            trial.freed_while_busy(2);
            trial.refuse_requests();
        }
        std::printf("%s: %zu jobs as they should be\n", arguments[i], cases.tasks.size());
    }
}
