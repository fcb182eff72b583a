/* Vector kernels: every instruction set agrees with the generic one for every tail, and reads no element too many. */
#include <math.h>

#include "check.h"
#include "dot.h"

static float noise(uint32_t i) {
    return (float)((i * 2654435761u) >> 8) / (float)(1u << 23) - 1.0f;
}

/* Values that a half holds exactly: multiples of 1/64 in [-1, 1]. */
static uint16_t half_of(int sixty_fourths) {
    float value = (float)abs(sixty_fourths) / 64.0f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t magnitude = value == 0.0f ? 0 : (bits >> 13) - (112u << 10);
    return (uint16_t)(magnitude | (sixty_fourths < 0 ? 0x8000u : 0u));
}

static void check_length(const vlj_dot_kernels *kernels, size_t n) {
    const vlj_dot_kernels *generic = vlj_dot_kernels_named("generic");
    /* Allocated to the element, so that AddressSanitizer sees a load beyond them. */
    float *x = malloc(n * sizeof *x + 1), *y = malloc(n * sizeof *y + 1);
    uint16_t *half = malloc(n * sizeof *half + 1);
    double *a = malloc(n * sizeof *a + 1), *b = malloc(n * sizeof *b + 1);
    double dot = 0, half_dot = 0, square = 0, distance = 0;
    for (size_t i = 0; i < n; i++) {
        int part = (int)(i * 37 % 129) - 64;
        x[i] = noise((uint32_t)i);
        y[i] = noise((uint32_t)i + 7919);
        half[i] = half_of(part);
        a[i] = b[i] = 1000.0 * (double)y[i];
        dot += (double)x[i] * (double)y[i];
        half_dot += part / 64.0 * (double)y[i];
        square += (double)x[i] * (double)x[i];
        distance += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    }
    CHECK_NEAR(kernels->dot(x, y, n), dot, 1e-6 * (double)(n + 1));
    CHECK_NEAR(kernels->dot_half(half, y, n), half_dot, 1e-6 * (double)(n + 1));
    CHECK_NEAR(kernels->square(x, n), square, 1e-13 * (double)(n + 1));
    CHECK_NEAR(kernels->distance(x, y, n), distance, 1e-13 * (double)(n + 1));
    kernels->add(a, x, -1.0, n);
    generic->add(b, x, -1.0, n);
    CHECK(memcmp(a, b, n * sizeof *a) == 0);
    CHECK_NEAR(kernels->sum_square(a, 0.01, n), generic->sum_square(b, 0.01, n), 1e-12 * (double)(n + 1));
    CHECK_NEAR(kernels->sum_distance(a, 0.5, b, 0.25, n), generic->sum_square(b, 0.25, n), 1e-8 * (double)(n + 1));
    free(x);
    free(y);
    free(half);
    free(a);
    free(b);
}

int main(void) {
    static const char *const names[] = {"generic", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < 4; i++) {
        const vlj_dot_kernels *kernels = vlj_dot_kernels_named(names[i]);
        if (kernels == NULL) {
            printf("%s: not on this CPU\n", names[i]);
            continue;
        }
        CHECK(strcmp(kernels->name, names[i]) == 0);
        for (size_t n = 0; n < 200; n++) {
            check_length(kernels, n);
        }
        check_length(kernels, 1536);
    }
    CHECK(vlj_dot_kernels_named("mmx") == NULL);
    CHECK(vlj_dot_kernels_best() != NULL);
    return 0;
}
