/* isa.c: run-time detection of instruction sets, with an override for tests and bug reports. */
#define _GNU_SOURCE /* syscall */
#include "isa.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#if VLJ_KERNELS_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

int vlj_isa_named(const char *name, vlj_isa *isa) {
    static const char *const names[] = {"generic", "avx2", "avx512", "amx", "neon"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            *isa = (vlj_isa)i;
            return 1;
        }
    }
    return 0;
}

#if VLJ_KERNELS_AMX
/* What compilers' builtins don't all know: AVX512_BF16, AMX, and whether the system saves the tiles. */
static int has_amx(void) {
    unsigned a = 0, b = 0, c = 0, d = 0, low = 0, high = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d >> 22 & 13u) != 13u) { /* AMX-BF16, -TILE and -INT8 */
        return 0;
    }
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || (a >> 5 & 1u) == 0) { /* AVX512_BF16 */
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* AVX-512 was found, so it is there */
    return (low >> 17 & 3u) == 3u;
}
#endif

int vlj_isa_permit_amx(void) {
#if VLJ_KERNELS_AMX
    enum { ASK_FOR_REGISTERS = 0x1023, TILES = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, ASK_FOR_REGISTERS, TILES) == 0;
#else
    return 0;
#endif
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
#if VLJ_KERNELS_AMX
    case VLJ_ISA_AMX: return vlj_isa_supported(VLJ_ISA_AVX512) && __builtin_cpu_supports("avx512vbmi") && has_amx();
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
