/* read_all.c: reads a buffer once, in order, and does next to nothing with it: the machine's read bandwidth. */
#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) uint64_t bench_read_all(const uint8_t *bytes, size_t count);
__attribute__((target("avx2"))) uint64_t bench_read_all(const uint8_t *bytes, size_t count) {
    __m256i sums[8] = {_mm256_setzero_si256()};
    for (size_t j = 0; j < 8; j++) {
        sums[j] = _mm256_setzero_si256();
    }
    for (size_t i = 0; i + 256 <= count; i += 256) {
        for (size_t j = 0; j < 8; j++) {
            sums[j] = _mm256_xor_si256(sums[j], _mm256_loadu_si256((const __m256i *)(bytes + i + 32 * j)));
        }
    }
    for (size_t j = 1; j < 8; j++) {
        sums[0] = _mm256_xor_si256(sums[0], sums[j]);
    }
    return (uint64_t)_mm256_extract_epi64(sums[0], 0);
}
#else
uint64_t bench_read_all(const uint8_t *bytes, size_t count);
uint64_t bench_read_all(const uint8_t *bytes, size_t count) { /* compilers make vectors of it */
    const uint64_t *words = (const uint64_t *)(const void *)bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < count / 8; i++) {
        sum ^= words[i];
    }
    return sum;
}
#endif
