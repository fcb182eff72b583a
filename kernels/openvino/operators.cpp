// operators.cpp: the library that OpenVINO loads: its operators, how often they ran, and which OpenVINO it is for.
#include "operators.hpp"

#include <atomic>
#include <openvino/core/version.hpp>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define VERSION TEXT(OPENVINO_VERSION_MAJOR) "." TEXT(OPENVINO_VERSION_MINOR) "." TEXT(OPENVINO_VERSION_PATCH)

namespace {

std::atomic<unsigned long long> runs{0};

vljepa::Extensions all() {
    vljepa::Extensions found = vljepa::rotary_attention(), more = vljepa::quantised_linear();
    found.insert(found.end(), more.begin(), more.end());
    return found;
}

} // namespace

void vljepa::count_run() {
    runs.fetch_add(1, std::memory_order_relaxed);
}

extern "C" {
/* How often operators have run in this process, for tests. */
OPENVINO_CORE_EXPORTS unsigned long long vljepa_openvino_ops_runs(void) noexcept {
    return runs.load(std::memory_order_relaxed);
}

OPENVINO_CORE_EXPORTS const char *vljepa_openvino_ops_version(void) noexcept {
    return VERSION;
}
}

OPENVINO_CREATE_EXTENSIONS(all());
