/* bundle_fixture.h: writes a small, valid bundle (docs/format.md) into a fresh temporary folder, for backend
 * "callback".
 *
 *   bundle_fixture bundle;
 *   bundle_fixture_defaults(&bundle);      // then change what the test is about
 *   bundle_fixture_write(&bundle);         // bundle.path opens with vlj_model_open
 *   bundle_fixture_remove(&bundle);
 *
 * The engines' files hold a few dummy bytes; fixture_engines.h computes something simple and known in their place.
 */
#ifndef VLJ_TESTS_BUNDLE_FIXTURE_H
#define VLJ_TESTS_BUNDLE_FIXTURE_H

#include <stdint.h>

#include "vljepa.h"

typedef struct bundle_fixture {
    /* CONFIG */
    char name[64], precision[16];
    uint32_t frames, height, width, tubelet, patch;
    float fps;
    uint32_t stride, resize_short_side;
    uint32_t visual_tokens; /* 0: frames/tubelet * height/patch * width/patch */
    uint32_t visual_width, query_width, max_query_tokens, embedding_width, text_max_tokens;
    uint32_t prefix_tokens; /* 0: no Y-Decoder (no such engines, vocabulary or embeddings; V = 0) */
    uint32_t decoder_width, decoder_planes, decoder_kv_heads, decoder_head_dim, decoder_cache_length;
    uint32_t vocabulary, begin_token, end_token, max_new_tokens;
    uint32_t decode_when;
    vlj_gate_options gate;
    /* other sections */
    uint32_t query_count;      /* compiled queries "query 0?", "query 1?" ...: query q has 3 + q tokens */
    uint32_t phrase_count;     /* phrases of bank "words"; 0: no bank */
    uint32_t query_table_rows; /* TOKEN_EMBEDDINGS "query"; 0: none */
    vlj_dtype embedding_dtype; /* VLJ_FLOAT32 (VLJ_FLOAT16 writes halves) for queries, phrases and tables */
    uint32_t phrases_int8;     /* 1: the bank is INT8 with scales */
    uint32_t component_mask;   /* engines written; the decoder's only with prefix_tokens > 0 */
    uint32_t image;            /* 1: one file model.vlj with every section inside */
    uint32_t format_version;   /* 1 */
    /* filled by bundle_fixture_write */
    char folder[256];
    char path[320]; /* the folder, or the image */
    char index_path[320];
} bundle_fixture;

void bundle_fixture_defaults(bundle_fixture *bundle);
void bundle_fixture_write(bundle_fixture *bundle); /* exits when the disk refuses */
void bundle_fixture_remove(bundle_fixture *bundle);

/* What the writer put there, so that tests need not read the file: */
float bundle_fixture_query_value(uint32_t query, uint32_t token, uint32_t column);                 /* QUERY rows */
float bundle_fixture_phrase_value(const bundle_fixture *bundle, uint32_t phrase, uint32_t column); /* unit rows */
float bundle_fixture_table_value(uint32_t row, uint32_t column); /* TOKEN_EMBEDDINGS rows, both */
/* Bytes of one vocabulary token: specials are empty, tokens 3 and 4 are the halves of a two-byte UTF-8 letter. */
void bundle_fixture_token_bytes(const bundle_fixture *bundle, uint32_t token, char bytes[16]);

#endif
