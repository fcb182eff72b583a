// rotary_attention.cpp: OpenVINO's operator vljepa::RotaryAttention over kernels/attention.h.
//
//   RotaryAttention(qkv [B,N,(heads + 2 kv_heads) * D], cosine [N,D], sine [N,D] [, mask [B,1,1,N]] [, scale []])
//     -> [B,N,heads * D]; attributes: heads, kv_heads, masked, quantised
//
// Inputs are float32, but for qkv, which is taken as BF16: programs with this operator compute in that, and what they
// have rounded needn't be made float32 for it. With a scale the result is int8, ready for the next product; else
// float32.
//
// Backend "openvino" writes it into a graph (runtime/backends/onnx_attention.c) and has OpenVINO load this library.
// OpenVINO's C interface turns what is thrown here into statuses.
#include <tbb/parallel_for.h>

#include <openvino/core/op_extension.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/op.hpp>

#include "operators.hpp"
#include "scratch.hpp"

extern "C" {
#include "attention.h"
}

namespace {

class RotaryAttention : public ov::op::Op {
  public:
    OPENVINO_OP("RotaryAttention", "vljepa");

    RotaryAttention() = default;
    RotaryAttention(const ov::OutputVector &inputs, int64_t heads, int64_t kv_heads, int64_t masked, int64_t quantised)
        : Op(inputs), m_heads(heads), m_kv_heads(kv_heads), m_masked(masked), m_quantised(quantised) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const size_t count = get_input_size();
        const ov::element::Type type = m_quantised != 0 ? ov::element::i8 : ov::element::f32;
        NODE_VALIDATION_CHECK(this, (m_masked | m_quantised | 1) == 1, "masked and quantised are 0 or 1");
        NODE_VALIDATION_CHECK(this, count == 3 + static_cast<size_t>(m_masked + m_quantised), count, " inputs");
        NODE_VALIDATION_CHECK(this, m_heads > 0 && m_kv_heads > 0 && m_heads % m_kv_heads == 0, m_heads,
                              " heads don't go with ", m_kv_heads, " key heads");
        for (size_t i = 0; i < count; i++) {
            const ov::element::Type expected = i == 0 ? ov::element::bf16 : ov::element::f32;
            NODE_VALIDATION_CHECK(this, get_input_element_type(i) == expected, "input ", i, " isn't ", expected);
        }
        const int64_t all = m_heads + 2 * m_kv_heads;
        ov::PartialShape qkv = get_input_partial_shape(0), table = get_input_partial_shape(1);
        NODE_VALIDATION_CHECK(this, qkv.rank().compatible(3) && table.rank().compatible(2), "qkv ", qkv, " and tables ",
                              table);
        if (qkv.rank().is_dynamic() || table.rank().is_dynamic()) {
            set_output_type(0, type, ov::PartialShape::dynamic(3));
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
        if (m_masked != 0) {
            const ov::PartialShape mask{qkv[0], 1, 1, tokens};
            NODE_VALIDATION_CHECK(this, get_input_partial_shape(3).compatible(mask), "mask ",
                                  get_input_partial_shape(3), ", expected ", mask);
        }
        NODE_VALIDATION_CHECK(this,
                              m_quantised == 0 || get_input_partial_shape(count - 1).compatible(ov::PartialShape{}),
                              "scale ", get_input_partial_shape(count - 1));
        const ov::Dimension merged = width.is_static() ? ov::Dimension(m_heads * width.get_length()) : ov::Dimension();
        set_output_type(0, type, ov::PartialShape{qkv[0], tokens, merged});
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        return std::make_shared<RotaryAttention>(inputs, m_heads, m_kv_heads, m_masked, m_quantised);
    }

    bool visit_attributes(ov::AttributeVisitor &visitor) override {
        visitor.on_attribute("heads", m_heads);
        visitor.on_attribute("kv_heads", m_kv_heads);
        visitor.on_attribute("masked", m_masked);
        visitor.on_attribute("quantised", m_quantised);
        return true;
    }

    bool has_evaluate() const override { return true; }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const ov::Shape qkv = inputs[0].get_shape(), table = inputs[1].get_shape();
        const size_t heads = static_cast<size_t>(m_heads), kv_heads = static_cast<size_t>(m_kv_heads);
        if (qkv.size() != 3 || table.size() != 2 || table[0] != qkv[1] || inputs[2].get_shape() != table ||
            table[1] % 2 != 0 || qkv[2] != (heads + 2 * kv_heads) * table[1] ||
            (m_masked != 0 && inputs[3].get_shape() != ov::Shape{qkv[0], 1, 1, qkv[1]})) {
            return false; // OpenVINO says which node it was
        }
        outputs[0].set_shape({qkv[0], qkv[1], heads * table[1]});
        vlj_attention whole = {};
        whole.tokens = qkv[1];
        whole.heads = heads;
        whole.kv_heads = kv_heads;
        whole.width = table[1];
        whole.qkv = inputs[0].data();
        whole.qkv_is_bfloat16 = 1;
        whole.cosine = inputs[1].data<const float>();
        whole.sine = inputs[2].data<const float>();
        whole.mask = m_masked != 0 ? inputs[3].data<const float>() : nullptr;
        whole.out = outputs[0].data();
        whole.out_scale = m_quantised != 0 ? *inputs.back().data<const float>() : 0.0f;
        run(whole, qkv[0]);
        vljepa::count_run();
        return true;
    }

  private:
    static ov::Dimension get_head_width(const ov::Dimension &columns, int64_t heads) {
        return columns.is_static() ? ov::Dimension(columns.get_length() / heads) : ov::Dimension();
    }

    // Asking the CPU takes its time, and nearly all heads are of one width.
    static const vlj_attention_kernels *get_kernels(size_t width) {
        static const vlj_attention_kernels *const best = vlj_attention_kernels_best(64);
        return width == 64 ? best : vlj_attention_kernels_best(width);
    }

    // Items are (one of the batch, a key head, a part of its query heads): parts only where threads would be idle,
    // since each makes the keys ready anew.
    static void run(const vlj_attention &whole, size_t batch) {
        const vlj_attention_kernels *kernels = get_kernels(whole.width);
        const size_t group = whole.heads / whole.kv_heads, bytes = kernels->scratch_bytes(&whole);
        const size_t units = batch * whole.kv_heads, threads = tbb::this_task_arena::max_concurrency();
        size_t parts = units == 0 ? 1 : (threads + units - 1) / units;
        while (parts > group || group % parts != 0) {
            parts = parts > group ? group : parts - 1;
        }
        const size_t count = group / parts;
        tbb::parallel_for(
            tbb::blocked_range<size_t>(0, units * parts, 1),
            [&](const tbb::blocked_range<size_t> &range) {
                thread_local vljepa::Scratch scratch;
                void *memory = scratch.get(bytes);
                for (size_t i = range.begin(); i < range.end(); i++) {
                    const size_t item = i / parts / whole.kv_heads, first = i % (parts * whole.kv_heads) * count;
                    vlj_attention a = whole;
                    const size_t taken = item * a.tokens * (a.heads + 2 * a.kv_heads) * a.width;
                    const size_t given = item * a.tokens * a.heads * a.width;
                    a.qkv = static_cast<const ov::bfloat16 *>(whole.qkv) + taken;
                    a.mask += a.mask != nullptr ? item * a.tokens : 0;
                    a.out = whole.out_scale != 0.0f ? static_cast<void *>(static_cast<int8_t *>(whole.out) + given)
                                                    : static_cast<void *>(static_cast<float *>(whole.out) + given);
                    kernels->run(&a, first, count, memory);
                }
            },
            tbb::simple_partitioner());
    }

    int64_t m_heads = 0, m_kv_heads = 0, m_masked = 0, m_quantised = 0;
};

ov::OutputVector from_onnx(const ov::frontend::NodeContext &node) {
    ov::OutputVector inputs = vljepa::inputs_of(node);
    const auto number = [&](const char *name) { return node.get_attribute<int64_t>(name); };
    if (inputs.at(0).get_element_type() != ov::element::bf16) {
        inputs[0] = std::make_shared<ov::op::v0::Convert>(inputs[0], ov::element::bf16);
    }
    return std::make_shared<RotaryAttention>(inputs, number("heads"), number("kv_heads"), number("masked"),
                                             number("quantised"))
        ->outputs();
}

} // namespace

vljepa::Extensions vljepa::rotary_attention() {
    return {std::make_shared<ov::OpExtension<RotaryAttention>>(),
            std::make_shared<ov::frontend::onnx::ConversionExtension>("RotaryAttention", "vljepa", from_onnx)};
}
