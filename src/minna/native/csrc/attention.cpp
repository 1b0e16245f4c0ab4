// Causal attention for training, forward and backward, in the manner of FlashAttention-2 (Dao 2023).
//
// torch's flash attention backward reaches 35 GFLOP/s a core here, its matrix products 200. The
// difference: everything one key-value head needs is laid out once, in the order matrix tiles want
// (tiles.h), and stays in the second-level cache (0.8 MB at 512 tokens of 64 features), and the
// softmax between two products is 16 lanes wide without a copy.
//
// The forward pass computes scores with a query per row, so that a document is a range of columns.
// The backward pass computes them transposed, a key per row: then P^T and dS^T are what dV and dK
// multiply, and only dS has to be zipped for dQ^T = K^T dS^T.
//
// One task is one key-value head of one row with all its query heads; nothing is shared between
// tasks, so the result does not depend on threads. Shape letters as in models/attention.py: B rows,
// S tokens, H query heads, K key-value heads; d features of a head.
#include "tiles.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

namespace {

using namespace minna;

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kNever = 1e30f;  // a log-sum-exp whose every weight is 0, without an infinity
constexpr int64_t kChunk = 512;  // keys of a forward softmax before it must be rescaled

struct Strides {
  int64_t row, head, token;
};

// As laid out by native/attention.py, field for field.
struct Call {
  int64_t B, H, K, S, d, threads;
  Strides q, k, v, out, grad;
  const void *query, *key, *value;
  const int32_t* starts;  // [B, S] or null: the first key a query may look at
  void* output;           // [B, S, H, d]
  float* lse;             // log2 of the sum of exp: [B, H, S]
  const void* gradient;
  void *dq, *dk, *dv;  // [B, S, H or K, d]
};

template <typename T>
const T* at_token(const void* base, const Strides& s, int64_t row, int64_t head, int64_t token) {
  return static_cast<const T*>(base) + row * s.row + head * s.head + token * s.token;
}

// Short rows take smaller blocks: less of a diagonal block is hidden.
int64_t block_of(int64_t S) { return S <= 192 ? 32 : 64; }

// Which keys the queries of each block look at.
struct Blocks {
  int64_t S, size, count;
  const int32_t* starts;  // of this row, or null

  Blocks(const Call& c, int64_t row)
      : S(c.S), size(block_of(c.S)), count((c.S + size - 1) / size),
        starts(c.starts ? c.starts + row * c.S : nullptr) {}

  int64_t first_key(int64_t query) const { return starts ? starts[query] : 0; }
  int64_t rows(int64_t block) const { return std::min(size, S - block * size); }

  // The first block of keys that some query of block i looks at.
  int64_t first_block(int64_t i) const {
    if (!starts) return 0;
    const int32_t* here = starts + i * size;
    return *std::min_element(here, here + rows(i)) / size;
  }
  // Whether every query of block i looks at every key of block j.
  bool open(int64_t i, int64_t j) const {
    if (i == j) return false;
    if (!starts) return true;
    const int32_t* here = starts + i * size;
    return *std::max_element(here, here + rows(i)) <= j * size;
  }
};

// One row of scores to weights: P = 2^(scale * s - max), zeros outside of [begin, end).
template <typename T>
void soften(
    const float* scores, T* weights, int64_t begin, int64_t end, int64_t width, float scale,
    float& top, float& total, float& shrink) {
  const int64_t from = begin / kLanes * kLanes;
  const auto lanes = [&](int64_t c) -> __mmask16 {
    return first_lanes(end - c) & ~first_lanes(begin - c);
  };
  __m512 most = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  for (int64_t c = from; c < end; c += kLanes)
    most = _mm512_mask_max_ps(most, lanes(c), most, load16(scores + c));
  const float before = top;
  top = std::max(top, _mm512_reduce_max_ps(most) * scale);
  shrink = before > -kNever ? std::exp2(before - top) : 0;
  const __m512 factor = _mm512_set1_ps(scale), shift = _mm512_set1_ps(top);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t c = 0; c < from; c += kLanes) store16(weights + c, _mm512_setzero_ps());
  int64_t c = from;
  for (; c < end; c += kLanes) {
    const __m512 power = exp2(_mm512_fmsub_ps(load16(scores + c), factor, shift));
    const __m512 weight = _mm512_maskz_mov_ps(lanes(c), power);
    sum = _mm512_add_ps(sum, weight);
    store16(weights + c, weight);
  }
  for (; c < width; c += kLanes) store16(weights + c, _mm512_setzero_ps());
  total = total * shrink + _mm512_reduce_add_ps(sum);
}

template <typename T>
struct Forward {
  const Call& c;
  const int64_t size = block_of(c.S), padded = (c.S + size - 1) / size * size;
  const int64_t chunk = std::min(kChunk, padded);
  T *keys, *values, *query, *weights;
  float *scores, *out, *top, *total;

  size_t bytes() const {
    return 2 * Scratch::need<T>(padded * c.d) + Scratch::need<T>(size * c.d) +
        Scratch::need<T>(size * chunk) + Scratch::need<float>(size * chunk) +
        Scratch::need<float>(size * c.d) + 2 * Scratch::need<float>(size);
  }

  Forward(const Call& call, Scratch& scratch) : c(call) {
    scratch.start(bytes());
    keys = scratch.take<T>(padded * c.d);
    values = scratch.take<T>(padded * c.d);
    query = scratch.take<T>(size * c.d);
    weights = scratch.take<T>(size * chunk);
    scores = scratch.take<float>(size * chunk);
    out = scratch.take<float>(size * c.d);
    top = scratch.take<float>(size);
    total = scratch.take<float>(size);
  }

  void pack(const Blocks& blocks, int64_t row, int64_t head) {
    for (int64_t j = 0; j < blocks.count; ++j) {
      const int64_t at = j * size;
      pack_transposed(
          at_token<T>(c.key, c.k, row, head, at), c.k.token, blocks.rows(j), c.d, keys + at * c.d,
          size);
      pack_rows(
          at_token<T>(c.value, c.v, row, head, at), c.v.token, blocks.rows(j), c.d,
          values + at * c.d, size);
    }
  }

  // Queries of block i against the keys [base, base + width).
  void attend(const Blocks& blocks, int64_t i, int64_t base, int64_t width, bool first) {
    const float scale = kLog2e / std::sqrt(static_cast<float>(c.d));
    for (int64_t at = 0; at < width; at += size)
      multiply(
          size, size, c.d, c.d, size, chunk, false, query, keys + (base + at) * c.d, scores + at);
    for (int64_t r = 0; r < blocks.rows(i); ++r) {
      const int64_t place = i * size + r;
      const int64_t begin = std::max<int64_t>(blocks.first_key(place) - base, 0);
      const int64_t end = std::min(place + 1 - base, width);
      float shrink = 1;
      soften(
          scores + r * chunk, weights + r * chunk, std::min(begin, width), end, width, scale,
          top[r], total[r], shrink);
      if (!first && shrink != 1)
        for (int64_t f = 0; f < c.d; f += kLanes)
          store16(
              out + r * c.d + f,
              _mm512_mul_ps(load16(out + r * c.d + f), _mm512_set1_ps(shrink)));
    }
    multiply(size, c.d, width, chunk, c.d, c.d, !first, weights, values + base * c.d, out);
  }

  void finish(const Blocks& blocks, int64_t row, int64_t head, int64_t i) {
    float* lse = c.lse + (row * c.H + head) * c.S + i * size;
    for (int64_t r = 0; r < blocks.rows(i); ++r) {
      T* to = static_cast<T*>(c.output) + ((row * c.S + i * size + r) * c.H + head) * c.d;
      const __m512 part = _mm512_set1_ps(1 / total[r]);
      for (int64_t f = 0; f < c.d; f += kLanes)
        store16(to + f, _mm512_mul_ps(load16(out + r * c.d + f), part));
      lse[r] = top[r] + std::log2(total[r]);
    }
  }

  // The query blocks part, part + parts, ... of all query heads of one key-value head.
  void run(int64_t row, int64_t head, int64_t part, int64_t parts) {
    const Blocks blocks(c, row);
    pack(blocks, row, head);
    const int64_t group = c.H / c.K;
    for (int64_t h = head * group; h < (head + 1) * group; ++h)
      for (int64_t i = part; i < blocks.count; i += parts) {
        copy_rows(
            at_token<T>(c.query, c.q, row, h, i * size), c.q.token, blocks.rows(i), c.d, query,
            size);
        std::fill(top, top + size, -kNever);
        std::fill(total, total + size, 0.0f);
        const int64_t begin = blocks.first_block(i) * size, end = (i + 1) * size;
        for (int64_t base = begin; base < end; base += chunk)
          attend(blocks, i, base, std::min(chunk, end - base), base == begin);
        finish(blocks, row, h, i);
      }
  }
};

template <typename T>
struct Backward {
  const Call& c;
  const int64_t size = block_of(c.S), padded = (c.S + size - 1) / size * size;
  const float scale = 1 / std::sqrt(static_cast<float>(c.d));
  // A: k [S, d], k^T [blocks][d, size], v; B: q^T, q, dO^T, dO by blocks
  T *key_rows, *key_columns, *value_rows, *query_t, *query, *grad_t, *grad;
  T *weights, *dscore, *dscore_b;
  float *scores, *dweights, *dq, *dk, *dv, *lse, *dot;

  size_t bytes() const {
    return 7 * Scratch::need<T>(padded * c.d) + 3 * Scratch::need<T>(size * size) +
        2 * Scratch::need<float>(size * size) + 3 * Scratch::need<float>(padded * c.d) +
        2 * Scratch::need<float>(padded);
  }

  Backward(const Call& call, Scratch& scratch) : c(call) {
    scratch.start(bytes());
    for (T** whole :
         {&key_rows, &key_columns, &value_rows, &query_t, &query, &grad_t, &grad})
      *whole = scratch.take<T>(padded * c.d);
    for (T** tile : {&weights, &dscore, &dscore_b}) *tile = scratch.take<T>(size * size);
    for (float** tile : {&scores, &dweights}) *tile = scratch.take<float>(size * size);
    for (float** whole : {&dq, &dk, &dv}) *whole = scratch.take<float>(padded * c.d);
    lse = scratch.take<float>(padded);
    dot = scratch.take<float>(padded);
  }

  void pack_keys(const Blocks& blocks, int64_t row, int64_t head) {
    for (int64_t j = 0; j < blocks.count; ++j) {
      const int64_t at = j * size, rows = blocks.rows(j);
      const T* key = at_token<T>(c.key, c.k, row, head, at);
      copy_rows(key, c.k.token, rows, c.d, key_rows + at * c.d, size);
      // query_t is free until pack_queries
      pack_transposed(key, c.k.token, rows, c.d, query_t, size);
      unzip(query_t, key_columns + at * c.d, c.d, size);
      copy_rows(
          at_token<T>(c.value, c.v, row, head, at), c.v.token, rows, c.d, value_rows + at * c.d,
          size);
    }
  }

  void pack_queries(const Blocks& blocks, int64_t row, int64_t head) {
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t at = i * size, rows = blocks.rows(i);
      const T* q = at_token<T>(c.query, c.q, row, head, at);
      const T* g = at_token<T>(c.gradient, c.grad, row, head, at);
      pack_transposed(q, c.q.token, rows, c.d, query_t + at * c.d, size);
      pack_rows(q, c.q.token, rows, c.d, query + at * c.d, size);
      pack_transposed(g, c.grad.token, rows, c.d, grad_t + at * c.d, size);
      pack_rows(g, c.grad.token, rows, c.d, grad + at * c.d, size);
      const T* o = at_token<T>(c.output, c.out, row, head, at);
      const float* saved = c.lse + (row * c.H + head) * c.S + at;
      for (int64_t r = 0; r < size; ++r) {
        __m512 sum = _mm512_setzero_ps();
        if (r < rows)
          for (int64_t f = 0; f < c.d; f += kLanes)
            sum = _mm512_fmadd_ps(
                load16(g + r * c.grad.token + f), load16(o + r * c.out.token + f), sum);
        dot[at + r] = _mm512_reduce_add_ps(sum);
        lse[at + r] = r < rows ? saved[r] : kNever;
      }
    }
  }

  // P^T and dS^T (without the scale) of keys j and queries i, from their scores and dP^T.
  template <bool masked>
  void differentiate(const Blocks& blocks, int64_t i, int64_t j) {
    const __m512 factor = _mm512_set1_ps(scale * kLog2e);
    for (int64_t column = 0; column < size; column += kLanes) {
      const int64_t at = i * size + column;
      const __m512 total = load16(lse + at), inner = load16(dot + at);
      const __m512i place = _mm512_add_epi32(
          _mm512_set1_epi32(static_cast<int>(at)),
          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
      __m512i begin = _mm512_setzero_si512();
      if (masked && blocks.starts)
        begin = _mm512_maskz_loadu_epi32(first_lanes(c.S - at), blocks.starts + at);
      const auto one = [&](int64_t r, __m512& ds) {
        const float* s = scores + r * size + column;
        __m512 p = exp2(_mm512_fmsub_ps(load16(s), factor, total));
        if (masked) {
          const __m512i key = _mm512_set1_epi32(static_cast<int>(j * size + r));
          const __mmask16 seen = _mm512_mask_cmp_epi32_mask(
              _mm512_cmp_epi32_mask(begin, key, _MM_CMPINT_LE), key, place, _MM_CMPINT_LE);
          p = _mm512_maskz_mov_ps(seen, p);
        }
        ds = _mm512_mul_ps(p, _mm512_sub_ps(load16(dweights + r * size + column), inner));
        store16(weights + r * size + column, p);
        store16(dscore + r * size + column, ds);
      };
      for (int64_t r = 0; r < size; r += 2) {
        __m512 even, odd;
        one(r, even);
        one(r + 1, odd);
        store_pair(dscore_b + r * size + column * pair, size, even, odd);
      }
    }
  }

  static constexpr int64_t pair = 4 / sizeof(T);  // numbers in a word of B

  void visit(const Blocks& blocks, int64_t i, int64_t j, bool first_query) {
    const int64_t d = c.d, from = i * size * d, to = j * size * d;
    multiply(size, size, d, d, size, size, false, key_rows + to, query_t + from, scores);
    multiply(size, size, d, d, size, size, false, value_rows + to, grad_t + from, dweights);
    if (blocks.open(i, j))
      differentiate<false>(blocks, i, j);
    else
      differentiate<true>(blocks, i, j);
    multiply(size, d, size, size, d, d, !first_query, weights, grad + from, dv + to);
    multiply(size, d, size, size, d, d, !first_query, dscore, query + from, dk + to);
    const bool first_key = j == blocks.first_block(i);
    multiply(d, size, size, size, size, size, !first_key, key_columns + to, dscore_b, dq + from);
  }

  void write_query(const Blocks& blocks, int64_t row, int64_t head) {
    float* rows = scores;  // a tile's worth at a time: 16 features of a block
    for (int64_t i = 0; i < blocks.count; ++i)
      for (int64_t f = 0; f < c.d; f += kLanes) {
        transpose_words(dq + (i * c.d + f) * size, size * 4, kLanes, size, rows, kLanes);
        for (int64_t r = 0; r < blocks.rows(i); ++r) {
          T* to = static_cast<T*>(c.dq) + ((row * c.S + i * size + r) * c.H + head) * c.d + f;
          store16(to, _mm512_mul_ps(load16(rows + r * kLanes), _mm512_set1_ps(scale)));
        }
      }
  }

  void write_keys(int64_t row, int64_t head, int64_t token, int64_t rows) {
    for (int64_t r = token; r < token + rows; ++r)
      for (int64_t f = 0; f < c.d; f += kLanes) {
        const int64_t at = ((row * c.S + r) * c.K + head) * c.d + f;
        const __m512 dkey = _mm512_mul_ps(load16(dk + r * c.d + f), _mm512_set1_ps(scale));
        store16(static_cast<T*>(c.dk) + at, dkey);
        store16(static_cast<T*>(c.dv) + at, load16(dv + r * c.d + f));
      }
  }

  void run(int64_t row, int64_t head, int64_t, int64_t) {
    const Blocks blocks(c, row);
    pack_keys(blocks, row, head);
    const int64_t group = c.H / c.K;
    for (int64_t h = head * group; h < (head + 1) * group; ++h) {
      const bool first = h == head * group, last = h + 1 == (head + 1) * group;
      pack_queries(blocks, row, h);
      for (int64_t j = 0; j < blocks.count; ++j) {
        for (int64_t i = j; i < blocks.count; ++i)
          if (j >= blocks.first_block(i)) visit(blocks, i, j, first && i == j);
        if (last) write_keys(row, head, j * size, blocks.rows(j));
      }
      write_query(blocks, row, h);
    }
  }
};

// Hand the tasks to threads; 0, 1 where there is no kernel for this CPU, 2 where memory is out.
template <typename Task>
int spread(const Call& c, int64_t parts) {
  const int64_t tasks = c.B * c.K * parts;
  std::atomic<int64_t> next{0};
  std::atomic<int> failed{0};
#pragma omp parallel num_threads(static_cast<int>(std::min(c.threads, tasks)))
  {
    static thread_local Scratch scratch;
    try {
      Task task(c, scratch);
      for (int64_t t = next++; t < tasks && !failed; t = next++)
        task.run(t / parts / c.K, t / parts % c.K, t % parts, parts);
    } catch (const std::bad_alloc&) {
      failed = 2;
    } catch (...) {  // brgemm has no kernel for this CPU
      failed = 1;
    }
    at::native::cpublas::brgemm_release();
  }
  return failed;
}

}  // namespace

extern "C" {

// What the caller's layout of Call must agree with.
int64_t minna_attention_call_bytes() { return sizeof(Call); }

int minna_attention_forward(const Call* call, int is_bf16) {
  // too few heads for the threads: share the query blocks of a head, each with its own packed keys
  const int64_t heads = call->B * call->K;
  const int64_t parts = heads >= 2 * call->threads ? 1 : std::min<int64_t>(call->threads, 8);
  return is_bf16 ? spread<Forward<BFloat16>>(*call, parts) : spread<Forward<float>>(*call, parts);
}

int minna_attention_backward(const Call* call, int is_bf16) {
  return is_bf16 ? spread<Backward<BFloat16>>(*call, 1) : spread<Backward<float>>(*call, 1);
}
}
