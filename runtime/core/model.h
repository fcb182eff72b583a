/* model.h: an open bundle with its engines, as the rest of the core sees it. */
#ifndef VLJ_CORE_MODEL_H
#define VLJ_CORE_MODEL_H

#include <pthread.h>

#include "config.h"
#include "cpus.h"
#include "engine.h"
#include "hooks.h"
#include "index.h"
#include "vljepa.h"

const vlj_config *vlj_model_config(const vlj_model *model);
const vlj_index *vlj_model_index(const vlj_model *model);
const vlj_host *vlj_model_host(const vlj_model *model);
int vlj_model_has(const vlj_model *model, vlj_component component);
const vlj_signature *vlj_model_signature(const vlj_model *model, vlj_component component);
uint32_t vlj_model_query_count(const vlj_model *model);
/* Where threads that encode and predict (VLJ_X_ENCODER) or decode (VLJ_Y_DECODER) belong. */
const vlj_cpus *vlj_model_cpus(const vlj_model *model, vlj_component component);

/* Runs one component; serialised per component, so any thread may call. Tensors in the signature's order.
 * VLJ_E_STATE when the component isn't open. */
vlj_status vlj_model_run(vlj_model *model, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                         vlj_tensor *outputs, uint32_t output_count);

/* The same; *copied grows by the bytes that the backend copied to and from memory of its own. */
vlj_status vlj_model_run_counted(vlj_model *model, vlj_component component, const vlj_tensor *inputs,
                                 uint32_t input_count, vlj_tensor *outputs, uint32_t output_count, uint64_t *copied);

/* Tells the backend the shapes that a stream will run a component with; it may compile for them. */
void vlj_model_prepare(vlj_model *model, vlj_component component, const vlj_tensor *inputs, uint32_t input_count);

/* 1: visual tokens are to lie in memory of vlj_model_device_alloc, where X-Encoder and Predictor both reach them. */
int vlj_model_keeps_tokens(const vlj_model *model);
void *vlj_model_device_alloc(vlj_model *model, size_t bytes); /* NULL: no room */
void vlj_model_device_free(vlj_model *model, void *memory);

/* model_bytes, mapped_bytes and backend_bytes of vlj_query_memory. */
void vlj_model_memory(const vlj_model *model, vlj_memory *memory);

/* Slots for what vlj_decode and vlj_predict make lazily, once, on the model's own memory. Hold the lock while using it;
 * vlj_model_close calls `close` on what is there. */
typedef enum vlj_lazy { VLJ_LAZY_DECODER = 0, VLJ_LAZY_PREDICT = 1, VLJ_LAZY_COUNT = 2 } vlj_lazy;
typedef struct vlj_lazy_slot {
    pthread_mutex_t mutex;
    void *object;
    void (*close)(void *object);
} vlj_lazy_slot;
vlj_lazy_slot *vlj_model_lazy(vlj_model *model, vlj_lazy which);

#endif
