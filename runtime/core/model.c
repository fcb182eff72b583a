/* model.c: opens a bundle's engines, after everything in the bundle that they and the core rely on has been checked. */
#include "model.h"

#include <stdio.h>
#include <string.h>

#include "abi.h"
#include "error.h"
#include "model_queries.h"
#include "sections.h"
#include "sha256.h"

struct vlj_model {
    vlj_host host;
    vlj_index *index;
    vlj_config config;
    const vlj_backend *backend;
    vlj_engine_callbacks callbacks;
    vlj_engine *engines[VLJ_COMPONENT_COUNT]; /* NULL: not open */
    vlj_signature signatures[VLJ_COMPONENT_COUNT];
    pthread_mutex_t mutexes[VLJ_COMPONENT_COUNT];
    vlj_lazy_slot lazy[VLJ_LAZY_COUNT];
    vlj_model_queries queries;
    vlj_cpus cpus, decode_cpus;
};

/* ---- which components ---- */

static int config_has(const vlj_config *config, vlj_component component) {
    switch (component) {
    case VLJ_Y_ENCODER: return config->text_max_tokens > 0;
    case VLJ_Y_DECODER_PREFIX:
    case VLJ_Y_DECODER: return config->decoder_vocabulary > 0;
    default: return 1;
    }
}

/* Bits of the components to open. A backend that brings its own engines may run a bundle that ships none. */
static vlj_status choose_components(const vlj_model *model, uint32_t asked, uint32_t *chosen) {
    const char *path = vlj_index_path(model->index);
    const uint32_t decoder = 1u << VLJ_Y_DECODER_PREFIX | 1u << VLJ_Y_DECODER;
    if (asked >> VLJ_COMPONENT_COUNT != 0) {
        return vlj_fail(VLJ_E_ARGUMENT, "options.component_mask is 0x%x, expected bits 0 to %d", asked,
                        VLJ_COMPONENT_COUNT - 1);
    }
    vlj_section any;
    int ships_none = !vlj_index_nth(model->index, VLJ_SECTION_ENGINE, 0, &any);
    uint32_t has = 0;
    for (int i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        int shipped = vlj_index_has(model->index, VLJ_SECTION_ENGINE, vlj_component_name((vlj_component)i));
        int wanted = shipped || (!model->backend->needs_bytes && (ships_none || (asked >> i & 1)));
        if (wanted && config_has(&model->config, (vlj_component)i)) {
            has |= 1u << i;
        }
    }
    if ((has & decoder) != 0 && (has & decoder) != decoder) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING,
                        "%s has only one of the engines y_decoder_prefix and y_decoder: it takes both", path);
    }
    uint32_t needed = asked != 0 ? asked : 1u << VLJ_X_ENCODER | 1u << VLJ_PREDICTOR;
    for (int i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        if ((needed & ~has) >> i & 1) {
            return vlj_fail(VLJ_E_BUNDLE_MISSING, "%s has no engine \"%s\"%s", path,
                            vlj_component_name((vlj_component)i),
                            config_has(&model->config, (vlj_component)i) ? "" : ", and its CONFIG describes none");
        }
    }
    *chosen = asked != 0 ? asked : has;
    return VLJ_OK;
}

/* ---- sections that must fit the config ---- */

static vlj_status width_of(const vlj_model *model, const vlj_section *section, const char *what, uint32_t found,
                           uint32_t expected) {
    if (found == expected) {
        return VLJ_OK;
    }
    return vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: section \"%s\": %s is %u, expected %u", vlj_index_path(model->index),
                    section->name, what, found, expected);
}

static vlj_status check_tables(const vlj_model *model) {
    const vlj_config *config = &model->config;
    vlj_section section;
    vlj_matrix matrix;
    vlj_text_table texts;
    vlj_status status = VLJ_OK;
    for (uint32_t i = 0; status == VLJ_OK && vlj_index_nth(model->index, VLJ_SECTION_PHRASE_BANK, i, &section); i++) {
        status = vlj_read_phrase_bank(model->index, &section, &texts, &matrix);
        if (status == VLJ_OK) {
            status =
                width_of(model, &section, "embedding width of the phrase bank", matrix.width, config->embedding_width);
        }
    }
    if (status == VLJ_OK && vlj_index_has(model->index, VLJ_SECTION_TOKEN_EMBEDDINGS, "query")) {
        status = vlj_index_find(model->index, VLJ_SECTION_TOKEN_EMBEDDINGS, "query", &section);
        if (status == VLJ_OK) {
            status = vlj_read_token_embeddings(model->index, &section, &matrix);
        }
        if (status == VLJ_OK) {
            status = width_of(model, &section, "query embedding width", matrix.width, config->query_width);
        }
    }
    return status;
}

static vlj_status check_decoder_tables(const vlj_model *model) {
    const vlj_config *config = &model->config;
    vlj_section section;
    vlj_matrix matrix;
    vlj_text_table texts;
    vlj_status status = vlj_index_find(model->index, VLJ_SECTION_VOCABULARY, "y_decoder", &section);
    if (status == VLJ_OK) {
        status = vlj_read_vocabulary(model->index, &section, &texts);
    }
    if (status == VLJ_OK) {
        status = width_of(model, &section, "tokens in the vocabulary", texts.count, config->decoder_vocabulary);
    }
    if (status == VLJ_OK) {
        status = vlj_index_find(model->index, VLJ_SECTION_TOKEN_EMBEDDINGS, "y_decoder", &section);
    }
    if (status == VLJ_OK) {
        status = vlj_read_token_embeddings(model->index, &section, &matrix);
    }
    if (status == VLJ_OK) {
        status = width_of(model, &section, "rows of token embeddings", matrix.rows, config->decoder_vocabulary);
    }
    return status != VLJ_OK ? status
                            : width_of(model, &section, "token embedding width", matrix.width, config->decoder_width);
}

/* ---- open and close ---- */

static vlj_status open_engine(vlj_model *model, const vlj_model_options *options, vlj_component component) {
    const vlj_backend_context context = {.host = &model->host,
                                         .library = options->backend_library,
                                         .callbacks = options->callbacks != NULL ? &model->callbacks : NULL,
                                         .openvino_library = options->openvino_library,
                                         .cache_folder = options->cache_folder,
                                         .provider = options->provider,
                                         .device = options->device,
                                         .arena = options->arena,
                                         .own_ops = options->own_ops,
                                         .packed_weights = options->packed_weights,
                                         .tensorrt_library = options->tensorrt_library,
                                         .engine_folder = options->engine_folder,
                                         .openvino_ops = options->openvino_ops};
    vlj_engine_spec spec = {.component = component, .config = &model->config, .index = model->index, .file = ""};
    vlj_section section;
    if (vlj_index_has(model->index, VLJ_SECTION_ENGINE, vlj_component_name(component))) {
        vlj_status status = vlj_index_find(model->index, VLJ_SECTION_ENGINE, vlj_component_name(component), &section);
        if (status != VLJ_OK) {
            return status;
        }
        spec.bytes = section.bytes;
        spec.size = (size_t)section.size;
        spec.file = section.file;
        spec.folder = section.file[0] != '\0' ? vlj_index_folder(model->index) : NULL;
    }
    const vlj_cpus *cpus = vlj_model_cpus(model, component);
    int decodes = cpus == &model->decode_cpus;
    spec.threads = !decodes ? options->threads : options->decode_threads > 0 ? options->decode_threads : 1;
    if (spec.threads == 0) {
        spec.threads = vlj_cpus_count(cpus); /* 0 again where none was named: all */
    }
    spec.float_precision = options->float_precision;
    spec.spinning = !decodes; /* a decode step is short, and spinning would take cores from the next window */
    vlj_cpus before;
    vlj_cpus_enter(cpus, &before); /* threads that the engine starts inherit it */
    vlj_status status = model->backend->open(&context, &spec, &model->engines[component]);
    if (vlj_cpus_count(cpus) > 0) {
        vlj_cpus_enter(&before, NULL);
    }
    return status;
}

static vlj_status open_model(vlj_model *model, const char *path, const vlj_model_options *options) {
    uint32_t chosen = 0;
    vlj_status status = vlj_backend_find(options->backend, &model->backend);
    if (status == VLJ_OK) {
        status = vlj_cpus_choose(options->cpus, options->decode_cpus, &model->cpus, &model->decode_cpus);
    }
    if (status == VLJ_OK && options->callbacks != NULL) {
        status = vlj_struct_read(&model->callbacks, sizeof model->callbacks, options->callbacks, "callbacks");
    }
    if (status == VLJ_OK) {
        status = vlj_index_open_host(&model->host, path, options->skip_hashes ? VLJ_VERIFY_INSIDE : VLJ_VERIFY_ALL,
                                     &model->index);
    }
    if (status == VLJ_OK) {
        status = vlj_config_read(model->index, &model->config);
    }
    if (status == VLJ_OK) {
        status = choose_components(model, options->component_mask, &chosen);
    }
    if (status == VLJ_OK) {
        status = check_tables(model);
    }
    if (status == VLJ_OK && (chosen >> VLJ_Y_DECODER & 1)) {
        status = check_decoder_tables(model);
    }
    if (status == VLJ_OK) {
        status = vlj_model_queries_open(&model->host, model->index, &model->config, &model->queries);
    }
    for (int i = 0; i < VLJ_COMPONENT_COUNT && status == VLJ_OK; i++) {
        vlj_component_signature((vlj_component)i, &model->config, &model->signatures[i]);
        if (chosen >> i & 1) {
            status = open_engine(model, options, (vlj_component)i);
        }
    }
    return status;
}

vlj_status vlj_model_open(const char *path, const vlj_model_options *options, vlj_model **model) {
    vlj_model_options known;
    vlj_host host;
    if (model == NULL || options == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_open: %s is NULL", model == NULL ? "model" : "options");
    }
    *model = NULL;
    vlj_status status = vlj_struct_read(&known, sizeof known, options, "options");
    if (status != VLJ_OK) {
        return status;
    }
    if (known.header_version == 0 || known.header_version > VLJ_HEADER_VERSION) {
        return vlj_fail(VLJ_E_VERSION, "options.header_version is %u, this library, version %s, has headers 1 to %u",
                        known.header_version, vlj_version(), VLJ_HEADER_VERSION);
    }
    status = vlj_host_init(&host, known.hooks);
    if (status != VLJ_OK) {
        return status;
    }
    vlj_model *made = vlj_alloc(&host, sizeof *made, 0);
    if (made == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for a model (%zu bytes)", sizeof *made);
    }
    vlj_host_fork(&made->host, &host);
    atomic_store(&made->host.allocations, 1);
    atomic_store(&made->host.bytes, sizeof *made);
    for (int i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        pthread_mutex_init(&made->mutexes[i], NULL);
    }
    for (int i = 0; i < VLJ_LAZY_COUNT; i++) {
        pthread_mutex_init(&made->lazy[i].mutex, NULL);
    }
    status = open_model(made, path, &known);
    if (status != VLJ_OK) {
        vlj_model_close(made);
        return status;
    }
    *model = made;
    return VLJ_OK;
}

void vlj_model_close(vlj_model *model) {
    if (model == NULL) {
        return;
    }
    for (int i = 0; i < VLJ_LAZY_COUNT; i++) {
        if (model->lazy[i].object != NULL) {
            model->lazy[i].close(model->lazy[i].object);
        }
        pthread_mutex_destroy(&model->lazy[i].mutex);
    }
    for (int i = VLJ_COMPONENT_COUNT - 1; i >= 0; i--) {
        if (model->engines[i] != NULL) {
            model->backend->close(model->engines[i]);
        }
        pthread_mutex_destroy(&model->mutexes[i]);
    }
    vlj_model_queries_close(&model->host, &model->queries);
    vlj_index_close(model->index);
    vlj_host host;
    vlj_host_fork(&host, &model->host); /* the model's own goes with it */
    vlj_free(&host, model, sizeof *model);
}

/* ---- questions ---- */

vlj_status vlj_model_gate(const vlj_model *model, vlj_gate_options *gate) {
    if (model == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_gate: model is NULL");
    }
    return vlj_struct_write(gate, &model->config.gate, sizeof model->config.gate, "gate");
}

vlj_status vlj_model_describe(const vlj_model *model, vlj_model_description *description) {
    if (model == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_describe: model is NULL");
    }
    const vlj_config *c = &model->config;
    vlj_section section;
    vlj_model_description d = {
        .struct_size = sizeof d,
        .format_version = 1,
        .frames = c->frames,
        .height = c->height,
        .width = c->width,
        .stride = c->stride,
        .fps = c->fps,
        .resize_short_side = c->resize_short_side,
        .visual_tokens = c->visual_tokens,
        .visual_width = c->visual_width,
        .query_width = c->query_width,
        .max_query_tokens = c->max_query_tokens,
        .embedding_width = c->embedding_width,
        .text_max_tokens = c->text_max_tokens,
        .decoder_prefix_tokens = c->decoder_prefix_tokens,
        .decoder_width = c->decoder_width,
        .decoder_cache_length = c->decoder_cache_length,
        .decoder_vocabulary = c->decoder_vocabulary,
        .decoder_max_new_tokens = c->max_new_tokens,
        .decoder_planes = c->decoder_planes,
        .decoder_kv_heads = c->decoder_kv_heads,
        .decoder_head_dim = c->decoder_head_dim,
        .query_count = model->queries.count,
        .decode_when = c->decode_when,
    };
    snprintf(d.name, sizeof d.name, "%.63s", c->name);
    snprintf(d.precision, sizeof d.precision, "%.15s", c->precision);
    snprintf(d.backend, sizeof d.backend, "%s", model->backend->name);
    vlj_sha256_hex(vlj_index_digest(model->index), d.bundle_sha256);
    for (int i = VLJ_COMPONENT_COUNT - 1; i >= 0; i--) {
        d.component_mask |= model->engines[i] != NULL ? 1u << i : 0;
        if (model->engines[i] != NULL && model->backend->chosen != NULL) { /* the X-Encoder's is the one that counts */
            snprintf(d.backend, sizeof d.backend, "%s: %s", model->backend->name,
                     model->backend->chosen(model->engines[i]));
        }
    }
    while (vlj_index_nth(model->index, VLJ_SECTION_PHRASE_BANK, d.phrase_bank_count, &section)) {
        d.phrase_bank_count++;
    }
    return vlj_struct_write(description, &d, sizeof d, "description");
}

vlj_status vlj_model_query_at(const vlj_model *model, uint32_t index, vlj_query *query) {
    if (model == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_query_at: model is NULL");
    }
    if (index >= model->queries.count) {
        return vlj_fail(VLJ_E_QUERY, "%s has %u compiled queries, no number %u", vlj_index_path(model->index),
                        model->queries.count, index);
    }
    return vlj_struct_write(query, &model->queries.queries[index], sizeof *query, "query");
}

vlj_status vlj_model_find_query(const vlj_model *model, const char *text, vlj_query *query) {
    if (model == NULL || text == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_find_query: %s is NULL", model == NULL ? "model" : "text");
    }
    for (uint32_t i = 0; i < model->queries.count; i++) {
        if (strcmp(model->queries.queries[i].text, text) == 0) {
            return vlj_model_query_at(model, i, query);
        }
    }
    return vlj_fail(VLJ_E_QUERY, "%s has no compiled query \"%s\": compile it with `vljepa query add`",
                    vlj_index_path(model->index), text);
}

const vlj_config *vlj_model_config(const vlj_model *model) {
    return &model->config;
}
const vlj_index *vlj_model_index(const vlj_model *model) {
    return model->index;
}
const vlj_host *vlj_model_host(const vlj_model *model) {
    return &model->host;
}
const vlj_cpus *vlj_model_cpus(const vlj_model *model, vlj_component component) {
    int decodes = component == VLJ_Y_DECODER || component == VLJ_Y_DECODER_PREFIX;
    return decodes ? &model->decode_cpus : &model->cpus;
}
int vlj_model_has(const vlj_model *model, vlj_component component) {
    return model->engines[component] != NULL;
}
uint32_t vlj_model_query_count(const vlj_model *model) {
    return model->queries.count;
}
vlj_lazy_slot *vlj_model_lazy(vlj_model *model, vlj_lazy which) {
    return &model->lazy[which];
}
const vlj_signature *vlj_model_signature(const vlj_model *model, vlj_component component) {
    return &model->signatures[component];
}

vlj_status vlj_model_run(vlj_model *model, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                         vlj_tensor *outputs, uint32_t output_count) {
    uint64_t copied = 0;
    return vlj_model_run_counted(model, component, inputs, input_count, outputs, output_count, &copied);
}

vlj_status vlj_model_run_counted(vlj_model *model, vlj_component component, const vlj_tensor *inputs,
                                 uint32_t input_count, vlj_tensor *outputs, uint32_t output_count, uint64_t *copied) {
    vlj_engine *engine = model->engines[component];
    uint64_t (*count)(const vlj_engine *engine) = model->backend->copied_bytes;
    if (engine == NULL) {
        return vlj_fail(VLJ_E_STATE, "component %s is not open", vlj_component_name(component));
    }
    pthread_mutex_lock(&model->mutexes[component]);
    uint64_t before = count != NULL ? count(engine) : 0;
    vlj_status status = model->backend->run(engine, inputs, input_count, outputs, output_count);
    *copied += count != NULL ? count(engine) - before : 0;
    pthread_mutex_unlock(&model->mutexes[component]);
    return status;
}

void vlj_model_prepare(vlj_model *model, vlj_component component, const vlj_tensor *inputs, uint32_t input_count) {
    vlj_engine *engine = model->engines[component];
    if (engine != NULL && model->backend->prepare != NULL) {
        pthread_mutex_lock(&model->mutexes[component]);
        model->backend->prepare(engine, inputs, input_count);
        pthread_mutex_unlock(&model->mutexes[component]);
    }
}

int vlj_model_keeps_tokens(const vlj_model *model) {
    return model->backend->device_alloc != NULL && model->engines[VLJ_X_ENCODER] != NULL &&
           model->engines[VLJ_PREDICTOR] != NULL;
}

void *vlj_model_device_alloc(vlj_model *model, size_t bytes) {
    return model->backend->device_alloc(model->engines[VLJ_X_ENCODER], bytes);
}

void vlj_model_device_free(vlj_model *model, void *memory) {
    model->backend->device_free(model->engines[VLJ_X_ENCODER], memory);
}

void vlj_model_memory(const vlj_model *model, vlj_memory *memory) {
    memory->model_bytes = vlj_host_bytes(&model->host);
    memory->mapped_bytes = vlj_index_mapped_bytes(model->index);
    memory->backend_bytes = 0;
    for (int i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        if (model->engines[i] != NULL) {
            memory->backend_bytes += model->backend->memory(model->engines[i]);
        }
    }
}
