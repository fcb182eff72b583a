/* isa.c: run-time detection of instruction sets, with an override for tests and bug reports. */
#include "isa.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

int vlj_isa_named(const char *name, vlj_isa *isa) {
    static const char *const names[] = {"generic", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *isa = (vlj_isa)i;
            return 1;
        }
    }
    return 0;
}

int vlj_isa_supported(vlj_isa isa) {
    switch (isa) {
    case VLJ_ISA_GENERIC: return 1;
#if VLJ_KERNELS_X86
    case VLJ_ISA_AVX2: /* the builtin also asks whether the operating system saves the wide registers */
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    case VLJ_ISA_AVX512:
        return vlj_isa_supported(VLJ_ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#endif
    case VLJ_ISA_NEON: return VLJ_KERNELS_NEON;
    default: return 0;
    }
}

vlj_isa vlj_isa_limit(void) {
    vlj_isa limit = VLJ_ISA_NEON, asked;
    const char *name = getenv("VLJ_ISA");
    if (name != NULL && vlj_isa_named(name, &asked)) {
        limit = asked;
    }
    while (!vlj_isa_supported(limit)) {
        limit = (vlj_isa)(limit - 1);
    }
    return limit;
}
