/* Attention kernels: AMX against generic, in memory to the byte (for AddressSanitizer). Exactness is tested in Python.
 */
#include "attention.h"

#include <math.h>

#include "check.h"

enum { WIDTH = 64 };

static float noise(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

static float *made(size_t count, uint32_t *seed) {
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = noise(seed);
    }
    return values;
}

static float *attend(const vlj_attention_kernels *kernels, vlj_attention a) {
    float *out = malloc(a.tokens * a.heads * a.width * sizeof *out);
    size_t bytes = kernels->scratch_bytes(&a);
    void *scratch = aligned_alloc(VLJ_ATTENTION_ALIGNMENT, (bytes + 63) / 64 * 64);
    memset(scratch, 0xff, bytes);
    a.out = out;
    kernels->run(&a, 0, a.heads, scratch);
    free(scratch);
    return out;
}

static void compare(const vlj_attention_kernels *amx, size_t tokens, size_t heads, size_t kv_heads, int masked,
                    float heat) {
    uint32_t seed = (uint32_t)(tokens * 8 + heads);
    float *qkv = made(tokens * (heads + 2 * kv_heads) * WIDTH, &seed), *mask = made(tokens, &seed);
    float *cosine = made(tokens * WIDTH, &seed), *sine = made(tokens * WIDTH, &seed);
    for (size_t i = 0; i < tokens; i++) {
        mask[i] = mask[i] > 0.5f && i > 0 ? -1e9f : 0.0f;
        for (size_t j = 0; j < heads * WIDTH; j++) {
            qkv[i * (heads + 2 * kv_heads) * WIDTH + j] *= heat;
        }
    }
    vlj_attention a = {.tokens = tokens,
                       .heads = heads,
                       .kv_heads = kv_heads,
                       .width = WIDTH,
                       .qkv = qkv,
                       .cosine = cosine,
                       .sine = sine,
                       .mask = masked ? mask : NULL};
    float *exact = attend(vlj_attention_kernels_named("generic"), a);
    if (amx != NULL) {
        float *found = attend(amx, a);
        double square = 0.0, error = 0.0;
        for (size_t i = 0; i < tokens * heads * WIDTH; i++) {
            square += (double)exact[i] * (double)exact[i];
            error += ((double)exact[i] - (double)found[i]) * ((double)exact[i] - (double)found[i]);
        }
        CHECK(error < square * 0.03 * 0.03);
        free(found);
    }
    free(exact);
    free(qkv), free(mask), free(cosine), free(sine);
}

int main(void) {
    const vlj_attention_kernels *amx = vlj_attention_kernels_named("amx");
    CHECK(vlj_attention_kernels_named("nonsense") == NULL);
    CHECK(vlj_attention_kernels_best(WIDTH) != NULL);
    CHECK_EQ(vlj_attention_kernels_best(6)->width, 0);
    static const size_t tokens[] = {1, 2, 31, 32, 33, 63, 65, 255, 257, 290};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        for (int masked = 0; masked < 2; masked++) {
            compare(amx, tokens[i], 2, 2, masked, 1.0f);
            compare(amx, tokens[i], 4, 1, masked, 1.0f);
            compare(amx, tokens[i], 2, 1, masked, 12.0f); /* hot enough for the careful way */
        }
    }
    return 0;
}
