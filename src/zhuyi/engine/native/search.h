// The search of one sentence, as in `zhuyi/decoding`. Greedy search is beam search with one candidate; sampling draws a
// token where these take the best.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "transformer.h"

constexpr int PAD = 0, UNK = 1, BOS = 2, EOS = 3, ROOT = -1;

extern "C" {
struct ZhuyiDecoding {  // zhuyi.config.DecodingConfig
    int32_t sampling, rows, n_best, top_k, no_repeat_ngram, max_repetition, min_length;
    int32_t every_token;  // PAD and BOS have a probability too, as in training's loss
    int32_t power, stop;  // whether the length penalty is a power of the length; one of `Stop`
    int32_t end_at_limit, no_unknown;
    float length_penalty, temperature, top_p;
    uint32_t seed;
};
}

// The rules of decoding.stop: see the classes in zhuyi/decoding/beam.py.
enum Stop { BOUND, HUGGING_FACE, HUGGING_FACE_EARLY, MARIAN };

struct Hypothesis {
    std::vector<int32_t> tokens;
    std::vector<float> log_probs;
    float score;
    bool finished;
};

// The sum of log-probabilities over ((5 + length) / 6)^α (Wu et al. 2016, eq. 14) or length^α.
inline float normalised(float sum, int length, const ZhuyiDecoding& decoding) {
    const double base = decoding.power ? length : (5.0 + length) / 6.0;
    return sum / (float)std::pow(base, (double)decoding.length_penalty);
}

// What the search needs of a row's next-token distribution: its best tokens, and log Σ e^logit; sampling needs all
// logits. The projection gives them in blocks, in the order of the tokens.
class Distribution {
    float threshold = INFINITY;  // a logit above it is among the best; ∞: none is wanted
    float shift = 0;             // of the exponents, so that no e^logit is too large
    Vector sums = {};
    int wanted = 0;
    std::vector<float> best_logits;  // ∞, then the best logits in whole registers: best first, −∞ where there is none
    std::vector<int32_t> best_tokens;

  public:
    bool failed = false;  // the row is NaN
    int forced = -1;      // the only token that may be chosen, if there is one
    std::vector<int> forbidden;
    std::vector<float> logits;

    void begin(int best_wanted, int all_wanted) {
        threshold = best_wanted ? -INFINITY : INFINITY;
        wanted = best_wanted;
        best_logits.assign(1 + rounded_up(std::max(wanted, 1), LANES), -INFINITY);
        best_logits[0] = INFINITY;
        best_tokens.resize(best_logits.size());
        sums = Vector{};
        failed = false;
        forced = -1;
        forbidden.clear();
        logits.resize(all_wanted);
    }

    void force(int token) {
        forced = token;
        threshold = INFINITY;
        wanted = std::min(wanted, 1);
    }

    // The best tokens and their logits, best first; −∞ where there is none.
    int best_count() const { return wanted; }
    int best_token(int i) const { return best_tokens[1 + i]; }
    float best_logit(int i) const { return best_logits[1 + i]; }

    // Adds a block of logits, of the tokens `first` … `first + count` - 1, in whole panels.
    void add(const float* block, int first, int count) {
        for (int i = 0; i < count; i += PANEL) {
            Vector logit[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) logit[v] = load(block + i + v * LANES);
            Vector most = logit[0];
            for (int v = 1; v < PANEL_VECTORS; v++) most = max(most, logit[v]);
            if (first + i == 0) shift = largest(most);
            // A logit far above all before it is among the best too, unless none is wanted: `shift` must follow it.
            if (greater(most, splat(std::min(threshold, shift + 40)))) add_best(block + i, most, first + i);
            const Vector exponent = splat(shift * -LOG2_E);
            for (int v = 0; v < PANEL_VECTORS; v++) sums = power_of_two(logit[v] * LOG2_E + exponent) + sums;
        }
        if (forced >= first && forced < first + count) best_logits[1] = block[forced - first], best_tokens[1] = forced;
        if (!logits.empty() && first < (int)logits.size())
            std::copy_n(block, std::min(count, (int)logits.size() - first), logits.begin() + first);
    }

    // log Σ e^logit; NaN if the row is.
    float log_sum() const { return failed ? NAN : shift + std::log(sum(sums)); }

  private:
    // Not inlined: it would take registers from the loop.
    __attribute__((noinline)) void add_best(const float* panel, Vector most, int first) {
        if (largest(most) > shift + 40) {
            sums = sums * std::exp(shift - largest(most));
            shift = largest(most);
        }
        for (int v = 0; v < PANEL_VECTORS; v++)
            for (uint32_t bits = greater(load(panel + v * LANES), splat(threshold)); bits; bits &= bits - 1) {
                const int i = v * LANES + __builtin_ctz(bits);
                if (panel[i] > threshold) insert(panel[i], first + i);
            }
    }

    void insert(float logit, int token) {
        if (!forbidden.empty() && std::find(forbidden.begin(), forbidden.end(), token) != forbidden.end()) return;
        // The better ones stay, and the others move one place on: the last first, as each takes from the one before.
        const Vector added = splat(logit);
        for (int i = rounded_up(wanted, LANES) - LANES; i >= 0; i -= LANES) {
            const Vector here = load(&best_logits[1 + i]), before = load(&best_logits[i]);
            const Ints stays = here >= added, is_place = before >= added;
            const Ints token_here = load_bits(&best_tokens[1 + i]), token_before = load_bits(&best_tokens[i]);
            const Ints tokens = stays ? token_here : is_place ? splat_bits(token) : token_before;
            store(&best_logits[1 + i], stays ? here : is_place ? added : before);
            std::memcpy(&best_tokens[1 + i], &tokens, sizeof tokens);
        }
        threshold = best_logits[wanted];
    }
};

// Never positive, whatever rounding does. NaN stays NaN.
inline float log_probability(float logit, float log_sum) { return std::min(logit - log_sum, 0.0f); }

// Philox4x32-10 (Salmon et al. 2011, section 3.2): its first word. See zhuyi/model/reference.py.
inline uint32_t random_word(uint32_t seed, int64_t line, uint32_t step, uint32_t sample) {
    uint32_t a = step, b = sample, c = (uint32_t)line, d = (uint32_t)(line >> 32), key0 = seed, key1 = 0;
    for (int round = 0; round < 10; round++) {
        const uint64_t left = (uint64_t)0xD2511F53 * a, right = (uint64_t)0xCD9E8D57 * c;
        a = (uint32_t)(right >> 32) ^ b ^ key0;
        b = (uint32_t)right;
        c = (uint32_t)(left >> 32) ^ d ^ key1;
        d = (uint32_t)left;
        key0 += 0x9E3779B9;
        key1 += 0xBB67AE85;
    }
    return a;
}

// A token from the distribution that temperature, top-k and top-p make of log-probabilities; -1 if there is none. See
// zhuyi/decoding/sampling.py: the weights are integers, so that their sums are exact.
inline int draw(std::vector<float>& log_probs, const ZhuyiDecoding& decoding, uint32_t word) {
    const int count = (int)log_probs.size();
    for (float& x : log_probs) x /= decoding.temperature;
    if (decoding.top_k) {
        std::vector<float> sorted(log_probs);
        const auto last = sorted.begin() + std::min(decoding.top_k, count) - 1;
        std::nth_element(sorted.begin(), last, sorted.end(), std::greater<float>());
        for (float& x : log_probs)
            if (x < *last) x = -INFINITY;
    }
    const float most = *std::max_element(log_probs.begin(), log_probs.end());
    std::vector<uint64_t> weights(count);
    for (int i = 0; i < count; i++) {
        const float relative = std::exp(log_probs[i] - most);
        weights[i] = relative == relative ? (uint64_t)(relative * 0x1p30f) : 0;
    }
    uint64_t total = 0;
    for (uint64_t weight : weights) total += weight;
    if (decoding.top_p < 1) {
        std::vector<uint64_t> falling(weights);
        std::sort(falling.begin(), falling.end(), std::greater<uint64_t>());
        uint64_t before = 0, kept = falling[0];
        for (size_t i = 0; i < falling.size() && (double)before < (double)decoding.top_p * (double)total; i++) {
            kept = falling[i];
            before += falling[i];
        }
        total = 0;
        for (uint64_t& weight : weights) total += weight = weight < kept ? 0 : weight;
    }
    const uint64_t threshold = (uint64_t)((unsigned __int128)word * total >> 32);
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        if ((sum += weights[i]) > threshold) return i;
    return -1;
}

// Whether the last `length` tokens repeat those before them: `end_of_repetition` in zhuyi/decoding/filters.py.
inline bool repeats(const std::vector<int>& written, int length) {
    const int count = (int)written.size();
    for (int n = 1; n <= std::max(1, length / 4) && length + n <= count; n++) {
        int i = count - 1;
        while (i >= count - length && written[i] == written[i - n]) i--;
        if (i < count - length) return true;
    }
    return false;
}

// Forbids what would complete an n-gram that was written before (decoding.no_repeat_ngram).
inline void no_repeated_ngram(const std::vector<int>& written, int size, std::vector<int>& forbidden) {
    const int count = (int)written.size();
    for (int first = 0; first + size <= count; first++)
        if (std::equal(written.end() - (size - 1), written.end(), written.begin() + first))
            forbidden.push_back(written[first + size - 1]);
}

// A model, or the members of an ensemble, which share a shape and vocabularies and may differ in everything else.
typedef std::vector<const Transformer*> Models;

// The search of a sentence: a tree of all candidates, the live prefixes, and the best finished hypotheses.
class Search {
    struct Node {
        int token, parent;
        float log_prob;
    };
    struct Prefix {
        int node = ROOT, sample = 0;
        float sum = 0;
        std::vector<int> written, places;  // its tokens; the place in `past` of the keys and values of each position
    };
    struct Finished {
        float score;
        int node, sample;
    };
    struct Candidate {
        float sum, log_prob;
        int row, token, number;  // number 0 is greedy search's
    };

    ZhuyiDecoding decoding;
    std::span<const int32_t> prefix;
    int limit = 0, step = 0;
    int source_count = 0;  // positions before that of BOS: none in the encoder–decoder
    int64_t line = 0;
    bool greedy_lives = true, done = false;
    std::vector<Node> nodes;
    std::vector<Prefix> live, next;
    std::vector<Finished> finished;
    std::vector<Candidate> candidates;
    std::vector<Past> past;  // of each member of an ensemble, as the next one

  public:
    std::vector<Memory> memory;

    // `new_prefix`: the tokens with which the output begins, whatever the model and the filters say.
    void begin(const Models& models, const ZhuyiDecoding& new_decoding, int new_limit, int64_t new_line,
               std::span<const int32_t> new_prefix) {
        past.resize(models.size());
        memory.resize(models.size());
        decoding = new_decoding;
        limit = new_limit;
        line = new_line;
        prefix = new_prefix;
        step = source_count = 0;
        greedy_lives = decoding.stop == BOUND;
        done = false;
        nodes.clear();
        finished.clear();
        live.resize(decoding.sampling ? decoding.rows : 1);
        for (size_t i = 0; i < live.size(); i++) live[i] = Prefix{ROOT, (int)i, 0, {}, {}};
    }

    bool is_done() const { return done; }
    int row_count() const { return (int)live.size(); }

    // The decoder shape: adds a row for each position of the source to those that are computed before the first step.
    // All prefixes begin with these places.
    void add_source(const Models& models, const Source& source, std::vector<Row>& rows) {
        source_count = source.length - 1;  // without EOS: BOS comes next
        for (Prefix& each : live) {
            each.places.resize(source_count);
            std::iota(each.places.begin(), each.places.end(), 0);
        }
        make_space(models, 0);
        for (int t = 0; t < source_count; t++)
            rows.push_back({source.tokens[t], t, past.data(), live[0].places.data(), memory.data()});
    }

    // Adds a row for each live prefix to those of a step, and prepares its distribution.
    void add_rows(const Models& models, std::vector<Row>& rows, std::vector<Distribution>& distributions) {
        const int first = source_count + step * decoding.rows, position = source_count + step;
        make_space(models, first);
        for (int j = 0; j < row_count(); j++) {
            const std::vector<int>& written = live[j].written;
            const int last = written.empty() ? BOS : written.back();
            live[j].places.push_back(first + j);
            rows.push_back({last, position, past.data(), live[j].places.data(), memory.data()});
            if (distributions.size() < rows.size()) distributions.emplace_back();
            Distribution& distribution = distributions[rows.size() - 1];
            const int best = decoding.sampling ? 0 : decoding.rows == 1 ? 1 : 2 * decoding.rows;
            distribution.begin(best, decoding.sampling ? models[0]->config.target_vocabulary : 0);
            if (step < (int)prefix.size()) {
                distribution.force(prefix[step]);
            } else {
                if (decoding.no_unknown) distribution.forbidden.push_back(UNK);
                if (decoding.no_repeat_ngram) no_repeated_ngram(written, decoding.no_repeat_ngram, distribution.forbidden);
                if (step + 1 < decoding.min_length) distribution.forbidden.push_back(EOS);
                else if (decoding.max_repetition && repeats(written, decoding.max_repetition)) distribution.force(EOS);
                if (is_forced()) distribution.force(EOS);
            }
        }
    }

    bool every_token() const { return decoding.every_token; }

    // Takes a step, given the distributions of its rows.
    void advance(const Distribution* distributions) {
        next.resize(std::max<size_t>(next.size(), decoding.rows));
        const int count = decoding.sampling ? draw_each(distributions) : choose_best(distributions);
        live.swap(next);
        live.resize(count);
        done = live.empty() || step == limit || is_decided();
    }

    // Best first. If the model gave NaN, one that is empty and unfinished, with score -∞.
    std::vector<Hypothesis> hypotheses() const {
        std::vector<Finished> found(finished);
        if (step == limit)
            for (const Prefix& each : live)
                found.push_back({normalised(each.sum, step, decoding), each.node, each.sample});
        if (decoding.sampling) std::ranges::stable_sort(found, std::less(), &Finished::sample);
        std::ranges::stable_sort(found, std::greater(), &Finished::score);
        if ((int)found.size() > decoding.n_best) found.resize(decoding.n_best);
        std::vector<Hypothesis> result;
        for (const Finished& each : found) {
            Hypothesis hypothesis{{}, {}, each.score, false};
            for (int node = each.node; node != ROOT; node = nodes[node].parent) {
                hypothesis.tokens.push_back(nodes[node].token);
                hypothesis.log_probs.push_back(nodes[node].log_prob);
            }
            std::reverse(hypothesis.tokens.begin(), hypothesis.tokens.end());
            std::reverse(hypothesis.log_probs.begin(), hypothesis.log_probs.end());
            hypothesis.finished = hypothesis.tokens.back() == EOS;
            if (hypothesis.finished) hypothesis.tokens.pop_back();
            result.push_back(std::move(hypothesis));
        }
        if (result.empty()) result.push_back({{}, {}, -INFINITY, false});
        return result;
    }

  private:
    // Makes space in `past` for the next step and some more; the first `filled` places are kept.
    void make_space(const Models& models, size_t filled) {
        for (size_t m = 0; m < models.size(); m++) {
            past[m].layers.resize(models[m]->decoder.blocks.size());
            const size_t places = source_count + (size_t)rounded_up(step + 1, 32) * decoding.rows;
            past[m].at_least(places, filled, models[m]->key_bytes());
        }
    }

    // Whether the prefix or the length limit leaves no choice of the next token.
    bool is_forced() const { return step < (int)prefix.size() || (decoding.end_at_limit && step + 1 == limit); }

    // Whether the next token counts in the scores: with Hugging Face's rules, a forced one does not.
    bool counts() const {
        return !is_forced() || (decoding.stop != HUGGING_FACE && decoding.stop != HUGGING_FACE_EARLY);
    }

    // The number of finished hypotheses that are kept.
    int places() const { return decoding.sampling || decoding.stop == BOUND ? decoding.n_best : decoding.rows; }

    // Whether no continuation of a prefix can be among the best hypotheses: a sum can only fall, and the penalty is
    // largest at the limit. Only the rule `BOUND` uses this.
    bool is_lost(const Prefix& each) const {
        return !decoding.sampling && decoding.stop == BOUND && (int)finished.size() == places() &&
               normalised(each.sum, limit, decoding) <= finished.back().score;
    }

    // Whether the search ends before the limit, although prefixes are alive.
    bool is_decided() const {
        if (decoding.sampling || (int)finished.size() < places()) return false;
        switch (decoding.stop) {
            case BOUND: return std::ranges::all_of(live, [&](const Prefix& each) { return is_lost(each); });
            case HUGGING_FACE: return normalised(live[0].sum, step, decoding) <= finished.back().score;
            default: return true;  // Marian's: all have ended
        }
    }

    // The candidates of a step: the best continuations of all rows, best first, and greedy search's among them, in the
    // last place if it is not one of the best. With one row there is one.
    void find_candidates(const Distribution* distributions) {
        candidates.clear();
        const bool counted = counts();
        for (int row = 0, number = 0; row < row_count(); row++, number++) {
            const float log_sum = distributions[row].log_sum();
            for (int i = 0; i < distributions[row].best_count(); i++, number++) {
                const float log_prob = log_probability(distributions[row].best_logit(i), log_sum);
                if (log_prob > -INFINITY)  // not true of NaN
                    candidates.push_back(
                        {live[row].sum + (counted ? log_prob : 0), log_prob, row, distributions[row].best_token(i), number});
            }
        }
        const size_t most = decoding.rows == 1 ? 1 : 2 * decoding.rows;
        const auto better = [](const Candidate& a, const Candidate& b) {
            return a.sum != b.sum ? a.sum > b.sum : a.number < b.number;
        };
        if (candidates.empty()) return;
        const Candidate first = candidates[0];
        if (candidates.size() > most) {
            std::partial_sort(candidates.begin(), candidates.begin() + most, candidates.end(), better);
            candidates.resize(most);
        } else {
            std::sort(candidates.begin(), candidates.end(), better);
        }
        if (greedy_lives && first.number == 0 && std::ranges::count(candidates, 0, &Candidate::number) == 0)
            candidates.back() = first;
    }

    // Candidates that are EOS finish hypotheses, and the best of the others live on, as in zhuyi/decoding/beam.py. Greedy
    // search's prefix lives until it ends, so no beam gives a lower score than greedy search.
    int choose_best(const Distribution* distributions) {
        find_candidates(distributions);
        const auto is_greedy = [greedy = greedy_lives](const Candidate& each) { return greedy && each.number == 0; };
        step++;
        // How many of the first candidates may end a hypothesis, and how many may live on.
        const int may_finish = decoding.stop == MARIAN ? decoding.rows - (int)finished.size() : decoding.rows;
        const bool all_live = decoding.stop == BOUND || (decoding.stop != MARIAN && step < limit);
        const int may_live = all_live ? 2 * decoding.rows : may_finish;
        const int first = (int)nodes.size();
        for (const Candidate& each : candidates) nodes.push_back({each.token, live[each.row].node, each.log_prob});
        greedy_lives = false;
        int count = 0;
        const auto live_on = [&](int i) {
            const Candidate& each = candidates[i];
            extend(next[count++], live[each.row], first + i, each.token, each.sum);
        };
        for (int i = 0; i < (int)candidates.size(); i++)
            if (is_greedy(candidates[i]) && candidates[i].token != EOS) {
                greedy_lives = true;
                live_on(i);
            }
        for (int i = 0; i < (int)candidates.size(); i++) {
            const Candidate& each = candidates[i];
            if (each.token == EOS) {
                if (i < may_finish || is_greedy(each)) finish({normalised(each.sum, step, decoding), first + i, 0});
            } else if (count < decoding.rows && i < may_live && !is_greedy(each)) {
                live_on(i);
            }
        }
        // Prefixes that are lost, which are the last ones, need not be computed. Only candidates with lower sums can
        // take their places: these are lost too, and none that ends is better than what is kept. Greedy search's prefix
        // stays, since a better one could take its place.
        while (count > greedy_lives && is_lost(next[count - 1])) count--;
        return count;
    }

    void finish(const Finished& hypothesis) {
        finished.push_back(hypothesis);
        for (size_t place = finished.size() - 1; place && finished[place - 1].score < finished[place].score; place--)
            std::swap(finished[place - 1], finished[place]);
        if ((int)finished.size() > places()) finished.pop_back();
    }

    // Each row draws its next token; one whose distribution is NaN ends without a hypothesis.
    int draw_each(const Distribution* distributions) {
        const bool counted = counts();
        step++;
        int count = 0;
        for (int row = 0; row < row_count(); row++) {
            const Distribution& distribution = distributions[row];
            const Prefix& from = live[row];
            const float log_sum = distribution.log_sum();
            int token = distribution.forced;
            const std::vector<float>& logits = distribution.logits;
            const auto log_prob_of = [&](int of) { return log_probability(logits[of], log_sum); };
            if (token < 0) {
                std::vector<float> log_probs(logits.size());
                for (size_t i = 0; i < logits.size(); i++) log_probs[i] = log_prob_of((int)i);
                for (int forbidden : distribution.forbidden) log_probs[forbidden] = -INFINITY;
                token = draw(log_probs, decoding, random_word(decoding.seed, line, step - 1, from.sample));
            }
            if (token < 0 || !(log_prob_of(token) > -INFINITY)) continue;
            const float log_prob = log_prob_of(token), total = from.sum + (counted ? log_prob : 0);
            nodes.push_back({token, from.node, log_prob});
            const int node = (int)nodes.size() - 1;
            if (token == EOS) finished.push_back({normalised(total, step, decoding), node, from.sample});
            else extend(next[count++], from, node, token, total);
        }
        return count;
    }

    static void extend(Prefix& to, const Prefix& from, int node, int token, float sum) {
        to.node = node;
        to.sample = from.sample;
        to.sum = sum;
        to.written = from.written;
        to.written.push_back(token);
        to.places = from.places;
    }
};
