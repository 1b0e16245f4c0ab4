// One token for every row in one call: all layers, from token ids to logits, in one parallel region
// (the operators of torch cost more than the matrices of a small model). Arithmetic is fp32; only
// what a matrix multiplies is rounded, as linear.h says. A row's numbers never depend on the other
// rows: the same code runs for each, in the same order.

#include <atomic>
#include <cmath>

#include "linear.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace minna {

enum Activation : int64_t { GELU = 0, GELU_TANH = 1, SILU = 2 };

struct Norm {
  const float* weight;
  const float* bias;  // null: RMS
};

struct Layer {
  Norm attention_norm, mlp_norm;
  Matrix qkv, out, up, gate, down;  // gate without data: a plain MLP
  const float* q_norm;              // null: none
  const float* k_norm;
};

struct Model {
  int64_t layers, width, heads, kv_heads, head, ffn, vocab, context, rotated;
  int64_t rms, activation, parallel, embed_kind, cache_kind;
  double eps;
  const void* embed;
  const void* positions;  // null: rotary
  const float* cos;
  const float* sin;
  const Layer* layer;
  Norm final_norm;
  Matrix out;
};

struct Step {
  int64_t rows;
  const int64_t* tokens;
  const int64_t* places;  // tokens each row already holds
  void* const* keys;      // a block [rows, kv_heads, capacity, head] for each layer
  void* const* values;
  int64_t capacity;
  float* logits;  // [rows][vocab]
};

inline void normalise(const Model& m, const Norm& norm, const float* from, float* to) {
  const int64_t D = m.width;
  float mean = 0.0f;
  if (!m.rms) {
    __m512 total = _mm512_setzero_ps();
    for (int64_t i = 0; i < D; i += 16)
      total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(first(D - i), from + i));
    mean = _mm512_reduce_add_ps(total) / float(D);
  }
  const __m512 middle = _mm512_set1_ps(mean);
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < D; i += 16) {
    const __mmask16 mask = first(D - i);
    const __m512 v = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, from + i), middle);
    squares = _mm512_fmadd_ps(v, v, squares);
  }
  const float scale = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / float(D) + float(m.eps));
  for (int64_t i = 0; i < D; i += 16) {
    const __mmask16 mask = first(D - i);
    const __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, from + i), middle);
    const __m512 weight =
        _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, norm.weight + i), _mm512_set1_ps(scale));
    const __m512 bias =
        norm.bias ? _mm512_maskz_loadu_ps(mask, norm.bias + i) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(to + i, mask, _mm512_fmadd_ps(v, weight, bias));
  }
}

inline void norm_head(float* v, const float* weight, int64_t head, double eps) {
  const float scale = 1.0f / std::sqrt(dot(v, v, head) / float(head) + float(eps));
  for (int64_t i = 0; i < head; ++i) v[i] *= scale * weight[i];
}

inline void rotate(float* v, const float* cos, const float* sin, int64_t rotated) {
  const int64_t half = rotated / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float left = v[i], right = v[i + half];
    v[i] = std::fma(left, cos[i], -right * sin[i]);
    v[i + half] = std::fma(right, cos[i + half], left * sin[i + half]);
  }
}

inline __m512 load(const float* at, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, at); }
inline __m512 load(const bf16* at, __mmask16 mask) {
  return widen(_mm256_maskz_loadu_epi16(mask, at));
}
inline void store(float* at, __mmask16 mask, __m512 v) { _mm512_mask_storeu_ps(at, mask, v); }
inline void store(bf16* at, __mmask16 mask, __m512 v) {
  _mm256_mask_storeu_epi16(at, mask, narrow(v));
}

// One query [head] over `count` keys and values; `scores` has room for count + 16. WHOLE: the head
// is whole vectors of 16, so nothing is masked.
template <class T, bool WHOLE>
void attend(
    const float* query, const T* keys, const T* values, int64_t count, int64_t head, float* scores,
    float* out) {
  const auto mask_at = [&](int64_t c) { return WHOLE ? __mmask16(0xffff) : first(head - c); };
  const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(float(head)));
  __m512 top = _mm512_set1_ps(-INFINITY);
  for (int64_t t = 0; t < count; t += 16) {
    __m512 part[16];
    const int64_t here = std::min<int64_t>(16, count - t);
    for (auto& v : part) v = _mm512_setzero_ps();
    for (int64_t c = 0; c < head; c += 16) {
      const __m512 q = load(query + c, mask_at(c));
      const T* key = keys + t * head + c;
      if (here == 16) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < 16; ++i)
          part[i] = _mm512_fmadd_ps(load(key + i * head, mask_at(c)), q, part[i]);
      } else {
        for (int64_t i = 0; i < here; ++i)
          part[i] = _mm512_fmadd_ps(load(key + i * head, mask_at(c)), q, part[i]);
      }
    }
    const __m512 score = _mm512_mask_mov_ps(
        _mm512_set1_ps(-INFINITY), first(here), _mm512_mul_ps(sums(part), scale));
    _mm512_storeu_ps(scores + t, score);
    top = _mm512_max_ps(top, score);
  }
  const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(top));
  __m512 total = _mm512_setzero_ps();
  for (int64_t t = 0; t < count; t += 16) {
    const __m512 weight = _mm512_maskz_mov_ps(
        first(count - t), exp_ps(_mm512_sub_ps(_mm512_loadu_ps(scores + t), most)));
    _mm512_storeu_ps(scores + t, weight);
    total = _mm512_add_ps(total, weight);
  }
  const __m512 share = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(total));
  for (int64_t c = 0; c < head; c += 64) {  // 64 features side by side: as many chains of sums
    const int64_t vectors = std::min<int64_t>(4, (head - c + 15) / 16);
    __m512 sum[4];
    for (auto& v : sum) v = _mm512_setzero_ps();
    const T* value = values + c;
    for (int64_t t = 0; t < count; ++t, value += head) {
      const __m512 weight = _mm512_set1_ps(scores[t]);
      if (WHOLE && vectors == 4) {
#pragma GCC unroll 4
        for (int64_t i = 0; i < 4; ++i)
          sum[i] = _mm512_fmadd_ps(load(value + 16 * i, 0xffff), weight, sum[i]);
      } else {
        for (int64_t i = 0; i < vectors; ++i)
          sum[i] = _mm512_fmadd_ps(load(value + 16 * i, mask_at(c + 16 * i)), weight, sum[i]);
      }
    }
    for (int64_t i = 0; i < vectors; ++i)
      _mm512_mask_storeu_ps(out + c + 16 * i, mask_at(c + 16 * i), _mm512_mul_ps(sum[i], share));
  }
}

// Everything between the matrices of one row and key-value head.
template <class T>
void attend_head(
    const Model& m, const Layer& layer, const Step& step, int64_t number, int64_t row, int64_t kv,
    float* qkv, float* scores, float* out) {
  const int64_t h = m.head, group = m.heads / m.kv_heads, at = step.places[row];
  float* key = qkv + (m.heads + kv) * h;
  const float* value = qkv + (m.heads + m.kv_heads + kv) * h;
  const float* cos = m.cos + at * m.rotated;
  const float* sin = m.sin + at * m.rotated;
  if (layer.k_norm) norm_head(key, layer.k_norm, h, m.eps);
  rotate(key, cos, sin, m.rotated);
  const int64_t place = (row * m.kv_heads + kv) * step.capacity * h;
  T* keys = static_cast<T*>(step.keys[number]) + place;
  T* values = static_cast<T*>(step.values[number]) + place;
  for (int64_t c = 0; c < h; c += 16) {
    const __mmask16 mask = first(h - c);
    store(keys + at * h + c, mask, load(key + c, mask));
    store(values + at * h + c, mask, load(value + c, mask));
  }
  for (int64_t q = kv * group; q < (kv + 1) * group; ++q) {
    if (layer.q_norm) norm_head(qkv + q * h, layer.q_norm, h, m.eps);
    rotate(qkv + q * h, cos, sin, m.rotated);
    if (h % 16 == 0)
      attend<T, true>(qkv + q * h, keys, values, at + 1, h, scores, out + q * h);
    else
      attend<T, false>(qkv + q * h, keys, values, at + 1, h, scores, out + q * h);
  }
}

inline void activate(int64_t kind, float* v) {
  for (int64_t i = 0; i < BLOCK; i += 16) {
    const __m512 x = _mm512_loadu_ps(v + i);
    _mm512_storeu_ps(v + i, kind == SILU ? silu_ps(x) : kind == GELU ? gelu_ps(x) : gelu_tanh_ps(x));
  }
}

// What one thread does of a step; all threads run this side by side and wait for each other where
// one needs what all have written.
class Worker {
 public:
  Worker(const Model& model, const Step& step, float* shared, uint8_t* own)
      : m(model), s(step), B(step.rows), own_(own) {
    const int64_t inner = m.heads * m.head;
    x = shared;
    qkv = x + B * m.width;
    attended = qkv + B * (inner + 2 * m.kv_heads * m.head);
    hidden = attended + B * inner;
    more_ = own + Inputs::bytes(B, widest(m));
    scores_ = reinterpret_cast<float*>(more_ + Inputs::bytes(B, widest(m)));
    normed_ = scores_ + padded(m.context, 16) + 16;
  }

  static int64_t widest(const Model& m) {
    return std::max({m.width, m.ffn, m.heads * m.head});
  }
  static int64_t shared_floats(const Model& m, int64_t B) {
    return B * (m.width + 2 * m.heads * m.head + 2 * m.kv_heads * m.head + m.ffn);
  }
  static int64_t own_bytes(const Model& m, int64_t B) {
    return 2 * Inputs::bytes(B, widest(m)) + 4 * (padded(m.context, 16) + 16 + m.width) + 64;
  }

  void run() {
    share(B, [&](int64_t row) { embed(row); });
#pragma omp barrier
    for (int64_t number = 0; number < m.layers; ++number) {
      const Layer& layer = m.layer[number];
      write(layer.qkv, prepare(layer.qkv, layer.attention_norm, own_), qkv);
      if (m.parallel) feed(layer);
#pragma omp barrier
      share(B * m.kv_heads, [&](int64_t pair) { look(layer, number, pair); });
#pragma omp barrier
      add(layer.out, prepare(layer.out, attended, own_));
      if (!m.parallel) {
#pragma omp barrier
        feed(layer);
#pragma omp barrier
      }
      add(layer.down, prepare(layer.down, hidden, own_));
#pragma omp barrier
    }
    write(m.out, prepare(m.out, m.final_norm, own_), s.logits);
  }

 private:
  template <class Job>
  void share(int64_t count, const Job& job) {
    const int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    for (int64_t i = me; i < count; i += threads) job(i);
  }

  // Neighbouring blocks to one thread: one stream of memory each.
  template <class Job>
  void tiles(const Matrix& matrix, const Job& job) {
    const int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    const int64_t count = blocks_of(matrix);
    for (int64_t block = count * me / threads; block < count * (me + 1) / threads; ++block) {
      const int64_t wide = std::min(BLOCK, matrix.outputs - block * BLOCK);
      for (int64_t row = 0; row < B; row += ROWS)
        job(block, wide, row, std::min(ROWS, B - row));
    }
  }

  void embed(int64_t row) {
    const int64_t D = m.width;
    for (int64_t i = 0; i < D; i += 16) {
      const __mmask16 mask = first(D - i);
      __m512 v = table(m.embed, s.tokens[row] * D + i, mask);
      if (m.positions) v = _mm512_add_ps(v, table(m.positions, s.places[row] * D + i, mask));
      _mm512_mask_storeu_ps(x + row * D + i, mask, v);
    }
  }

  __m512 table(const void* from, int64_t at, __mmask16 mask) const {
    if (m.embed_kind == BF16) return load(static_cast<const bf16*>(from) + at, mask);
    return load(static_cast<const float*>(from) + at, mask);
  }

  Inputs prepare(const Matrix& matrix, const Norm& norm, uint8_t* scratch) {
    const Inputs to = place(matrix.kind, matrix.inputs, B, scratch);
    for (int64_t row = 0; row < B; ++row) {
      normalise(m, norm, x + row * m.width, normed_);
      put_row(normed_, m.width, row, to);
    }
    return to;
  }

  Inputs prepare(const Matrix& matrix, const float* from, uint8_t* scratch) {
    const Inputs to = place(matrix.kind, matrix.inputs, B, scratch);
    for (int64_t row = 0; row < B; ++row)
      put_row(from + row * matrix.inputs, matrix.inputs, row, to);
    return to;
  }

  void write(const Matrix& matrix, const Inputs& in, float* to) {
    tiles(matrix, [&](int64_t block, int64_t wide, int64_t row, int64_t rows) {
      Tile out;
      tile(matrix, block, in, row, rows, out);
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(to + (row + r) * matrix.outputs + block * BLOCK, out[r], size_t(wide) * 4);
    });
  }

  void add(const Matrix& matrix, const Inputs& in) {
    tiles(matrix, [&](int64_t block, int64_t wide, int64_t row, int64_t rows) {
      Tile out;
      tile(matrix, block, in, row, rows, out);
      for (int64_t r = 0; r < rows; ++r) {
        float* to = x + (row + r) * m.width + block * BLOCK;
        for (int64_t i = 0; i < wide; ++i) to[i] += out[r][i];
      }
    });
  }

  void feed(const Layer& layer) {
    const Inputs in = prepare(layer.up, layer.mlp_norm, more_);
    tiles(layer.up, [&](int64_t block, int64_t wide, int64_t row, int64_t rows) {
      Tile up, gate;
      tile(layer.up, block, in, row, rows, up);
      if (layer.gate.data) tile(layer.gate, block, in, row, rows, gate);
      for (int64_t r = 0; r < rows; ++r) {
        float* to = up[r];
        if (layer.gate.data) {
          activate(m.activation, gate[r]);
          for (int64_t i = 0; i < BLOCK; ++i) to[i] *= gate[r][i];
        } else {
          activate(m.activation, to);
        }
        std::memcpy(hidden + (row + r) * m.ffn + block * BLOCK, to, size_t(wide) * 4);
      }
    });
  }

  void look(const Layer& layer, int64_t number, int64_t pair) {
    const int64_t row = pair / m.kv_heads, kv = pair % m.kv_heads, inner = m.heads * m.head;
    float* mine = qkv + row * (inner + 2 * m.kv_heads * m.head);
    float* out = attended + row * inner;
    if (m.cache_kind == BF16)
      attend_head<bf16>(m, layer, s, number, row, kv, mine, scores_, out);
    else
      attend_head<float>(m, layer, s, number, row, kv, mine, scores_, out);
  }

  const Model& m;
  const Step& s;
  const int64_t B;
  uint8_t *own_, *more_;
  float *x, *qkv, *attended, *hidden, *scores_, *normed_;
};

// Threads that pay: a barrier costs about a microsecond, in which a thread reads 32 KB. One or all of
// them: libgomp ends the threads that a smaller team leaves out, and with them what they keep.
inline int threads_for(int64_t bytes) { return bytes < 131072 ? 1 : omp_get_max_threads(); }

// What `job` threw as a number, since nothing may leave a parallel region.
enum Outcome : int { DONE = 0, NO_MEMORY = 1, NO_KERNEL = 2 };

template <class Job>
int outcome(const Job& job) {
  try {
    job();
    return DONE;
  } catch (const std::bad_alloc&) {
    return NO_MEMORY;
  } catch (...) {  // brgemm: no such kernel for this CPU, or oneDNN is switched off
    return NO_KERNEL;
  }
}

// A block of outputs times some rows; inputs a piece at a time, so that both sides stay in L2.
template <class T, class Out>
void block_of_many(
    const Matrix& m, int64_t block, int64_t rows, const T* x, const T* weights, float* part,
    Out* out) {
  constexpr int64_t PIECE = 1024;
  const int64_t K = padded(m.inputs, PAD), wide = std::min(BLOCK, m.outputs - block * BLOCK);
  for (int64_t k = 0; k < K; k += PIECE)
    // a kernel is made for every number of rows: multiples of 8 keep those few
    multiply(padded(rows, 8), std::min(PIECE, K - k), K, k > 0, x + k, weights + k * BLOCK, part);
  for (int64_t r = 0; r < rows; ++r) {
    Out* to = out + r * m.outputs + block * BLOCK;
    for (int64_t i = 0; i < wide; i += 16) {
      __m512 v = _mm512_loadu_ps(part + r * BLOCK + i);
      if (m.bias) v = _mm512_add_ps(v, _mm512_loadu_ps(m.bias + block * BLOCK + i));
      store(to + i, first(wide - i), v);
    }
  }
}

// The products of many rows: blocks of decoded weights against 64 rows at a time, in panels of rows
// that stay in the cache while all blocks pass (without them fp32 lost a quarter at 4,096 rows).
template <class T, class Out>
int many(const Matrix& m, int64_t M, const T* x, Out* out) {
  constexpr int64_t CHUNK = 64;
  const int64_t K = padded(m.inputs, PAD), count = blocks_of(m);
  const bool ready = m.kind == (sizeof(T) == 4 ? FP32 : BF16);
  const int64_t panel =
      ready ? std::max<int64_t>(4 * CHUNK, (1 << 20) / (K * int64_t(sizeof(T))) / CHUNK * CHUNK)
            : 16 * CHUNK;  // each panel decodes the weights anew
  std::atomic<int> failed{DONE};
  const auto mine = [&](int64_t me, int64_t threads) {
    static thread_local Scratch kept_weights, kept_tile;
    T* decoded = ready ? nullptr : kept_weights.get<T>(K * BLOCK);
    float* part = kept_tile.get<float>(CHUNK * BLOCK);
    for (int64_t begin = 0; begin < M; begin += panel)
      for (int64_t block = count * me / threads; block < count * (me + 1) / threads; ++block) {
        const T* weights = reinterpret_cast<const T*>(m.data + block * block_bytes(m.kind, m.inputs));
        if (!ready) {
          decode_block(m, block, decoded);
          weights = decoded;
        }
        const int64_t end = std::min(M, begin + panel);
        for (int64_t row = begin; row < end; row += CHUNK)
          block_of_many(m, block, std::min(CHUNK, end - row), x + row * K, weights, part,
                        out + row * m.outputs);
      }
  };
#pragma omp parallel num_threads(threads_for(count * BLOCK * K * std::max<int64_t>(1, M / 16)))
  {
    const int found = outcome([&] { mine(omp_get_thread_num(), omp_get_num_threads()); });
    if (found != DONE) failed = found;
    at::native::cpublas::brgemm_release(sizeof(T) == 2);
  }
  return failed;
}

// Rows as `many` wants them: padded to whole groups of inputs and of rows, rounded to T.
template <class T, class From>
const T* lay(const Matrix& m, int64_t M, const From* x, Scratch& kept) {
  const int64_t K = padded(m.inputs, PAD), rows = padded(M, 8);
  T* to = kept.get<T>(rows * K);
#pragma omp parallel for schedule(static) num_threads(threads_for(rows * K))
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < K; i += 16) {
      const __mmask16 mask = row < M && i < m.inputs ? first(m.inputs - i) : __mmask16(0);
      store(to + row * K + i, 0xffff, load(x + (mask ? row * m.inputs + i : 0), mask));
    }
  return to;
}

template <class From>
void few(const Matrix& m, int64_t M, const From* x, From* out, Scratch& kept) {
  uint8_t* scratch = kept.get<uint8_t>(Inputs::bytes(M, m.inputs) + m.inputs * 4 + 64);
  float* wide = reinterpret_cast<float*>(scratch + Inputs::bytes(M, m.inputs));
  const Inputs in = place(m.kind, m.inputs, M, scratch);
  for (int64_t row = 0; row < M; ++row) {
    for (int64_t i = 0; i < m.inputs; i += 16) {
      const __mmask16 mask = first(m.inputs - i);
      _mm512_mask_storeu_ps(wide + i, mask, load(x + row * m.inputs + i, mask));
    }
    put_row(wide, m.inputs, row, in);
  }
  const int64_t count = blocks_of(m), bytes = block_bytes(m.kind, m.inputs);
#pragma omp parallel for schedule(static) num_threads(threads_for(count * bytes))
  for (int64_t block = 0; block < count; ++block)
    for (int64_t row = 0; row < M; row += ROWS) {
      Tile part;
      const int64_t rows = std::min(ROWS, M - row);
      tile(m, block, in, row, rows, part);
      const int64_t here = std::min(BLOCK, m.outputs - block * BLOCK);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t i = 0; i < here; i += 16)
          store(out + (row + r) * m.outputs + block * BLOCK + i, first(here - i),
                _mm512_loadu_ps(part[r] + i));
    }
}

constexpr int64_t FEW = 16;  // up to so many rows the tiles for decoding are faster

// int8 and int4 always take the way of many rows here: 8-bit inputs for a short prompt and bf16 for
// a long one would make an answer depend on which prompts were read together.

template <class From>
int product(const Matrix& m, int64_t M, const From* x, From* out) {
  static thread_local Scratch kept;
  if (M <= FEW && (m.kind == FP32 || m.kind == BF16)) {
    few(m, M, x, out, kept);
    return DONE;
  }
  if (m.kind == BF16 || (m.kind != FP32 && sizeof(From) == 2))
    return many<bf16>(m, M, lay<bf16>(m, M, x, kept), out);
  return many<float>(m, M, lay<float>(m, M, x, kept), out);
}

}  // namespace minna

using namespace minna;

extern "C" {

int64_t packed_bytes(int64_t kind, int64_t outputs, int64_t inputs) {
  return padded(outputs, BLOCK) / BLOCK * block_bytes(kind, inputs);
}

// Ask for large pages before the first touch: a stream of weights then misses no page table.
void large_pages(void* from, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t page = 4096, begin = (uintptr_t(from) + page - 1) / page * page;
  const uintptr_t end = (uintptr_t(from) + uintptr_t(bytes)) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Lay out an fp32 matrix [outputs][inputs]; kind is fp32 or bf16.
void pack(int64_t kind, int64_t outputs, int64_t inputs, const float* from, void* to) {
  const int64_t K = padded(inputs, PAD), count = padded(outputs, BLOCK) / BLOCK;
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < count; ++block)
    for (int64_t k = 0; k < K; ++k)
      for (int64_t n = 0; n < BLOCK; ++n) {
        const int64_t row = block * BLOCK + n;
        const float v = row < outputs && k < inputs ? from[row * inputs + k] : 0.0f;
        if (kind == FP32)
          static_cast<float*>(to)[(block * K + k) * BLOCK + n] = v;
        else
          static_cast<bf16*>(to)[block * K * BLOCK + k / 2 * 64 + n * 2 + k % 2] = narrow_one(v);
      }
}

// Lay out groups: q [outputs][groups * group] from 0 on, scales [outputs][groups] in bf16.
void pack_groups(
    int64_t kind, int64_t outputs, int64_t inputs, int64_t groups, const uint8_t* q,
    const bf16* scales, uint8_t* to) {
  const int64_t G = group_of(kind), K = padded(inputs, PAD), count = padded(outputs, BLOCK) / BLOCK;
  const int64_t half = kind == INT4 ? 256 : 1024, bytes = block_bytes(kind, inputs);
  const uint8_t zero = uint8_t(offset_of(kind));
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < count; ++block)
    for (int64_t g = 0; g < K / G; ++g) {
      uint8_t* at = to + block * bytes + g * (2 * half + 64);
      std::memset(at, 0, size_t(2 * half + 64));
      for (int64_t n = 0; n < BLOCK; ++n) {
        const int64_t row = block * BLOCK + n;
        const bool there = row < outputs && g < groups;
        const bf16 scale = there ? scales[row * groups + g] : bf16(0);
        std::memcpy(at + 2 * half + 2 * n, &scale, 2);
        for (int64_t k = 0; k < G; ++k) {
          const uint8_t v = there ? q[(row * groups + g) * G + k] : zero;
          uint8_t* cell = at + half * (n / 16) + n % 16 * 4 + k % 4;
          if (kind == INT4)
            cell[64 * (k / 8)] |= uint8_t(v << (k / 4 % 2 * 4));
          else
            cell[64 * (k / 4)] = v;
        }
      }
    }
}

// out [rows][outputs] of x [rows][inputs], both fp32 or both bf16; an Outcome.
int64_t linear(const Matrix* matrix, int64_t rows, int64_t kind, const void* x, void* out) {
  int found = DONE;
  const int thrown = outcome([&] {
    if (kind == BF16)
      found = product(*matrix, rows, static_cast<const bf16*>(x), static_cast<bf16*>(out));
    else
      found = product(*matrix, rows, static_cast<const float*>(x), static_cast<float*>(out));
  });
  return thrown != DONE ? thrown : found;
}

int64_t layer_bytes() { return sizeof(Layer); }
int64_t model_bytes() { return sizeof(Model); }
int64_t step_bytes() { return sizeof(Step); }

// One token for each row; an Outcome.
int64_t step(const Model* model, const Step* asked) {
  static thread_local Scratch kept, kept_own;
  const Layer& layer = model->layer[0];
  const int64_t bytes = blocks_of(layer.up) * block_bytes(layer.up.kind, layer.up.inputs);
  const int threads = threads_for(bytes);
  return outcome([&] {
    const int64_t own = padded(Worker::own_bytes(*model, asked->rows), 64);
    float* shared = kept.get<float>(Worker::shared_floats(*model, asked->rows));
    uint8_t* each = kept_own.get<uint8_t>(own * threads);
#pragma omp parallel num_threads(threads)
    Worker(*model, *asked, shared, each + own * omp_get_thread_num()).run();  // throws nothing
  });
}
}
