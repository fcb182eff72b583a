/* isa.h: which instruction sets this CPU has. Kernels are chosen by name when a plan or a handle is made, never per
 * call. */
#ifndef VLJ_KERNELS_ISA_H
#define VLJ_KERNELS_ISA_H

#if defined(__x86_64__) && defined(__GNUC__)
#define VLJ_KERNELS_X86 1
#else
#define VLJ_KERNELS_X86 0
#endif
/* Tiles of AMX: the compiler must know them, and the system must be one that lends them. */
#if VLJ_KERNELS_X86 && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 13 : __GNUC__ >= 11)
#define VLJ_KERNELS_AMX 1
#else
#define VLJ_KERNELS_AMX 0
#endif
#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define VLJ_KERNELS_NEON 1
#else
#define VLJ_KERNELS_NEON 0
#endif

/* Wider ones have larger numbers; each family's include "generic". A family has AVX-512 only where it pays: `dot`, for
 * its INT8 products and the gate. Resize, colour and pooling wait for memory with AVX2 already. `attention` and
 * `linear` have AMX. */
typedef enum vlj_isa {
    VLJ_ISA_GENERIC = 0, /* plain C11 */
    VLJ_ISA_AVX2 = 1,    /* x86-64 with AVX2, FMA, F16C */
    VLJ_ISA_AVX512 = 2,  /* the same with AVX-512 F, BW, DQ, VL and VNNI */
    VLJ_ISA_AMX = 3,     /* the same with VBMI, BF16 and AMX tiles of BF16 and INT8, as Sapphire Rapids has them */
    VLJ_ISA_NEON = 4,    /* AArch64, where it is always there */
    VLJ_ISA_COUNT = 5
} vlj_isa;

/* "generic", "avx2", "avx512", "amx" or "neon" into *isa; 0 when the name is none of them. */
int vlj_isa_named(const char *name, vlj_isa *isa);
int vlj_isa_supported(vlj_isa isa);
/* Linux gives a process the tiles' registers when it asks for them, once; 0: it doesn't. */
int vlj_isa_permit_amx(void);
/* The widest that kernels may use: what the CPU has, or less where the environment variable VLJ_ISA names less (for
 * benchmarks and bug reports). */
vlj_isa vlj_isa_limit(void);

#endif
