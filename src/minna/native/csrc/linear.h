// A matrix laid out for this CPU, and its product with a few rows (read at the speed of memory) or
// many (decoded to bf16 in scratch, multiplied by oneDNN's brgemm).
//
// Weights come in blocks of 32 outputs, each one stream of memory; inputs are padded to 64.
//   fp32  [K][32]                     bf16  [K/2][32][2]
//   int8  per 64 inputs:  [2 halves][16 steps][16 outputs][4] of q + 128, then 32 scales in bf16
//   int4  per 32 inputs:  [2 halves][4 pairs][16 outputs][4], a step in the low nibbles and the
//         next in the high ones, of q + 8, then 32 scales in bf16
// The offset makes the weights unsigned, as VNNI wants one side; it is taken back by starting each
// sum at -offset times the sum of the inputs.
//
// Inputs of int8 and int4 are rounded to 8 bits, with a scale for each row and group: what a row
// gives never depends on another row.
#pragma once

#include <ATen/native/CPUBlas.h>
#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "vector.h"

namespace minna {

enum Kind : int32_t { FP32 = 0, BF16 = 1, INT8 = 2, INT4 = 3 };

constexpr int64_t BLOCK = 32;  // outputs of a block
constexpr int64_t PAD = 64;    // inputs are padded to this
constexpr int64_t ROWS = 8;    // rows of a tile

struct Matrix {
  int64_t kind, outputs, inputs;
  const uint8_t* data;
  const float* bias;  // padded to whole blocks, or null
};

inline int64_t padded(int64_t count, int64_t to) { return (count + to - 1) / to * to; }
inline int64_t blocks_of(const Matrix& m) { return (m.outputs + BLOCK - 1) / BLOCK; }
inline int64_t group_of(int64_t kind) { return kind == INT4 ? 32 : 64; }
inline int64_t offset_of(int64_t kind) { return kind == INT4 ? 8 : 128; }

inline int64_t block_bytes(int64_t kind, int64_t inputs) {
  const int64_t K = padded(inputs, PAD);
  switch (kind) {
    case FP32: return K * BLOCK * 4;
    case BF16: return K * BLOCK * 2;
    case INT8: return K / 64 * (64 * BLOCK + 2 * BLOCK);
    default: return K / 32 * (16 * BLOCK + 2 * BLOCK);
  }
}

// Aligned scratch that only grows and is kept by its thread.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  template <class T>
  T* get(int64_t count) {
    const size_t bytes = size_t(padded(count * int64_t(sizeof(T)) + 64, 64));
    if (bytes > size_) {
      std::free(data_);
      size_ = 0;
      data_ = std::aligned_alloc(64, bytes);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = bytes;
    }
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Rows of inputs as a matrix wants them.
struct Inputs {
  int64_t kind, K, groups;
  uint8_t* data;   // [rows][K] in fp32, bf16 or int8
  float* scales;   // [rows][groups]
  int32_t* start;  // [rows][groups]: -offset * sum
  static int64_t bytes(int64_t rows, int64_t inputs) {
    const int64_t K = padded(inputs, PAD);
    return rows * (K * 4 + K / 32 * 8) + 64;
  }
};

inline Inputs place(int64_t kind, int64_t inputs, int64_t rows, uint8_t* scratch) {
  Inputs x{kind, padded(inputs, PAD), 0, scratch, nullptr, nullptr};
  x.groups = x.K / group_of(kind);
  x.scales = reinterpret_cast<float*>(scratch + rows * x.K * 4);
  x.start = reinterpret_cast<int32_t*>(x.scales + rows * x.groups);
  return x;
}

inline void quantise_row(const float* from, int64_t count, int64_t row, const Inputs& x) {
  const int64_t G = group_of(x.kind);
  const __m512 sign = _mm512_set1_ps(-0.0f);
  int8_t* to = reinterpret_cast<int8_t*>(x.data) + row * x.K;
  for (int64_t g = 0; g < x.groups; ++g) {
    __m512 v[4], top = _mm512_setzero_ps();
    for (int64_t i = 0; i < G / 16; ++i) {
      const int64_t at = g * G + i * 16;
      v[i] = at < count ? _mm512_maskz_loadu_ps(first(count - at), from + at) : _mm512_setzero_ps();
      top = _mm512_max_ps(top, _mm512_andnot_ps(sign, v[i]));
    }
    const float most = _mm512_reduce_max_ps(top);
    const __m512 by = _mm512_set1_ps(most > 1e-30f ? 127.0f / most : 0.0f);
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < G / 16; ++i) {
      const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], by));
      total = _mm512_add_epi32(total, q);
      _mm_storeu_si128(
          reinterpret_cast<__m128i*>(to + g * G + i * 16), _mm512_cvtsepi32_epi8(q));
    }
    x.scales[row * x.groups + g] = most * (1.0f / 127.0f);
    x.start[row * x.groups + g] = -int32_t(offset_of(x.kind)) * _mm512_reduce_add_epi32(total);
  }
}

inline void put_row(const float* from, int64_t count, int64_t row, const Inputs& x) {
  if (x.kind == INT8 || x.kind == INT4) return quantise_row(from, count, row, x);
  for (int64_t i = 0; i < x.K; i += 16) {
    const __m512 v =
        i < count ? _mm512_maskz_loadu_ps(first(count - i), from + i) : _mm512_setzero_ps();
    if (x.kind == FP32)
      _mm512_storeu_ps(reinterpret_cast<float*>(x.data) + row * x.K + i, v);
    else
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(reinterpret_cast<bf16*>(x.data) + row * x.K + i), narrow(v));
  }
}

inline __m512i dot_bytes(__m512i total, __m512i weights, __m512i inputs) {
#ifdef __AVX512VNNI__
  return _mm512_dpbusd_epi32(total, weights, inputs);
#else
  const __m512i low = _mm512_set1_epi16(0xff);
  const __m512i even = _mm512_madd_epi16(
      _mm512_and_si512(weights, low), _mm512_srai_epi16(_mm512_slli_epi16(inputs, 8), 8));
  const __m512i odd =
      _mm512_madd_epi16(_mm512_srli_epi16(weights, 8), _mm512_srai_epi16(inputs, 8));
  return _mm512_add_epi32(total, _mm512_add_epi32(even, odd));
#endif
}

inline __m512 dot_pairs(__m512 total, __m512i weights, __m512i inputs) {
#ifdef __AVX512BF16__
  return _mm512_dpbf16_ps(total, (__m512bh)weights, (__m512bh)inputs);
#else
  const __m512i high = _mm512_set1_epi32(int(0xffff0000));
  total = _mm512_fmadd_ps(
      _mm512_castsi512_ps(_mm512_slli_epi32(weights, 16)),
      _mm512_castsi512_ps(_mm512_slli_epi32(inputs, 16)), total);
  return _mm512_fmadd_ps(
      _mm512_castsi512_ps(_mm512_and_si512(weights, high)),
      _mm512_castsi512_ps(_mm512_and_si512(inputs, high)), total);
#endif
}

inline __m512i four(const uint8_t* at) {
  int32_t value;
  std::memcpy(&value, at, 4);
  return _mm512_set1_epi32(value);
}

inline void ahead(const uint8_t* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); }

constexpr int64_t AHEAD = 4096;  // bytes; measured: 1 KB loses 10 %, 16 KB gains nothing

using Tile = float[ROWS][BLOCK];

template <int R>
void tile_fp32(const uint8_t* w, const Inputs& x, int64_t row, Tile& out) {
  __m512 sum[2][R];
  for (auto& half : sum) for (auto& v : half) v = _mm512_setzero_ps();
  const float* from = reinterpret_cast<const float*>(x.data) + row * x.K;
  for (int64_t k = 0; k < x.K; ++k, w += 128) {
    ahead(w + AHEAD);
    ahead(w + AHEAD + 64);
    const __m512 left = _mm512_load_ps(w), right = _mm512_load_ps(w + 64);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 value = _mm512_set1_ps(from[r * x.K + k]);
      sum[0][r] = _mm512_fmadd_ps(left, value, sum[0][r]);
      sum[1][r] = _mm512_fmadd_ps(right, value, sum[1][r]);
    }
  }
  for (int h = 0; h < 2; ++h)
    for (int r = 0; r < R; ++r) _mm512_storeu_ps(out[r] + 16 * h, sum[h][r]);
}

template <int R>
void tile_bf16(const uint8_t* w, const Inputs& x, int64_t row, Tile& out) {
  __m512 sum[2][R];
  for (auto& half : sum) for (auto& v : half) v = _mm512_setzero_ps();
  const uint8_t* from = x.data + row * x.K * 2;
  for (int64_t k = 0; k < x.K; k += 2, w += 128) {
    ahead(w + AHEAD);
    ahead(w + AHEAD + 64);
    const __m512i left = _mm512_load_si512(w), right = _mm512_load_si512(w + 64);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i pair = four(from + (r * x.K + k) * 2);
      sum[0][r] = dot_pairs(sum[0][r], left, pair);
      sum[1][r] = dot_pairs(sum[1][r], right, pair);
    }
  }
  for (int h = 0; h < 2; ++h)
    for (int r = 0; r < R; ++r) _mm512_storeu_ps(out[r] + 16 * h, sum[h][r]);
}

inline __m512 scales_of(const uint8_t* at) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

// The 64 bytes of a step of int8, or of two steps of int4, times four inputs of each row.
template <int64_t KIND, int R>
void add_steps(const uint8_t* w, const uint8_t* from, int64_t K, __m512i (&total)[R]) {
  const __m512i all = _mm512_load_si512(w), low = _mm512_set1_epi8(15);
  const __m512i left = KIND == INT4 ? _mm512_and_si512(all, low) : all;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r] = dot_bytes(total[r], left, four(from + r * K));
  if constexpr (KIND == INT4) {
    const __m512i right = _mm512_and_si512(_mm512_srli_epi16(all, 4), low);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) total[r] = dot_bytes(total[r], right, four(from + r * K + 4));
  }
}

template <int64_t KIND, int R>
void tile_groups(const uint8_t* w, const Inputs& x, int64_t row, Tile& out) {
  constexpr int64_t G = KIND == INT4 ? 32 : 64, HALF = KIND == INT4 ? 256 : 1024;
  constexpr int64_t SIZE = 2 * HALF + 64, EACH = G * 64 / HALF;  // inputs of 64 bytes
  const uint8_t* from = x.data + row * x.K;
  const float* scales = x.scales + row * x.groups;
  const int32_t* start = x.start + row * x.groups;
  const auto group = [&](int64_t h, int64_t g, __m512(&sum)[R]) {
    const uint8_t* at = w + g * SIZE;
    __m512i total[R];
    for (int r = 0; r < R; ++r) total[r] = _mm512_set1_epi32(start[r * x.groups + g]);
#pragma GCC unroll 4
    for (int64_t i = 0; i < HALF / 64; ++i)
      add_steps<KIND, R>(at + h * HALF + 64 * i, from + g * G + EACH * i, x.K, total);
    const __m512 scale =
        widen(_mm256_load_si256(reinterpret_cast<const __m256i*>(at + 2 * HALF + 32 * h)));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(scales[r * x.groups + g]));
      sum[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[r]), both, sum[r]);
    }
  };
  const auto fetch = [&](int64_t g) {
    for (int64_t i = 0; i < SIZE; i += 64) ahead(w + g * SIZE + AHEAD + i);
  };
  __m512 left[R], right[R];
  for (int r = 0; r < R; ++r) left[r] = right[r] = _mm512_setzero_ps();
  if constexpr (R <= 4 || KIND == INT8) {
    for (int64_t g = 0; g < x.groups; ++g) {
      fetch(g);
      group(0, g, left);
      group(1, g, right);
    }
  } else {  // too few registers for all sums; the second pass comes out of the cache
    for (int64_t g = 0; g < x.groups; ++g) {
      fetch(g);
      group(0, g, left);
    }
    for (int64_t g = 0; g < x.groups; ++g) group(1, g, right);
  }
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(out[r], left[r]);
    _mm512_storeu_ps(out[r] + 16, right[r]);
  }
}

template <int R>
void tile_of(const Matrix& m, int64_t block, const Inputs& x, int64_t row, Tile& out) {
  const uint8_t* w = m.data + block * block_bytes(m.kind, m.inputs);
  switch (m.kind) {
    case FP32: tile_fp32<R>(w, x, row, out); break;
    case BF16: tile_bf16<R>(w, x, row, out); break;
    case INT8: tile_groups<INT8, R>(w, x, row, out); break;
    default: tile_groups<INT4, R>(w, x, row, out);
  }
  if (m.bias == nullptr) return;
  const __m512 left = _mm512_loadu_ps(m.bias + block * BLOCK);
  const __m512 right = _mm512_loadu_ps(m.bias + block * BLOCK + 16);
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(out[r], _mm512_add_ps(_mm512_loadu_ps(out[r]), left));
    _mm512_storeu_ps(out[r] + 16, _mm512_add_ps(_mm512_loadu_ps(out[r] + 16), right));
  }
}

// 32 outputs of up to 8 rows, bias included.
inline void tile(
    const Matrix& m, int64_t block, const Inputs& x, int64_t row, int64_t rows, Tile& out) {
  switch (rows) {
    case 1: return tile_of<1>(m, block, x, row, out);
    case 2: return tile_of<2>(m, block, x, row, out);
    case 3: return tile_of<3>(m, block, x, row, out);
    case 4: return tile_of<4>(m, block, x, row, out);
    case 5: return tile_of<5>(m, block, x, row, out);
    case 6: return tile_of<6>(m, block, x, row, out);
    case 7: return tile_of<7>(m, block, x, row, out);
    default: return tile_of<8>(m, block, x, row, out);
  }
}

// A block of int8 or int4 as [K/2][32][2] bf16 or [K][32] fp32.
template <class T>
void decode_block(const Matrix& m, int64_t block, T* to) {
  const int64_t K = padded(m.inputs, PAD), G = group_of(m.kind), half = m.kind == INT4 ? 256 : 1024;
  const uint8_t* w = m.data + block * block_bytes(m.kind, m.inputs);
  const __m512i mask = _mm512_set1_epi32(m.kind == INT4 ? 15 : 255);
  const __m512i offset = _mm512_set1_epi32(int(offset_of(m.kind)));
  for (int64_t g = 0; g < K / G; ++g, w += 2 * half + 64) {
    for (int64_t h = 0; h < 2; ++h) {
      const __m512 scale =
          widen(_mm256_load_si256(reinterpret_cast<const __m256i*>(w + 2 * half + 32 * h)));
      for (int64_t step = 0; step < G / 4; ++step) {
        __m512i all = m.kind == INT4 ? _mm512_load_si512(w + half * h + 64 * (step / 2))
                                     : _mm512_load_si512(w + half * h + 64 * step);
        if (m.kind == INT4 && step % 2) all = _mm512_srli_epi32(all, 4);
        __m512 v[4];
        for (int j = 0; j < 4; ++j) {
          const __m512i q =
              _mm512_and_si512(_mm512_srl_epi32(all, _mm_cvtsi32_si128(8 * j)), mask);
          v[j] = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(q, offset)), scale);
        }
        const int64_t k = g * G + step * 4;
        if constexpr (sizeof(T) == 4) {
          for (int j = 0; j < 4; ++j) _mm512_storeu_ps(to + (k + j) * BLOCK + 16 * h, v[j]);
        } else {
          for (int j = 0; j < 4; j += 2) {
            const __m512i even = _mm512_cvtepu16_epi32(narrow(v[j]));
            const __m512i odd = _mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow(v[j + 1])), 16);
            _mm512_storeu_si512(to + (k + j) * BLOCK + 32 * h, _mm512_or_si512(even, odd));
          }
        }
      }
    }
  }
}

inline void multiply(
    int64_t M, int64_t K, int64_t stride, bool add, const bf16* a, const bf16* b, float* c) {
  at::native::cpublas::brgemm(
      M, BLOCK, K, stride, BLOCK, BLOCK, add, reinterpret_cast<const at::BFloat16*>(a),
      reinterpret_cast<const at::BFloat16*>(b), c, true);
}

inline void multiply(
    int64_t M, int64_t K, int64_t stride, bool add, const float* a, const float* b, float* c) {
  at::native::cpublas::brgemm(M, BLOCK, K, stride, BLOCK, BLOCK, add, a, b, c, false);
}

}  // namespace minna
