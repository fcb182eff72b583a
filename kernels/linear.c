/* linear.c: dispatch of the linear kernels by name, and the order of packed weights. */
#include "linear.h"

#include <string.h>

#include "linear_kernels.h"

static const vlj_linear_kernels *const all_kernels[] = {
#if VLJ_KERNELS_AMX
    &vlj_linear_amx,
#endif
    &vlj_linear_generic,
};
enum { COUNT = sizeof all_kernels / sizeof all_kernels[0] };

static int usable(const vlj_linear_kernels *kernels) {
    return vlj_isa_supported(kernels->isa) && (kernels->isa != VLJ_ISA_AMX || vlj_isa_permit_amx());
}

const vlj_linear_kernels *vlj_linear_kernels_named(const char *name) {
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return usable(all_kernels[i]) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_linear_kernels *vlj_linear_kernels_best(void) {
    vlj_isa limit = vlj_isa_limit();
    for (size_t i = 0; i + 1 < COUNT; i++) {
        if (all_kernels[i]->isa <= limit && usable(all_kernels[i])) {
            return all_kernels[i];
        }
    }
    return &vlj_linear_generic;
}

void vlj_linear_pack(const int8_t *weights, size_t inner, size_t columns, int8_t *packed) {
    for (size_t n = 0; n < columns; n += 16) {
        for (size_t k = 0; k < inner; k += 4) {
            for (size_t c = 0; c < 16; c++) {
                for (size_t i = 0; i < 4; i++) {
                    *packed++ = weights[(k + i) * columns + n + c];
                }
            }
        }
    }
}
