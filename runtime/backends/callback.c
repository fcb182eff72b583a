/* callback.c: backend "callback": engines that the host supplies as functions (vlj_engine_callbacks). */
#include "engine.h"
#include "error.h"

typedef struct callback_engine {
    vlj_engine base;
    const vlj_host *host;
    const vlj_engine_callbacks *callbacks;
} callback_engine;

/* A host's function may return anything; what it calls success must be VLJ_OK, and an error must be an error of ours.
 */
static vlj_status as_error(vlj_status status, vlj_status otherwise) {
    return status == VLJ_E_MEMORY || status == VLJ_E_CANCELLED || status == VLJ_E_TIMEOUT ? status : otherwise;
}

static vlj_status callback_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    const vlj_engine_callbacks *callbacks = context->callbacks;
    if (callbacks == NULL || callbacks->run == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "backend \"callback\" needs options.callbacks with a run function");
    }
    callback_engine *made = vlj_alloc(context->host, sizeof *made, 0);
    if (made == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for component %s", vlj_component_name(spec->component));
    }
    made->base.backend = &vlj_backend_callback;
    made->base.component = spec->component;
    made->host = context->host;
    made->callbacks = callbacks;
    if (callbacks->open != NULL) {
        vlj_status status = callbacks->open(callbacks->user_data, spec->component);
        if (status != VLJ_OK) {
            vlj_free(context->host, made, sizeof *made);
            return vlj_fail(as_error(status, VLJ_E_BACKEND), "component %s: the callback's open returned %d",
                            vlj_component_name(spec->component), (int)status);
        }
    }
    *engine = &made->base;
    return VLJ_OK;
}

static vlj_status callback_run(vlj_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
                               uint32_t output_count) {
    const callback_engine *self = (const callback_engine *)engine;
    const vlj_engine_callbacks *callbacks = self->callbacks;
    char message[256] = "";
    vlj_status status = callbacks->run(callbacks->user_data, engine->component, inputs, input_count, outputs,
                                       output_count, message, sizeof message);
    if (status == VLJ_OK) {
        return VLJ_OK;
    }
    message[sizeof message - 1] = '\0';
    return vlj_fail(as_error(status, VLJ_E_BACKEND_RUN), "component %s: the callback's run returned %d%s%s",
                    vlj_component_name(engine->component), (int)status, message[0] != '\0' ? ": " : "", message);
}

static size_t callback_memory(const vlj_engine *engine) {
    (void)engine;
    return 0;
}

static void callback_close(vlj_engine *engine) {
    callback_engine *self = (callback_engine *)engine;
    if (self->callbacks->close != NULL) {
        self->callbacks->close(self->callbacks->user_data, engine->component);
    }
    vlj_free(self->host, self, sizeof *self);
}

const vlj_backend vlj_backend_callback = {
    .name = "callback",
    .needs_bytes = 0,
    .open = callback_open,
    .run = callback_run,
    .memory = callback_memory,
    .close = callback_close,
};
