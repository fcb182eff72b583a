// rotary_attention.cpp: OpenVINO's operator vljepa::RotaryAttention over kernels/attention.h.
//
//   RotaryAttention(qkv [B,N,(heads + 2 kv_heads) * D], cosine [N,D], sine [N,D] [, mask [B,1,1,N]])
//     -> [B,N,heads * D], all float32; attributes: heads, kv_heads
//
// Backend "openvino" writes it into a graph (runtime/backends/onnx_attention.c) and has OpenVINO load this library.
// OpenVINO's C interface turns what is thrown here into statuses.
#include <tbb/parallel_for.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/core/version.hpp>
#include <openvino/frontend/extension/op.hpp>
#include <openvino/frontend/onnx/extension/conversion.hpp>
#include <openvino/op/op.hpp>

extern "C" {
#include "attention.h"
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define VERSION TEXT(OPENVINO_VERSION_MAJOR) "." TEXT(OPENVINO_VERSION_MINOR) "." TEXT(OPENVINO_VERSION_PATCH)

namespace {

std::atomic<unsigned long long> runs{0};

// A thread's working memory, which grows and is kept: some hundred kilobytes.
class Scratch {
public:
    void* get(size_t bytes) {
        if (m_bytes < bytes) {
            bytes = (bytes + VLJ_ATTENTION_ALIGNMENT - 1) / VLJ_ATTENTION_ALIGNMENT * VLJ_ATTENTION_ALIGNMENT;
            m_memory.reset(std::aligned_alloc(VLJ_ATTENTION_ALIGNMENT, bytes));
            m_bytes = m_memory ? bytes : 0;
        }
        if (!m_memory) {
            throw std::bad_alloc();
        }
        return m_memory.get();
    }

private:
    struct Free {
        void operator()(void* memory) const {
            std::free(memory);
        }
    };
    std::unique_ptr<void, Free> m_memory;
    size_t m_bytes = 0;
};

class RotaryAttention : public ov::op::Op {
public:
    OPENVINO_OP("RotaryAttention", "vljepa");

    RotaryAttention() = default;
    RotaryAttention(const ov::OutputVector& inputs, int64_t heads, int64_t kv_heads)
        : Op(inputs), m_heads(heads), m_kv_heads(kv_heads) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const size_t count = get_input_size();
        NODE_VALIDATION_CHECK(this, count == 3 || count == 4, "3 or 4 inputs, not ", count);
        NODE_VALIDATION_CHECK(this, m_heads > 0 && m_kv_heads > 0 && m_heads % m_kv_heads == 0, m_heads,
                              " heads don't go with ", m_kv_heads, " key heads");
        for (size_t i = 0; i < count; i++) {
            NODE_VALIDATION_CHECK(this, get_input_element_type(i) == ov::element::f32, "input ", i, " isn't float32");
        }
        const int64_t all = m_heads + 2 * m_kv_heads;
        ov::PartialShape qkv = get_input_partial_shape(0), table = get_input_partial_shape(1);
        NODE_VALIDATION_CHECK(this, qkv.rank().compatible(3) && table.rank().compatible(2), "qkv ", qkv,
                              " and tables ", table);
        if (qkv.rank().is_dynamic() || table.rank().is_dynamic()) {
            set_output_type(0, ov::element::f32, ov::PartialShape::dynamic(3));
            return;
        }
        // Equal, not broadcast: the kernel reads a row of the tables for each token.
        ov::Dimension tokens, width;
        const bool fits = ov::Dimension::merge(tokens, qkv[1], table[0]) &&
                          ov::Dimension::merge(width, table[1], get_head_width(qkv[2], all)) &&
                          get_input_partial_shape(2).compatible(table) &&
                          (width.is_dynamic() || qkv[2].compatible(all * width.get_length()));
        NODE_VALIDATION_CHECK(this, fits, "qkv ", qkv, " of ", all, " heads doesn't go with tables ", table, " and ",
                              get_input_partial_shape(2));
        if (count == 4) {
            const ov::PartialShape mask{qkv[0], 1, 1, tokens};
            NODE_VALIDATION_CHECK(this, get_input_partial_shape(3).compatible(mask), "mask ",
                                  get_input_partial_shape(3), ", expected ", mask);
        }
        const ov::Dimension merged = width.is_static() ? ov::Dimension(m_heads * width.get_length()) : ov::Dimension();
        set_output_type(0, ov::element::f32, ov::PartialShape{qkv[0], tokens, merged});
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& inputs) const override {
        return std::make_shared<RotaryAttention>(inputs, m_heads, m_kv_heads);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("heads", m_heads);
        visitor.on_attribute("kv_heads", m_kv_heads);
        return true;
    }

    bool has_evaluate() const override {
        return true;
    }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        const ov::Shape qkv = inputs[0].get_shape(), table = inputs[1].get_shape();
        const size_t heads = static_cast<size_t>(m_heads), kv_heads = static_cast<size_t>(m_kv_heads);
        if (qkv.size() != 3 || table.size() != 2 || table[0] != qkv[1] || inputs[2].get_shape() != table ||
            table[1] % 2 != 0 || qkv[2] != (heads + 2 * kv_heads) * table[1] ||
            (inputs.size() > 3 && inputs[3].get_shape() != ov::Shape{qkv[0], 1, 1, qkv[1]})) {
            return false; // OpenVINO says which node it was
        }
        outputs[0].set_shape({qkv[0], qkv[1], heads * table[1]});
        vlj_attention whole = {};
        whole.tokens = qkv[1];
        whole.heads = heads;
        whole.kv_heads = kv_heads;
        whole.width = table[1];
        whole.qkv = inputs[0].data<const float>();
        whole.cosine = inputs[1].data<const float>();
        whole.sine = inputs[2].data<const float>();
        whole.mask = inputs.size() > 3 ? inputs[3].data<const float>() : nullptr;
        whole.out = outputs[0].data<float>();
        run(whole, qkv[0]);
        runs.fetch_add(1, std::memory_order_relaxed);
        return true;
    }

private:
    static ov::Dimension get_head_width(const ov::Dimension& columns, int64_t heads) {
        return columns.is_static() ? ov::Dimension(columns.get_length() / heads) : ov::Dimension();
    }

    // Items are (one of the batch, a key head, a part of its query heads): parts only where threads would be idle, since
    // each makes the keys ready anew.
    static void run(const vlj_attention& whole, size_t batch) {
        const vlj_attention_kernels* kernels = vlj_attention_kernels_best(whole.width);
        const size_t group = whole.heads / whole.kv_heads, bytes = kernels->scratch_bytes(&whole);
        const size_t units = batch * whole.kv_heads, threads = tbb::this_task_arena::max_concurrency();
        size_t parts = units == 0 ? 1 : (threads + units - 1) / units;
        while (parts > group || group % parts != 0) {
            parts = parts > group ? group : parts - 1;
        }
        const size_t count = group / parts;
        tbb::parallel_for(
            tbb::blocked_range<size_t>(0, units * parts, 1),
            [&](const tbb::blocked_range<size_t>& range) {
                thread_local Scratch scratch;
                void* memory = scratch.get(bytes);
                for (size_t i = range.begin(); i < range.end(); i++) {
                    const size_t item = i / parts / whole.kv_heads, first = i % (parts * whole.kv_heads) * count;
                    vlj_attention a = whole;
                    a.qkv += item * a.tokens * (a.heads + 2 * a.kv_heads) * a.width;
                    a.mask += a.mask != nullptr ? item * a.tokens : 0;
                    a.out += item * a.tokens * a.heads * a.width;
                    kernels->run(&a, first, count, memory);
                }
            },
            tbb::simple_partitioner());
    }

    int64_t m_heads = 0, m_kv_heads = 0;
};

ov::OutputVector from_onnx(const ov::frontend::NodeContext& node) {
    ov::OutputVector inputs;
    for (size_t i = 0; i < node.get_input_size(); i++) {
        inputs.push_back(node.get_input(static_cast<int>(i)));
    }
    return std::make_shared<RotaryAttention>(inputs, node.get_attribute<int64_t>("heads"),
                                             node.get_attribute<int64_t>("kv_heads"))
        ->outputs();
}

} // namespace

extern "C" {
/* How often operators have run in this process, for tests. */
OPENVINO_CORE_EXPORTS unsigned long long vljepa_openvino_ops_runs(void) noexcept {
    return runs.load(std::memory_order_relaxed);
}

OPENVINO_CORE_EXPORTS const char* vljepa_openvino_ops_version(void) noexcept {
    return VERSION;
}
}

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>(
    {std::make_shared<ov::OpExtension<RotaryAttention>>(),
     std::make_shared<ov::frontend::onnx::ConversionExtension>("RotaryAttention", "vljepa", from_onnx)}));
