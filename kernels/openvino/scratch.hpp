// scratch.hpp: working memory of a thread that runs kernels.
#ifndef VLJ_KERNELS_OPENVINO_SCRATCH_HPP
#define VLJ_KERNELS_OPENVINO_SCRATCH_HPP

#include <cstdlib>
#include <memory>
#include <new>

namespace vljepa {

// A thread's working memory, which grows and is kept: some hundred kilobytes, or a few megabytes where rows are long.
class Scratch {
  public:
    static constexpr size_t ALIGNMENT = 64;

    void *get(size_t bytes) {
        if (m_bytes < bytes) {
            bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            m_memory.reset(std::aligned_alloc(ALIGNMENT, bytes));
            m_bytes = m_memory ? bytes : 0;
        }
        if (!m_memory) {
            throw std::bad_alloc();
        }
        return m_memory.get();
    }

  private:
    struct Free {
        void operator()(void *memory) const { std::free(memory); }
    };
    std::unique_ptr<void, Free> m_memory;
    size_t m_bytes = 0;
};

} // namespace vljepa

#endif
