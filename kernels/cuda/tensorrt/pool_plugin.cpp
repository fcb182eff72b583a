// pool_plugin.cpp: vljepa::MaskedMeanPool for TensorRT, an IPluginV3 over the kernels of pool_block.h.
//
//   hidden [B, M, W], mask [B, M], weight [W, E], bias [E] -> embedding [B, E]; float32, W and E multiples of 4
//
// TensorRT's ONNX parser makes it of a node without a function body: `vljepa export --engine tensorrt --pool-plugin`.
// The library is one that IPluginRegistry::loadLibrary (trtexec --dynamicPlugins) takes.
#include <NvInferRuntime.h>

#include <new>

#include "pool_enqueue.h"

namespace {

using namespace nvinfer1;

enum Tensor { HIDDEN, MASK, WEIGHT, BIAS, EMBEDDING, TENSORS };
constexpr int32_t INPUTS = EMBEDDING;

constexpr char NAME[] = "MaskedMeanPool";
constexpr char VERSION[] = "1";
constexpr char NAMESPACE[] = "vljepa";

const PluginFieldCollection no_fields{0, nullptr};

class MaskedMeanPool final : public IPluginV3,
                             public IPluginV3OneCore,
                             public IPluginV3OneBuild,
                             public IPluginV3OneRuntime {
  public:
    IPluginCapability *getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
        case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore *>(this);
        case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild *>(this);
        case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime *>(this);
        }
        return nullptr;
    }
    IPluginV3 *clone() noexcept override { return new (std::nothrow) MaskedMeanPool; } // it has no state

    // ---- core ----
    AsciiChar const *getPluginName() const noexcept override { return NAME; }
    AsciiChar const *getPluginVersion() const noexcept override { return VERSION; }
    AsciiChar const *getPluginNamespace() const noexcept override { return NAMESPACE; }

    // ---- build ----
    int32_t getNbOutputs() const noexcept override { return 1; }

    int32_t getOutputDataTypes(DataType *types, int32_t outputs, DataType const *,
                               int32_t inputs) const noexcept override {
        if (inputs != INPUTS || outputs != 1) {
            return 1;
        }
        types[0] = DataType::kFLOAT;
        return 0;
    }

    int32_t getOutputShapes(DimsExprs const *inputs, int32_t input_count, DimsExprs const *, int32_t,
                            DimsExprs *outputs, int32_t output_count, IExprBuilder &) noexcept override {
        if (input_count != INPUTS || output_count != 1 || inputs[HIDDEN].nbDims != 3 || inputs[MASK].nbDims != 2 ||
            inputs[WEIGHT].nbDims != 2 || inputs[BIAS].nbDims != 1) {
            return 1;
        }
        outputs[0].nbDims = 2;
        outputs[0].d[0] = inputs[HIDDEN].d[0];
        outputs[0].d[1] = inputs[WEIGHT].d[1];
        return 0;
    }

    bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const *tensors, int32_t inputs,
                                   int32_t outputs) noexcept override {
        const PluginTensorDesc &tensor = tensors[position].desc;
        return inputs == INPUTS && outputs == 1 && tensor.type == DataType::kFLOAT &&
               tensor.format == TensorFormat::kLINEAR;
    }

    int32_t configurePlugin(DynamicPluginTensorDesc const *in, int32_t inputs, DynamicPluginTensorDesc const *,
                            int32_t outputs) noexcept override {
        return inputs == INPUTS && outputs == 1 && takes(in[WEIGHT].desc.dims) ? 0 : 1;
    }

    size_t getWorkspaceSize(DynamicPluginTensorDesc const *in, int32_t, DynamicPluginTensorDesc const *,
                            int32_t) const noexcept override {
        const Dims &hidden = in[HIDDEN].max, &weight = in[WEIGHT].max;
        return vlj_pool_workspace_bytes(size(hidden, 0), size(hidden, 1), size(hidden, 2), size(weight, 1));
    }

    // ---- run ----
    int32_t onShapeChange(PluginTensorDesc const *in, int32_t inputs, PluginTensorDesc const *,
                          int32_t) noexcept override {
        const bool agree = inputs == INPUTS && in[MASK].dims.d[0] == in[HIDDEN].dims.d[0] &&
                           in[MASK].dims.d[1] == in[HIDDEN].dims.d[1] && in[WEIGHT].dims.d[0] == in[HIDDEN].dims.d[2] &&
                           in[BIAS].dims.d[0] == in[WEIGHT].dims.d[1];
        return agree && takes(in[WEIGHT].dims) ? 0 : 1;
    }

    int32_t enqueue(PluginTensorDesc const *in, PluginTensorDesc const *, void const *const *inputs,
                    void *const *outputs, void *workspace, cudaStream_t stream) noexcept override {
        const Dims &hidden = in[HIDDEN].dims, &weight = in[WEIGHT].dims;
        const cudaError_t error =
            vlj_pool_enqueue(static_cast<const float *>(inputs[HIDDEN]), static_cast<const float *>(inputs[MASK]),
                             static_cast<const float *>(inputs[WEIGHT]), static_cast<const float *>(inputs[BIAS]),
                             static_cast<float *>(outputs[0]), workspace, static_cast<uint32_t>(hidden.d[0]),
                             static_cast<uint32_t>(hidden.d[1]), static_cast<uint32_t>(hidden.d[2]),
                             static_cast<uint32_t>(weight.d[1]), stream);
        return error == cudaSuccess ? 0 : 1;
    }

    IPluginV3 *attachToContext(IPluginResourceContext *) noexcept override { return clone(); }
    PluginFieldCollection const *getFieldsToSerialize() noexcept override { return &no_fields; }

  private:
    static bool takes(const Dims &weight) { // sizes below 0 aren't known yet
        const auto even = [](int64_t size) { return size < 0 || size % 4 == 0; };
        return weight.nbDims == 2 && even(weight.d[0]) && even(weight.d[1]) && weight.d[0] <= VLJ_POOL_MOST_WIDTH;
    }
    static uint64_t size(const Dims &dims, int32_t axis) {
        return axis < dims.nbDims && dims.d[axis] > 0 ? static_cast<uint64_t>(dims.d[axis]) : 1u;
    }
};

class Creator final : public IPluginCreatorV3One {
  public:
    IPluginV3 *createPlugin(AsciiChar const *, PluginFieldCollection const *, TensorRTPhase) noexcept override {
        return new (std::nothrow) MaskedMeanPool;
    }
    PluginFieldCollection const *getFieldNames() noexcept override { return &no_fields; }
    AsciiChar const *getPluginName() const noexcept override { return NAME; }
    AsciiChar const *getPluginVersion() const noexcept override { return VERSION; }
    AsciiChar const *getPluginNamespace() const noexcept override { return NAMESPACE; }
};

} // namespace

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(ILoggerFinder *) {}

extern "C" __attribute__((visibility("default"))) IPluginCreatorInterface *const *getCreators(int32_t &count) {
    static Creator creator;
    static IPluginCreatorInterface *const creators[] = {&creator};
    count = 1;
    return creators;
}
