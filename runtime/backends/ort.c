/* ort.c: backend "ort": ONNX Runtime, loaded with dlopen. */
#include "engine.h"
#include "error.h"

static vlj_status ort_open(const vlj_backend_context *context, const vlj_engine_spec *spec, vlj_engine **engine) {
    (void)context, (void)engine;
    return vlj_fail(VLJ_E_BACKEND_MISSING, "backend \"ort\" cannot open %s yet", vlj_component_name(spec->component));
}

const vlj_backend vlj_backend_ort = {.name = "ort", .needs_bytes = 1, .open = ort_open};
