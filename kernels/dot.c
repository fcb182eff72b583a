/* dot.c: dispatch of the vector kernels by name. */
#include "dot.h"

#include <string.h>

#include "dot_kernels.h"

static const vlj_dot_kernels *const all_kernels[] = {
#if VLJ_KERNELS_X86
    &vlj_dot_avx512,
    &vlj_dot_avx2,
#endif
#if VLJ_KERNELS_NEON
    &vlj_dot_neon,
#endif
    &vlj_dot_generic,
};

const vlj_dot_kernels *vlj_dot_kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof all_kernels / sizeof all_kernels[0]; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return vlj_isa_supported(all_kernels[i]->isa) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_dot_kernels *vlj_dot_kernels_best(void) {
    vlj_isa limit = vlj_isa_limit();
    size_t i = 0;
    while (all_kernels[i]->isa > limit) {
        i++; /* ends at generic at the latest */
    }
    return all_kernels[i];
}
