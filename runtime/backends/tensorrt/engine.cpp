// engine.cpp: an engine that `vljepa export --engine tensorrt` built, run by TensorRT 10.3 to 11: libvljepa_tensorrt.
//
// One CUDA stream, one execution context and one device buffer per tensor for each engine, all made at open. A run ends
// when the device has finished, so that a stage's time is its own and the next engine needs no event to wait for.
#include <cuda_runtime_api.h>
#include <NvInfer.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "tensorrt_plugin.h"

namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;

// Keeps the last error, which names the layer, the plug-in or the version that TensorRT minds.
class Logger : public nvinfer1::ILogger {
  public:
    Logger(vlj_tensorrt_log log, void *user_data) : log_(log), user_data_(user_data) {}

    void log(Severity severity, nvinfer1::AsciiChar const *message) noexcept override {
        if (severity <= Severity::kERROR) {
            std::snprintf(last_, sizeof last_, "%s", message);
        }
        static constexpr vlj_log_level levels[] = {VLJ_LOG_ERROR, VLJ_LOG_ERROR, VLJ_LOG_WARNING, VLJ_LOG_INFO};
        if (log_ != nullptr && severity <= Severity::kINFO) {
            log_(user_data_, levels[static_cast<int>(severity)], message);
        }
    }

    const char *last() const { return last_[0] != '\0' ? last_ : "TensorRT gives no reason"; }
    void clear() { last_[0] = '\0'; }

  private:
    vlj_tensorrt_log log_;
    void *user_data_;
    char last_[600] = "";
};

int fail(char *why, size_t why_bytes, const char *what, const char *reason) {
    std::snprintf(why, why_bytes, "%s: %s", what, reason);
    return 1;
}

int check(cudaError_t error, const char *what, char *why, size_t why_bytes) {
    return error == cudaSuccess ? 0 : fail(why, why_bytes, what, cudaGetErrorString(error));
}

int core_dtype(DataType type) {
    switch (type) {
    case DataType::kUINT8: return VLJ_UINT8;
    case DataType::kINT64: return VLJ_INT64;
    case DataType::kFLOAT: return VLJ_FLOAT32;
    case DataType::kHALF: return VLJ_FLOAT16;
    case DataType::kBF16: return VLJ_BFLOAT16;
    case DataType::kINT8: return VLJ_INT8;
    default: return -1;
    }
}

size_t bytes_of(int dtype) {
    static constexpr size_t sizes[] = {1, 8, 4, 2, 2, 1}; // in vlj_dtype's order
    return dtype >= 0 ? sizes[dtype] : 8;
}

bool on_device(const void *memory) {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, memory) != cudaSuccess) {
        cudaGetLastError(); // memory that CUDA has never seen: not an error to anyone after us
        return false;
    }
    return attributes.type == cudaMemoryTypeDevice;
}

struct Binding {
    vlj_tensorrt_binding told{};
    void *buffer = nullptr; // on the device, as large as the tensor gets
    size_t bytes = 0;
};

} // namespace

struct vlj_tensorrt_engine {
    vlj_tensorrt_engine(vlj_tensorrt_log log, void *user_data) : logger(log, user_data) {}
    ~vlj_tensorrt_engine() {
        if (device >= 0) {
            cudaSetDevice(device);
        }
        context.reset(); // before the stream that it may still know
        engine.reset();
        runtime.reset();
        for (Binding &binding : bindings) {
            cudaFree(binding.buffer);
        }
        if (stream != nullptr) {
            cudaStreamDestroy(stream);
        }
    }

    Logger logger;
    int device = -1;
    cudaStream_t stream = nullptr;
    std::unique_ptr<nvinfer1::IRuntime> runtime;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;
    std::unique_ptr<nvinfer1::IExecutionContext> context;
    std::vector<Binding> bindings;
};

namespace {

int describe(uint32_t device, char *library, size_t library_bytes, char *gpu, size_t gpu_bytes, char *why,
             size_t why_bytes) {
    const int version = getInferLibVersion(); // major * 10000 + minor * 100 + patch since 10
    std::snprintf(library, library_bytes, "%d.%d.%d", version / 10000, version / 100 % 100, version % 100);
    cudaDeviceProp properties{};
    if (check(cudaGetDeviceProperties(&properties, static_cast<int>(device)), "CUDA", why, why_bytes) != 0) {
        return 1;
    }
    std::snprintf(gpu, gpu_bytes, "%s sm%d%d", properties.name, properties.major, properties.minor);
    return 0;
}

// Device buffers for every tensor at its largest: of outputs with a size that changes, what the largest inputs give.
int take_bindings(vlj_tensorrt_engine &self, char *why, size_t why_bytes) {
    const nvinfer1::ICudaEngine &engine = *self.engine;
    self.bindings.resize(static_cast<size_t>(std::max(engine.getNbIOTensors(), 0)));
    for (size_t i = 0; i < self.bindings.size(); i++) {
        vlj_tensorrt_binding &told = self.bindings[i].told;
        const char *name = engine.getIOTensorName(static_cast<int32_t>(i));
        const Dims shape = engine.getTensorShape(name);
        std::snprintf(told.name, sizeof told.name, "%s", name);
        if (shape.nbDims < 0 || shape.nbDims > 6) {
            return fail(why, why_bytes, name, "its rank is not between 0 and 6");
        }
        told.is_input = engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        told.dtype = core_dtype(engine.getTensorDataType(name));
        told.rank = static_cast<uint32_t>(shape.nbDims);
        const Dims largest =
            told.is_input ? engine.getProfileShape(name, 0, nvinfer1::OptProfileSelector::kMAX) : shape;
        for (uint32_t d = 0; d < told.rank; d++) {
            told.shape[d] = shape.d[d];
            told.largest[d] = largest.nbDims == shape.nbDims && largest.d[d] > 0 ? largest.d[d] : shape.d[d];
        }
        if (told.is_input && !self.context->setInputShape(name, largest.nbDims == shape.nbDims ? largest : shape)) {
            return fail(why, why_bytes, name, self.logger.last());
        }
    }
    for (Binding &binding : self.bindings) {
        vlj_tensorrt_binding &told = binding.told;
        if (!told.is_input) { // all inputs are at their largest now
            const Dims largest = self.context->getTensorShape(told.name);
            for (uint32_t d = 0; d < told.rank && largest.nbDims == static_cast<int32_t>(told.rank); d++) {
                told.largest[d] = largest.d[d];
            }
        }
        binding.bytes = bytes_of(told.dtype);
        for (uint32_t d = 0; d < told.rank; d++) {
            if (told.largest[d] < 1) {
                return fail(why, why_bytes, told.name, "its largest size is unknown: build the engine with a profile");
            }
            binding.bytes *= static_cast<size_t>(told.largest[d]);
        }
        if (check(cudaMalloc(&binding.buffer, binding.bytes), told.name, why, why_bytes) != 0) {
            return 1;
        }
    }
    return 0;
}

int open_engine(vlj_tensorrt_engine &self, const void *plan, size_t plan_bytes, uint32_t device, char *why,
                size_t why_bytes) {
    if (check(cudaSetDevice(static_cast<int>(device)), "CUDA", why, why_bytes) != 0) {
        return 1;
    }
    self.device = static_cast<int>(device);
    self.runtime.reset(nvinfer1::createInferRuntime(self.logger));
    if (self.runtime == nullptr) {
        return fail(why, why_bytes, "TensorRT doesn't start", self.logger.last());
    }
    self.engine.reset(self.runtime->deserializeCudaEngine(plan, plan_bytes));
    if (self.engine == nullptr) {
        return fail(why, why_bytes, "TensorRT doesn't take the engine", self.logger.last());
    }
    self.context.reset(self.engine->createExecutionContext());
    if (self.context == nullptr) {
        return fail(why, why_bytes, "TensorRT makes no execution context", self.logger.last());
    }
    if (check(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking), "CUDA", why, why_bytes) != 0) {
        return 1;
    }
    return take_bindings(self, why, why_bytes);
}

int open(const void *plan, size_t plan_bytes, uint32_t device, vlj_tensorrt_log log, void *user_data,
         vlj_tensorrt_engine **engine, char *why, size_t why_bytes) {
    *engine = nullptr;
    try { // of the standard library's own: TensorRT throws nothing
        auto made = std::make_unique<vlj_tensorrt_engine>(log, user_data);
        if (open_engine(*made, plan, plan_bytes, device, why, why_bytes) != 0) {
            return 1;
        }
        *engine = made.release();
        return 0;
    } catch (const std::bad_alloc &) {
        return fail(why, why_bytes, "TensorRT", "no memory");
    }
}

uint32_t binding_count(const vlj_tensorrt_engine *engine) {
    return static_cast<uint32_t>(engine->bindings.size());
}

void binding(const vlj_tensorrt_engine *engine, uint32_t i, vlj_tensorrt_binding *told) {
    *told = engine->bindings[i].told;
}

Binding *find(vlj_tensorrt_engine &self, const char *name) {
    for (Binding &binding : self.bindings) {
        if (std::strcmp(binding.told.name, name) == 0) {
            return &binding;
        }
    }
    return nullptr;
}

// Where the engine reads or writes the tensor: the caller's device memory, or the engine's own, which has to be filled.
int place(vlj_tensorrt_engine &self, const vlj_tensor &tensor, bool is_input, void **where, char *why,
          size_t why_bytes) {
    Binding *binding = find(self, tensor.name);
    if (binding == nullptr) {
        return fail(why, why_bytes, tensor.name, "the engine has no such tensor");
    }
    *where = on_device(tensor.data) ? tensor.data : binding->buffer;
    if (*where == binding->buffer && tensor.size_bytes > binding->bytes) {
        return fail(why, why_bytes, tensor.name, "larger than the engine was built for");
    }
    Dims shape{};
    shape.nbDims = static_cast<int32_t>(tensor.rank);
    std::copy_n(tensor.shape, tensor.rank, shape.d);
    if ((is_input && !self.context->setInputShape(tensor.name, shape)) ||
        !self.context->setTensorAddress(tensor.name, *where)) {
        return fail(why, why_bytes, tensor.name, self.logger.last());
    }
    return 0;
}

int run(vlj_tensorrt_engine *engine, const vlj_tensor *inputs, uint32_t input_count, vlj_tensor *outputs,
        uint32_t output_count, uint64_t *copied_bytes, char *why, size_t why_bytes) {
    vlj_tensorrt_engine &self = *engine;
    void *where = nullptr;
    *copied_bytes = 0;
    self.logger.clear();
    if (check(cudaSetDevice(self.device), "CUDA", why, why_bytes) != 0) { // a thread's own: any may call
        return 1;
    }
    for (uint32_t i = 0; i < input_count; i++) {
        const vlj_tensor &tensor = inputs[i];
        if (place(self, tensor, true, &where, why, why_bytes) != 0) {
            return 1;
        }
        if (where != tensor.data) {
            *copied_bytes += tensor.size_bytes;
            if (check(cudaMemcpyAsync(where, tensor.data, tensor.size_bytes, cudaMemcpyHostToDevice, self.stream),
                      tensor.name, why, why_bytes) != 0) {
                return 1;
            }
        }
    }
    for (uint32_t i = 0; i < output_count; i++) {
        if (place(self, outputs[i], false, &where, why, why_bytes) != 0) {
            return 1;
        }
    }
    if (!self.context->enqueueV3(self.stream)) {
        return fail(why, why_bytes, "TensorRT doesn't run it", self.logger.last());
    }
    for (uint32_t i = 0; i < output_count; i++) {
        vlj_tensor &tensor = outputs[i];
        Binding *binding = find(self, tensor.name);
        if (!on_device(tensor.data)) {
            *copied_bytes += tensor.size_bytes;
            if (check(cudaMemcpyAsync(tensor.data, binding->buffer, tensor.size_bytes, cudaMemcpyDeviceToHost,
                                      self.stream),
                      tensor.name, why, why_bytes) != 0) {
                return 1;
            }
        }
    }
    return check(cudaStreamSynchronize(self.stream), "running on the GPU", why, why_bytes);
}

int64_t device_bytes(const vlj_tensorrt_engine *engine) {
    int64_t bytes = engine->engine->getDeviceMemorySizeV2();
    for (const Binding &binding : engine->bindings) {
        bytes += static_cast<int64_t>(binding.bytes);
    }
    return bytes;
}

void *device_alloc(vlj_tensorrt_engine *engine, size_t bytes) {
    void *memory = nullptr;
    const bool made = cudaSetDevice(engine->device) == cudaSuccess && cudaMalloc(&memory, bytes) == cudaSuccess;
    return made ? memory : nullptr;
}

void device_free(vlj_tensorrt_engine *engine, void *memory) {
    cudaSetDevice(engine->device);
    cudaFree(memory);
}

void close(vlj_tensorrt_engine *engine) {
    delete engine;
}

const vlj_tensorrt_plugin plugin = {VLJ_TENSORRT_PLUGIN_VERSION,
                                    describe,
                                    open,
                                    binding_count,
                                    binding,
                                    run,
                                    device_bytes,
                                    device_alloc,
                                    device_free,
                                    close};

} // namespace

extern "C" __attribute__((visibility("default"))) const vlj_tensorrt_plugin *vlj_tensorrt_plugin_get(uint32_t version) {
    return version == VLJ_TENSORRT_PLUGIN_VERSION ? &plugin : nullptr;
}
