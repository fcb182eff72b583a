// operators.hpp: what operators.cpp hands over to OpenVINO, an operator's file each.
#ifndef VLJ_KERNELS_OPENVINO_OPERATORS_HPP
#define VLJ_KERNELS_OPENVINO_OPERATORS_HPP

#include <openvino/core/extension.hpp>
#include <openvino/frontend/onnx/extension/conversion.hpp>
#include <vector>

namespace vljepa {

using Extensions = std::vector<ov::Extension::Ptr>;

// The operator and its reader from ONNX.
Extensions rotary_attention();
Extensions quantised_linear();

// Of operators, in this process.
void count_run();

inline ov::OutputVector inputs_of(const ov::frontend::NodeContext &node) {
    ov::OutputVector inputs;
    for (size_t i = 0; i < node.get_input_size(); i++) {
        inputs.push_back(node.get_input(static_cast<int>(i)));
    }
    return inputs;
}

} // namespace vljepa

#endif
