// What the kernels do with 16 floats at a time, and the layouts that matrix tiles want.
//
// torch's brgemm multiplies A [M, K], rows as they lie, by B. In fp32 B is [K, N]; in bf16 it is
// [K / 2, N] of pairs (two neighbours along K in one 32-bit word, "VNNI"), because the instructions
// of AVX-512 BF16 and of AMX take two products at once. A matrix that is contiguous along K becomes
// such a B by transposing 32-bit words, one that is contiguous along N by zipping pairs of rows.
#pragma once

#include <ATen/native/CPUBlas.h>
#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace minna {

using BFloat16 = at::BFloat16;

constexpr int64_t kLanes = 16;

inline __mmask16 first_lanes(int64_t count) {
  return count >= kLanes ? 0xffff : static_cast<__mmask16>((1u << (count < 0 ? 0 : count)) - 1);
}

// 2^x, relative error 1.5e-7: a polynomial on [-0.5, 0.5] and an exponent. -1e30 gives 0.
inline __m512 exp2(__m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.3276472454890609e-3f);
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(9.675540961325169e-3f));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(5.550713092088699e-2f));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(2.4022120237350464e-1f));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(6.931469440460205e-1f));
  y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(y, whole);
}

// Sixteen floats as bf16, rounded to nearest even.
inline __m256i to_bf16(__m512 x) {
#ifdef __AVX512BF16__
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
#else
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, bias), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc0));
  return _mm512_cvtepi32_epi16(rounded);
#endif
}

inline __m512 load16(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 load16(const BFloat16* from) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}
inline void store16(float* to, __m512 x) { _mm512_storeu_ps(to, x); }
inline void store16(BFloat16* to, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), to_bf16(x));
}

// Two rows of a B at once: [2][16] apart, and zipped to pairs where T is bf16.
inline void store_pair(float* to, int64_t stride, __m512 even, __m512 odd) {
  _mm512_storeu_ps(to, even);
  _mm512_storeu_ps(to + stride, odd);
}
inline void store_pair(BFloat16* to, int64_t, __m512 even, __m512 odd) {
  const __m512i low = _mm512_cvtepu16_epi32(to_bf16(even));
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(to_bf16(odd)), 16);
  _mm512_storeu_si512(to, _mm512_or_si512(low, high));
}

// Transpose a tile of 16 x 16 words of 32 bits: dst[c][r] = src[r][c], zeros for rows that are not.
inline void transpose_tile(
    const char* src, int64_t bytes, int64_t rows, int64_t columns, char* dst, int64_t dst_bytes) {
  const __mmask16 mask = first_lanes(columns);
  __m512 a[16], b[16];
  for (int r = 0; r < 16; ++r)
    a[r] = r < rows ? _mm512_maskz_loadu_ps(mask, src + r * bytes) : _mm512_setzero_ps();
  for (int r = 0; r < 16; r += 2) {
    b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
    b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
  }
  for (int r = 0; r < 16; r += 4) {
    const auto pd = [](__m512 x) { return _mm512_castps_pd(x); };
    a[r] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(b[r]), pd(b[r + 2])));
    a[r + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(b[r]), pd(b[r + 2])));
    a[r + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(b[r + 1]), pd(b[r + 3])));
    a[r + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(b[r + 1]), pd(b[r + 3])));
  }
  for (int c = 0; c < 4; ++c) {
    b[c] = _mm512_shuffle_f32x4(a[c], a[c + 4], 0x88);
    b[c + 4] = _mm512_shuffle_f32x4(a[c], a[c + 4], 0xdd);
    b[c + 8] = _mm512_shuffle_f32x4(a[c + 8], a[c + 12], 0x88);
    b[c + 12] = _mm512_shuffle_f32x4(a[c + 8], a[c + 12], 0xdd);
  }
  for (int c = 0; c < 8; ++c) {
    a[c] = _mm512_shuffle_f32x4(b[c], b[c + 8], 0x88);
    a[c + 8] = _mm512_shuffle_f32x4(b[c], b[c + 8], 0xdd);
  }
  for (int c = 0; c < 16 && c < columns; ++c) _mm512_storeu_ps(dst + c * dst_bytes, a[c]);
}

// [rows, columns] of words to [columns, width], zeros from `rows` on; width a multiple of 16.
inline void transpose_words(
    const void* src, int64_t bytes, int64_t rows, int64_t columns, void* dst, int64_t width) {
  for (int64_t r = 0; r < width; r += 16)
    for (int64_t c = 0; c < columns; c += 16)
      transpose_tile(
          static_cast<const char*>(src) + r * bytes + c * 4, bytes, rows - r, columns - c,
          static_cast<char*>(dst) + (c * width + r) * 4, width * 4);
}

// The B of x^T, for x [rows, d] with `stride`: d is summed over, `width` columns.
template <typename T>
void pack_transposed(const T* x, int64_t stride, int64_t rows, int64_t d, T* to, int64_t width) {
  const int64_t words = d * sizeof(T) / 4;
  transpose_words(x, stride * sizeof(T), rows, words, to, width);
}

// One line of d numbers, d a multiple of 16; a call of memcpy costs more than the copy.
template <typename T>
void copy_line(const T* from, T* to, int64_t d) {
  for (int64_t c = 0; c < d; c += kLanes)
    if constexpr (sizeof(T) == 4)
      _mm512_storeu_si512(to + c, _mm512_loadu_si512(from + c));
    else
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(to + c),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + c)));
}

// The B of x itself: its rows, `height` of them with zeros below, are summed over.
inline void pack_rows(
    const float* x, int64_t stride, int64_t rows, int64_t d, float* to, int64_t height) {
  for (int64_t r = 0; r < height; ++r)
    if (r < rows)
      copy_line(x + r * stride, to + r * d, d);
    else
      std::memset(to + r * d, 0, d * sizeof(float));
}
inline void pack_rows(
    const BFloat16* x, int64_t stride, int64_t rows, int64_t d, BFloat16* to, int64_t height) {
  const auto load = [&](int64_t r, int64_t c) {
    if (r >= rows) return _mm512_setzero_si512();
    const auto* from = reinterpret_cast<const __m256i*>(x + r * stride + c);
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(from));
  };
  for (int64_t r = 0; r < height; r += 2)
    for (int64_t c = 0; c < d; c += 16) {
      const __m512i high = _mm512_slli_epi32(load(r + 1, c), 16);
      _mm512_storeu_si512(to + r * d + 2 * c, _mm512_or_si512(load(r, c), high));
    }
}

// x as an A: contiguous rows, zeros below.
template <typename T>
void copy_rows(const T* x, int64_t stride, int64_t rows, int64_t d, T* to, int64_t height) {
  const int64_t there = rows < height ? rows : height;
  for (int64_t r = 0; r < there; ++r) copy_line(x + r * stride, to + r * d, d);
  if (there < height) std::memset(static_cast<void*>(to + there * d), 0, (height - there) * d * sizeof(T));
}

// From the B of x^T ([d / 2][width] pairs) to x^T as an A ([d][width]); in fp32 they are the same.
inline void unzip(const float* from, float* to, int64_t d, int64_t width) {
  std::memcpy(to, from, d * width * sizeof(float));
}
inline void unzip(const BFloat16* from, BFloat16* to, int64_t d, int64_t width) {
  for (int64_t c = 0; c < d; c += 2)
    for (int64_t r = 0; r < width; r += 16) {
      const __m512i pairs = _mm512_loadu_si512(from + c * width + 2 * r);
      auto* even = reinterpret_cast<__m256i*>(to + c * width + r);
      auto* odd = reinterpret_cast<__m256i*>(to + (c + 1) * width + r);
      _mm256_storeu_si256(even, _mm512_cvtepi32_epi16(pairs));
      _mm256_storeu_si256(odd, _mm512_cvtepi32_epi16(_mm512_srli_epi32(pairs, 16)));
    }
}

inline void multiply(
    int64_t M, int64_t N, int64_t K, int64_t lda, int64_t ldb, int64_t ldc, bool add,
    const BFloat16* A, const BFloat16* B, float* C) {
  at::native::cpublas::brgemm(M, N, K, lda, ldb, ldc, add, A, B, C, true);
}
inline void multiply(
    int64_t M, int64_t N, int64_t K, int64_t lda, int64_t ldb, int64_t ldc, bool add,
    const float* A, const float* B, float* C) {
  at::native::cpublas::brgemm(M, N, K, lda, ldb, ldc, add, A, B, C, false);
}

// Memory of one thread, kept for its next call: grows to the largest piece of work, never with the
// number of pieces. `take` hands out lines; `start` begins anew.
class Scratch {
 public:
  ~Scratch() { std::free(memory_); }

  void start(size_t bytes) {
    used_ = 0;
    if (bytes <= size_) return;
    std::free(memory_);
    size_ = 0;
    memory_ = static_cast<char*>(std::aligned_alloc(kLine, up(bytes)));
    if (memory_ == nullptr) throw std::bad_alloc();
    size_ = up(bytes);
  }

  template <typename T>
  T* take(int64_t count) {
    char* here = memory_ + used_;
    used_ += up(count * sizeof(T));
    return reinterpret_cast<T*>(here);
  }

  template <typename T>
  static size_t need(int64_t count) {
    return up(count * sizeof(T));
  }

 private:
  static constexpr size_t kLine = 64;
  static size_t up(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

  char* memory_ = nullptr;
  size_t size_ = 0;
  size_t used_ = 0;
};

}  // namespace minna
