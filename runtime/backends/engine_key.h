/* engine_key.h: what a folder of prebuilt engines says of itself, in a few lines that need no JSON. */
#ifndef VLJ_BACKENDS_ENGINE_KEY_H
#define VLJ_BACKENDS_ENGINE_KEY_H

#include "engine.h"

#define VLJ_ENGINE_KEY_FILE "engines.key"
#define VLJ_ENGINE_KEY_ADVICE "build them anew (vljepa export --engine)"

typedef struct vlj_engine_key {
    char library[96]; /* "tensorrt 10.3.0" */
    char device[160]; /* "Orin sm87" */
    char file[96];    /* of the component asked for, in the folder */
} vlj_engine_key;

/* Reads folder/engines.key, made by `vljepa export --engine`:
 *
 *     vljepa-engines 1
 *     tensorrt 10.3.0
 *     Orin sm87
 *     x_encoder <sha256 of its sources, hex> x_encoder.plan
 *     ...
 *
 * and finds spec's component, which must have been built from the very ONNX and weights of spec's bundle:
 * VLJ_E_BUNDLE_HASH else. The sources' digest is SHA-256 over the section digests of the component's ENGINE and of its
 * ENGINE_DATA in table order, so a folder and the image packed from it have the same. */
vlj_status vlj_engine_key_read(const char *folder, const vlj_engine_spec *spec, const char *builder,
                               vlj_engine_key *key);

/* Whether key->library is `name` in that version, as far as the first three numbers tell. */
int vlj_engine_key_same_library(const vlj_engine_key *key, const char *name, const char *version);

#endif
