// The search of one sentence, as `zhuyi/decoding` has it: greedy search is beam search with one candidate, and sampling
// draws where they take the best.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "transformer.h"

constexpr int PAD = 0, UNK = 1, BOS = 2, EOS = 3, ROOT = -1;

extern "C" {
struct ZhuyiDecoding {  // zhuyi.config.DecodingConfig
    int32_t sampling, rows, n_best, top_k, no_repeat_ngram, max_repetition, min_length;
    int32_t every_token;  // PAD and BOS have a share of the probability too, as in training's loss
    int32_t power, stop;  // the length penalty is a power of the length; one of the rules of `Stop`
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

// What is wanted of a row's next-token distribution, taken from the logits as the projection gives them, some tokens at
// a time: its best tokens, and the logarithm of the sum of e^logit. Sampling wants all of them.
class Distribution {
    float least = INFINITY;  // a logit above it is among the best; ∞: none is asked for
    float shift = 0;         // of the exponents, so that no e^logit is too large
    Vector sums = {};
    int wanted = 0;
    std::vector<float> best_logits;  // ∞, and the best logits, in whole registers: best first, −∞ where there is none
    std::vector<int32_t> best_tokens;

  public:
    bool failed = false;  // the row is not a number
    int forced = -1;      // the only token that may be chosen, if there is one
    std::vector<int> forbidden;
    std::vector<float> logits;

    void begin(int best_wanted, int all_wanted) {
        least = best_wanted ? -INFINITY : INFINITY;
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
        least = INFINITY;
        wanted = std::min(wanted, 1);
    }

    // The best tokens and their logits, best first; −∞ where there is none.
    int best_count() const { return wanted; }
    int best_token(int i) const { return best_tokens[1 + i]; }
    float best_logit(int i) const { return best_logits[1 + i]; }

    // The logits of the tokens `first` … `first + count` - 1, in whole panels.
    void take(const float* some, int first, int count) {
        for (int i = 0; i < count; i += PANEL) {
            Vector logit[PANEL_VECTORS];
            for (int v = 0; v < PANEL_VECTORS; v++) logit[v] = load(some + i + v * LANES);
            Vector most = logit[0];
            for (int v = 1; v < PANEL_VECTORS; v++) most = max(most, logit[v]);
            if (first + i == 0) shift = largest(most);
            // What is far above all logits before it is also one of the best, unless none is asked for.
            if (greater(most, splat(std::min(least, shift + 40)))) look_closely(some + i, most, first + i);
            const Vector exponent = splat(shift * -LOG2_E);
            for (int v = 0; v < PANEL_VECTORS; v++) sums = power_of_two(logit[v] * LOG2_E + exponent) + sums;
        }
        if (forced >= first && forced < first + count) best_logits[1] = some[forced - first], best_tokens[1] = forced;
        if (!logits.empty() && first < (int)logits.size())
            std::copy_n(some, std::min(count, (int)logits.size() - first), logits.begin() + first);
    }

    // log Σ e^logit; NaN if there is no number.
    float log_sum() const { return failed ? NAN : shift + std::log(sum(sums)); }

  private:
    // Not inlined: it would take registers from the loop.
    __attribute__((noinline)) void look_closely(const float* some, Vector most, int first) {
        if (largest(most) > shift + 40) {
            sums = sums * std::exp(shift - largest(most));
            shift = largest(most);
        }
        for (int v = 0; v < PANEL_VECTORS; v++)
            for (uint32_t bits = greater(load(some + v * LANES), splat(least)); bits; bits &= bits - 1) {
                const int i = v * LANES + __builtin_ctz(bits);
                if (some[i] > least) insert(some[i], first + i);
            }
    }

    void insert(float logit, int token) {
        if (!forbidden.empty() && std::find(forbidden.begin(), forbidden.end(), token) != forbidden.end()) return;
        // The better ones stay, and the others move one place on: from the last, since each takes from the one before.
        const Vector added = splat(logit);
        for (int i = rounded_up(wanted, LANES) - LANES; i >= 0; i -= LANES) {
            const Vector here = load(&best_logits[1 + i]), before = load(&best_logits[i]);
            const Ints stays = here >= added, is_place = before >= added;
            const Ints token_here = load_bits(&best_tokens[1 + i]), token_before = load_bits(&best_tokens[i]);
            const Ints tokens = stays ? token_here : is_place ? splat_bits(token) : token_before;
            store(&best_logits[1 + i], stays ? here : is_place ? added : before);
            std::memcpy(&best_tokens[1 + i], &tokens, sizeof tokens);
        }
        least = best_logits[wanted];
    }
};

// Rounding does not make it positive. NaN stays NaN.
inline float log_probability(float logit, float log_sum) { return std::min(logit - log_sum, 0.0f); }

// Philox4x32-10 (Salmon et al. 2011, section 3.2): its first word. See zhuyi/model/reference.py.
inline uint32_t random_word(uint32_t seed, int64_t line, uint32_t step, uint32_t sample) {
    uint32_t a = step, b = sample, c = (uint32_t)line, d = (uint32_t)(line >> 32), one = seed, other = 0;
    for (int round = 0; round < 10; round++) {
        const uint64_t left = (uint64_t)0xD2511F53 * a, right = (uint64_t)0xCD9E8D57 * c;
        a = (uint32_t)(right >> 32) ^ b ^ one;
        b = (uint32_t)right;
        c = (uint32_t)(left >> 32) ^ d ^ other;
        d = (uint32_t)left;
        one += 0x9E3779B9;
        other += 0xBB67AE85;
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
        const float share = std::exp(log_probs[i] - most);
        weights[i] = share == share ? (uint64_t)(share * 1073741824.0f) : 0;
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

// Whether the last `length` tokens repeat those before them (decoding.max_repetition).
inline bool repeats(const std::vector<int>& written, int length) {
    const int count = (int)written.size();
    for (int n = 1; n <= std::max(1, length / 4) && length + n <= count; n++) {
        int i = count - 1;
        while (i >= count - length && written[i] == written[i - n]) i--;
        if (i < count - length) return true;
    }
    return false;
}

// What would complete an n-gram that was written before (decoding.no_repeat_ngram).
inline void no_repeated_ngram(const std::vector<int>& written, int size, std::vector<int>& forbidden) {
    const int count = (int)written.size();
    for (int first = 0; first + size <= count; first++)
        if (std::equal(written.end() - (size - 1), written.end(), written.begin() + first))
            forbidden.push_back(written[first + size - 1]);
}

// A model, or the members of an ensemble, which write one output: they differ in all but shape and vocabulary.
typedef std::vector<const Transformer*> Models;

// The search of a sentence: a tree of all that was chosen, the live prefixes, and the best finished hypotheses.
class Search {
    struct Node {
        int token, parent;
        float log_prob;
    };
    struct Prefix {
        int node = ROOT, sample = 0;
        float sum = 0;
        std::vector<int> written, places;  // its tokens; where in `past` the keys and values of each position are
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
    const int32_t* forced_first = nullptr;
    int forced_count = 0, limit = 0, step = 0;
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

    void begin(const Models& models, const ZhuyiDecoding& how, int most_tokens, int64_t line_number, const int32_t* first_tokens, int first_count) {
        past.resize(models.size());
        memory.resize(models.size());
        decoding = how;
        limit = most_tokens;
        line = line_number;
        forced_first = first_tokens;
        forced_count = first_count;
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

    // The decoder shape: adds a row for each position of the source, before the first step, to rows that are computed at
    // once. All prefixes begin with these places.
    void add_source(const Models& models, const Source& source, std::vector<Row>& rows) {
        source_count = source.length - 1;  // without EOS: BOS comes next
        for (Prefix& prefix : live) {
            prefix.places.resize(source_count);
            std::iota(prefix.places.begin(), prefix.places.end(), 0);
        }
        make_space(models, 0);
        for (int t = 0; t < source_count; t++)
            rows.push_back({source.tokens[t], t, past.data(), live[0].places.data(), memory.data()});
    }

    // Adds a row for each live prefix to those of a step, and says what is wanted of its distribution.
    void add_rows(const Models& models, std::vector<Row>& rows, std::vector<Distribution>& distributions) {
        const int first = source_count + step * decoding.rows, position = source_count + step;
        make_space(models, first);
        for (int j = 0; j < row_count(); j++) {
            Prefix& prefix = live[j];
            prefix.places.push_back(first + j);
            const int last = prefix.written.empty() ? BOS : prefix.written.back();
            rows.push_back({last, position, past.data(), prefix.places.data(), memory.data()});
            if (distributions.size() < rows.size()) distributions.emplace_back();
            Distribution& distribution = distributions[rows.size() - 1];
            const int best = decoding.sampling ? 0 : decoding.rows == 1 ? 1 : 2 * decoding.rows;
            distribution.begin(best, decoding.sampling ? models[0]->config.target_vocabulary : 0);
            if (step < forced_count) {
                distribution.force(forced_first[step]);
            } else {
                if (decoding.no_unknown) distribution.forbidden.push_back(UNK);
                if (decoding.no_repeat_ngram) no_repeated_ngram(prefix.written, decoding.no_repeat_ngram, distribution.forbidden);
                if (step + 1 < decoding.min_length) distribution.forbidden.push_back(EOS);
                else if (decoding.max_repetition && repeats(prefix.written, decoding.max_repetition)) distribution.force(EOS);
                if (is_forced()) distribution.force(EOS);
            }
        }
    }

    bool every_token() const { return decoding.every_token; }

    // Goes on with the distributions of its rows.
    void advance(Distribution* distributions) {
        next.resize(std::max<size_t>(next.size(), decoding.rows));
        const int count = decoding.sampling ? draw_each(distributions) : choose_best(distributions);
        live.swap(next);
        live.resize(count);
        done = live.empty() || step == limit || is_decided();
    }

    // Best first; one that is empty, unfinished and has the score -∞, if the model gave no number.
    std::vector<Hypothesis> hypotheses() const {
        std::vector<Finished> found(finished);
        if (step == limit)
            for (const Prefix& prefix : live)
                found.push_back({normalised(prefix.sum, step, decoding), prefix.node, prefix.sample});
        if (decoding.sampling)
            std::stable_sort(found.begin(), found.end(), [](const Finished& a, const Finished& b) { return a.sample < b.sample; });
        std::stable_sort(found.begin(), found.end(), [](const Finished& a, const Finished& b) { return a.score > b.score; });
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
    // Space in `past` for the next step and some more; the first `filled` places stay.
    void make_space(const Models& models, size_t filled) {
        for (size_t m = 0; m < models.size(); m++) {
            past[m].layers.resize(models[m]->decoder.blocks.size());
            past[m].at_least(source_count + (size_t)rounded_up(step + 1, 32) * decoding.rows, filled, models[m]->key_bytes());
        }
    }

    // Whether the prefix or the length limit leaves no choice of the next token.
    bool is_forced() const { return step < forced_count || (decoding.end_at_limit && step + 1 == limit); }

    // Whether the next token has a part in the scores: with Hugging Face's rules, it has none if it is forced.
    bool counts() const {
        return !is_forced() || (decoding.stop != HUGGING_FACE && decoding.stop != HUGGING_FACE_EARLY);
    }

    // How many finished hypotheses have a place.
    int places() const { return decoding.sampling || decoding.stop == BOUND ? decoding.n_best : decoding.rows; }

    // Whether no continuation of a prefix can be among the best hypotheses: a sum only falls, and is divided by at most
    // the limit's penalty. The other rules do not ask.
    bool is_lost(const Prefix& prefix) const {
        return !decoding.sampling && decoding.stop == BOUND && (int)finished.size() == places() &&
               normalised(prefix.sum, limit, decoding) <= finished.back().score;
    }

    // Whether the search ends before the limit, although prefixes live.
    bool is_decided() const {
        if (decoding.sampling || (int)finished.size() < places()) return false;
        switch (decoding.stop) {
            case BOUND: return std::all_of(live.begin(), live.end(), [&](const Prefix& prefix) { return is_lost(prefix); });
            case HUGGING_FACE: return normalised(live[0].sum, step, decoding) <= finished.back().score;
            default: return true;  // Marian's: all have ended
        }
    }

    // The best candidates of all rows: those that end are finished, and the best of the others live on. As in
    // zhuyi/decoding/beam.py; with one row there is one candidate.
    int choose_best(Distribution* distributions) {
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
        const bool has_greedy = greedy_lives && !candidates.empty() && candidates[0].number == 0;
        const Candidate greedy = has_greedy ? candidates[0] : Candidate{};
        if (candidates.size() > most) {
            std::partial_sort(candidates.begin(), candidates.begin() + most, candidates.end(), better);
            candidates.resize(most);
        } else {
            std::sort(candidates.begin(), candidates.end(), better);
        }
        // Greedy search's prefix lives until it ends: no beam gives a lower score than greedy search.
        const auto is_greedy = [&](const Candidate& each) { return has_greedy && each.number == 0; };
        if (has_greedy && std::none_of(candidates.begin(), candidates.end(), is_greedy)) candidates.back() = greedy;

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
            go_on(next[count++], live[each.row], first + i, each.token, each.sum);
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
        // Those that are lost, the last ones, are not computed. Lower sums alone can take the places that they leave: these
        // are lost too, and if one ends, it is no better than what is kept. Greedy search's prefix stays: its place could
        // be taken by a better one.
        while (count > greedy_lives && is_lost(next[count - 1])) count--;
        return count;
    }

    void finish(const Finished& hypothesis) {
        finished.push_back(hypothesis);
        for (size_t place = finished.size() - 1; place && finished[place - 1].score < finished[place].score; place--)
            std::swap(finished[place - 1], finished[place]);
        if ((int)finished.size() > places()) finished.pop_back();
    }

    // Each row draws its next token; one whose distribution is not a number ends without a hypothesis.
    int draw_each(Distribution* distributions) {
        const bool counted = counts();
        step++;
        int count = 0;
        for (int row = 0; row < row_count(); row++) {
            Distribution& distribution = distributions[row];
            Prefix& prefix = live[row];
            const float log_sum = distribution.log_sum();
            int token = distribution.forced;
            std::vector<float>& logits = distribution.logits;
            const auto log_prob_of = [&](int of) { return log_probability(logits[of], log_sum); };
            std::vector<float> log_probs;
            if (token < 0) {
                log_probs.resize(logits.size());
                for (size_t i = 0; i < logits.size(); i++) log_probs[i] = log_prob_of((int)i);
                for (int forbidden : distribution.forbidden) log_probs[forbidden] = -INFINITY;
                token = draw(log_probs, decoding, random_word(decoding.seed, line, step - 1, prefix.sample));
            }
            if (token < 0 || !(log_prob_of(token) > -INFINITY)) continue;
            const float log_prob = log_prob_of(token), total = prefix.sum + (counted ? log_prob : 0);
            nodes.push_back({token, prefix.node, log_prob});
            const int node = (int)nodes.size() - 1;
            if (token == EOS) finished.push_back({normalised(total, step, decoding), node, prefix.sample});
            else go_on(next[count++], prefix, node, token, total);
        }
        return count;
    }

    static void go_on(Prefix& to, const Prefix& from, int node, int token, float sum) {
        to.node = node;
        to.sample = from.sample;
        to.sum = sum;
        to.written = from.written;
        to.written.push_back(token);
        to.places = from.places;
    }
};
