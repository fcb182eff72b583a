/* isa.h: which instruction sets this CPU has. Kernels are chosen by name when a plan or a handle is made, never per
 * call. */
#ifndef VLJ_KERNELS_ISA_H
#define VLJ_KERNELS_ISA_H

#if defined(__x86_64__) && defined(__GNUC__)
#define VLJ_KERNELS_X86 1
#else
#define VLJ_KERNELS_X86 0
#endif
#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define VLJ_KERNELS_NEON 1
#else
#define VLJ_KERNELS_NEON 0
#endif

/* Wider ones have larger numbers; each family's include "generic". AVX-512 is left out: tried, it made a gate of width
 * 1536 take 1.1 us in place of 1.4, and nothing else faster, since with AVX2 resize and phrase banks already wait for
 * memory. */
typedef enum vlj_isa {
    VLJ_ISA_GENERIC = 0, /* plain C11 */
    VLJ_ISA_AVX2 = 1,    /* x86-64 with AVX2, FMA, F16C */
    VLJ_ISA_NEON = 2     /* AArch64, where it is always there */
} vlj_isa;

/* "generic", "avx2" or "neon" into *isa; 0 when the name is none of them. */
int vlj_isa_named(const char *name, vlj_isa *isa);
int vlj_isa_supported(vlj_isa isa);
/* The widest that kernels may use: what the CPU has, or less where the environment variable VLJ_ISA names less (for
 * benchmarks and bug reports). */
vlj_isa vlj_isa_limit(void);

#endif
