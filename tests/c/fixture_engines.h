/* fixture_engines.h: deterministic "callback" engines for bundle_fixture bundles, with delays and failures on demand.
 *
 * The grey level of a window decides its embedding: grey g in [0,1] gives theta = pi*g + 0.001 * (sum of the masked
 * query embeddings' first column), and the embedding cos(theta) on axis 0 and sin(theta) on axis 1. So equal pictures
 * give equal embeddings, and the squared distance of two grey levels is known: 2 - 2*cos(difference of thetas). The
 * Y-Decoder writes `text_tokens` ordinary tokens, chosen by what the KV cache holds of the soft prefix, then the end.
 */
#ifndef VLJ_TESTS_FIXTURE_ENGINES_H
#define VLJ_TESTS_FIXTURE_ENGINES_H

#include <stdatomic.h>

#include "bundle_fixture.h"

typedef struct fixture_engines {
    const bundle_fixture *bundle;
    uint32_t text_tokens;                       /* per text, before the end token */
    atomic_llong delay_ns[VLJ_COMPONENT_COUNT]; /* slept in each run */
    atomic_int fail_after[VLJ_COMPONENT_COUNT]; /* runs that still succeed; -1: never fail */
    atomic_llong runs[VLJ_COMPONENT_COUNT];
    vlj_engine_callbacks callbacks;
} fixture_engines;

void fixture_engines_init(fixture_engines *engines, const bundle_fixture *bundle);

#endif
