// quantised_linear.cpp: OpenVINO's operator vljepa::QuantisedLinear over kernels/linear.h.
//
//   QuantisedLinear(x [..,K], weights int8 [N / 16,K / 64,16,64], scale [N] [, bias] [, norm_weight [K]]
//                   [, norm_bias [K]] [, factor [..,N]] [, sum [..,N]]) -> [..,N]
//
// Weights are packed and scales multiplied once, when it is read from the ONNX node (runtime/backends/onnx_linear.c),
// which has them as quantisation leaves them. x is float32, BF16 or int8, factor BF16, the others float32.
#include <tbb/parallel_for.h>

#include <algorithm>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/constant.hpp>
#include <openvino/op/convert.hpp>
#include <openvino/op/op.hpp>

#include "operators.hpp"
#include "scratch.hpp"

extern "C" {
#include "linear.h"
}

namespace {

constexpr size_t BLOCK = 32; // rows that the kernels work on at once

// What an ONNX node says, but for its scales, which are numbers here.
struct Settings {
    int64_t biased = 0, norm = 0, norm_biased = 0, factored = 0, summed = 0, quantised = 0, bfloat16 = 0,
            activation = 0;
    float in_scale = 1.0f, out_scale = 1.0f, epsilon = 0.0f;

    size_t inputs() const { return static_cast<size_t>(3 + biased + (norm != 0) + norm_biased + factored + summed); }
};

class QuantisedLinear : public ov::op::Op {
  public:
    OPENVINO_OP("QuantisedLinear", "vljepa");

    QuantisedLinear() = default;
    QuantisedLinear(const ov::OutputVector &inputs, const Settings &settings) : Op(inputs), m_settings(settings) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const Settings &s = m_settings;
        const int64_t flags = s.biased | s.norm_biased | s.factored | s.summed | s.quantised | s.bfloat16;
        NODE_VALIDATION_CHECK(this, (flags | 1) == 1 && (s.norm_biased == 0 || s.norm != 0), "flags are 0 or 1");
        NODE_VALIDATION_CHECK(this, s.norm >= 0 && s.norm <= 2 && s.activation >= 0 && s.activation <= 2,
                              "unknown norm ", s.norm, " or activation ", s.activation);
        NODE_VALIDATION_CHECK(this, get_input_size() == s.inputs(), get_input_size(), " inputs");
        const ov::element::Type given = get_input_element_type(0);
        const bool whole = given == ov::element::i8;
        NODE_VALIDATION_CHECK(this, whole || given == ov::element::f32 || given == ov::element::bf16, "x is ", given);
        NODE_VALIDATION_CHECK(this, !whole || s.norm == 0, "a norm of int8");
        NODE_VALIDATION_CHECK(this, get_input_element_type(1) == ov::element::i8, "weights aren't int8");
        for (size_t i = 2; i < get_input_size(); i++) {
            const ov::element::Type expected = s.factored != 0 && i == factor() ? ov::element::bf16 : ov::element::f32;
            NODE_VALIDATION_CHECK(this, get_input_element_type(i) == expected, "input ", i, " isn't ", expected);
        }
        const ov::PartialShape packed = get_input_partial_shape(1);
        NODE_VALIDATION_CHECK(this,
                              packed.is_static() && packed.size() == 4 && packed[2] == 16 && packed[3] == 64 &&
                                  packed[0].get_length() % 2 == 0,
                              "weights ", packed);
        const int64_t inner = packed[1].get_length() * 64, columns = packed[0].get_length() * 16;
        check_rows(2, columns);
        if (s.biased != 0) {
            check_rows(3, columns);
        }
        for (size_t i = 0; i < static_cast<size_t>((s.norm != 0) + s.norm_biased); i++) {
            check_rows(static_cast<size_t>(3 + s.biased) + i, inner);
        }
        ov::PartialShape shape = get_input_partial_shape(0);
        if (shape.rank().is_static()) {
            NODE_VALIDATION_CHECK(this, shape.size() > 0 && shape[shape.size() - 1].compatible(inner), "x ", shape,
                                  " and weights of ", inner);
            shape[shape.size() - 1] = columns;
            NODE_VALIDATION_CHECK(this, s.biased == 0 || get_input_partial_shape(3).size() <= shape.size(), "the bias ",
                                  get_input_partial_shape(3), " has more sizes than x ", shape);
        }
        for (size_t i = s.inputs() - static_cast<size_t>(s.factored + s.summed); i < s.inputs(); i++) {
            NODE_VALIDATION_CHECK(this, ov::PartialShape::merge_into(shape, get_input_partial_shape(i)), "input ", i,
                                  " is ", get_input_partial_shape(i), ", the result ", shape);
        }
        set_output_type(0, type(), shape);
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        return std::make_shared<QuantisedLinear>(inputs, m_settings);
    }

    bool visit_attributes(ov::AttributeVisitor &visitor) override {
        visitor.on_attribute("biased", m_settings.biased);
        visitor.on_attribute("norm", m_settings.norm);
        visitor.on_attribute("norm_biased", m_settings.norm_biased);
        visitor.on_attribute("factored", m_settings.factored);
        visitor.on_attribute("summed", m_settings.summed);
        visitor.on_attribute("quantised", m_settings.quantised);
        visitor.on_attribute("bfloat16", m_settings.bfloat16);
        visitor.on_attribute("activation", m_settings.activation);
        visitor.on_attribute("in_scale", m_settings.in_scale);
        visitor.on_attribute("out_scale", m_settings.out_scale);
        visitor.on_attribute("epsilon", m_settings.epsilon);
        return true;
    }

    bool has_evaluate() const override { return true; }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const Settings &s = m_settings;
        const ov::Shape packed = inputs[1].get_shape();
        ov::Shape shape = inputs[0].get_shape();
        vlj_linear l = {};
        l.inner = packed[1] * 64;
        l.columns = packed[0] * 16;
        if (shape.empty() || shape.back() != l.inner) {
            return false; // OpenVINO says which node it was
        }
        l.rows = inputs[0].get_size() / l.inner;
        shape.back() = l.columns;
        outputs[0].set_shape(shape);
        l.in_type = kind(inputs[0].get_element_type());
        l.out_type = kind(type());
        l.norm = static_cast<vlj_linear_norm>(s.norm);
        l.activation = static_cast<vlj_linear_activation>(s.activation);
        l.in = inputs[0].data();
        l.weights = inputs[1].data<const int8_t>();
        l.scale = inputs[2].data<const float>();
        size_t at = 3;
        l.bias = s.biased != 0 ? inputs[at++].data<const float>() : nullptr;
        l.norm_weight = s.norm != 0 ? inputs[at++].data<const float>() : nullptr;
        l.norm_bias = s.norm_biased != 0 ? inputs[at++].data<const float>() : nullptr;
        for (size_t i = at; i < inputs.size(); i++) {
            if (inputs[i].get_shape() != shape) {
                return false;
            }
        }
        l.factor = s.factored != 0 ? static_cast<const uint16_t *>(inputs[at++].data()) : nullptr;
        l.sum = s.summed != 0 ? inputs[at++].data<const float>() : nullptr;
        l.epsilon = s.epsilon;
        l.in_scale = s.in_scale;
        l.out_scale = s.out_scale;
        l.out = outputs[0].data();
        run(l);
        vljepa::count_run();
        return true;
    }

  private:
    size_t factor() const { return m_settings.inputs() - 1 - static_cast<size_t>(m_settings.summed); }

    ov::element::Type type() const {
        return m_settings.quantised != 0  ? ov::element::i8
               : m_settings.bfloat16 != 0 ? ov::element::bf16
                                          : ov::element::f32;
    }

    static vlj_linear_type kind(const ov::element::Type &type) {
        return type == ov::element::i8     ? VLJ_LINEAR_INT8
               : type == ov::element::bf16 ? VLJ_LINEAR_BFLOAT16
                                           : VLJ_LINEAR_FLOAT32;
    }

    // An input of so many values, whatever its rank.
    void check_rows(size_t input, int64_t count) {
        const ov::PartialShape shape = get_input_partial_shape(input);
        NODE_VALIDATION_CHECK(this, shape.is_static() && ov::shape_size(shape.to_shape()) == static_cast<size_t>(count),
                              "input ", input, " is ", shape, ", not of ", count);
    }

    // Every thread takes blocks of rows, and reads all weights: they are alike in the shared cache.
    static void run(const vlj_linear &l) {
        static const vlj_linear_kernels *const kernels = vlj_linear_kernels_best(); // asking the CPU takes its time
        const size_t blocks = (l.rows + BLOCK - 1) / BLOCK, bytes = kernels->scratch_bytes(&l);
        const size_t threads = static_cast<size_t>(tbb::this_task_arena::max_concurrency());
        const size_t parts = blocks < threads ? blocks : threads;
        tbb::parallel_for(
            tbb::blocked_range<size_t>(0, parts, 1),
            [&](const tbb::blocked_range<size_t> &range) {
                thread_local vljepa::Scratch scratch;
                void *memory = scratch.get(bytes);
                for (size_t i = range.begin(); i < range.end(); i++) {
                    const size_t first = blocks * i / parts * BLOCK, end = blocks * (i + 1) / parts * BLOCK;
                    kernels->run(&l, first, (end < l.rows ? end : l.rows) - first, memory);
                }
            },
            tbb::simple_partitioner());
    }

    Settings m_settings;
};

std::shared_ptr<ov::op::v0::Constant> constant(const ov::Output<ov::Node> &value, const ov::element::Type &type,
                                               const char *what) {
    auto found = ov::as_type_ptr<ov::op::v0::Constant>(value.get_node_shared_ptr());
    OPENVINO_ASSERT(found != nullptr && found->get_element_type() == type, "QuantisedLinear: ", what,
                    " isn't a constant of ", type);
    return found;
}

float number(const ov::Output<ov::Node> &value, const char *what) {
    const auto found = constant(value, ov::element::f32, what);
    OPENVINO_ASSERT(ov::shape_size(found->get_shape()) == 1, "QuantisedLinear: ", what, " isn't one number");
    return *found->get_data_ptr<float>();
}

ov::Output<ov::Node> as(const ov::Output<ov::Node> &value, const ov::element::Type &type) {
    return value.get_element_type() == type ? value : std::make_shared<ov::op::v0::Convert>(value, type)->output(0);
}

std::shared_ptr<ov::Node> packed(const ov::op::v0::Constant &weights) {
    const ov::Shape shape = weights.get_shape();
    OPENVINO_ASSERT(shape.size() == 2 && shape[0] % 64 == 0 && shape[1] % BLOCK == 0, "QuantisedLinear: weights ",
                    shape);
    ov::Tensor made(ov::element::i8, {shape[1] / 16, shape[0] / 64, 16, 64});
    vlj_linear_pack(weights.get_data_ptr<int8_t>(), shape[0], shape[1], made.data<int8_t>());
    return std::make_shared<ov::op::v0::Constant>(made);
}

// ONNX: (x, in_scale, weight [K,N], weight_scale [N] [, weight_zero [N]], the optional ones, out_scale)
ov::OutputVector from_onnx(const ov::frontend::NodeContext &node) {
    const ov::OutputVector given = vljepa::inputs_of(node);
    const auto flag = [&](const char *name) { return node.get_attribute<int64_t>(name); };
    Settings s;
    s.biased = flag("biased");
    s.norm = flag("norm");
    s.norm_biased = flag("norm_biased");
    s.factored = flag("factored");
    s.summed = flag("summed");
    s.quantised = flag("quantised");
    s.bfloat16 = flag("bfloat16");
    s.activation = flag("activation");
    s.epsilon = node.get_attribute<float>("epsilon");
    const size_t unread = static_cast<size_t>(flag("unread"));
    OPENVINO_ASSERT(given.size() == s.inputs() + 1 + unread + static_cast<size_t>(s.quantised),
                    "QuantisedLinear: ", given.size(), " inputs");
    if (unread != 0) {
        const auto zeros = constant(given[4], ov::element::i8, "weight_zero");
        const int8_t *first = zeros->get_data_ptr<int8_t>(), *end = first + ov::shape_size(zeros->get_shape());
        OPENVINO_ASSERT(std::all_of(first, end, [](int8_t zero) { return zero == 0; }),
                        "QuantisedLinear: weights have zero points");
    }
    s.in_scale = number(given[1], "in_scale");
    s.out_scale = s.quantised != 0 ? number(given.back(), "out_scale") : 1.0f;
    const auto scales = constant(given[3], ov::element::f32, "weight_scale");
    std::vector<float> products = scales->cast_vector<float>();
    for (float &product : products) {
        product *= s.in_scale;
    }
    ov::OutputVector taken = {
        given[0], packed(*constant(given[2], ov::element::i8, "weight")),
        std::make_shared<ov::op::v0::Constant>(ov::element::f32, scales->get_shape(), products.data())};
    for (size_t i = 4 + unread; taken.size() < s.inputs(); i++) {
        const bool is_factor = s.factored != 0 && taken.size() + 1 + static_cast<size_t>(s.summed) == s.inputs();
        taken.push_back(as(given[i], is_factor ? ov::element::bf16 : ov::element::f32));
    }
    return std::make_shared<QuantisedLinear>(taken, s)->outputs();
}

} // namespace

vljepa::Extensions vljepa::quantised_linear() {
    return {std::make_shared<ov::OpExtension<QuantisedLinear>>(),
            std::make_shared<ov::frontend::onnx::ConversionExtension>("QuantisedLinear", "vljepa", from_onnx)};
}
