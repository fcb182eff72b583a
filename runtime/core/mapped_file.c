/* mapped_file.c: maps a whole regular file read-only (POSIX). */
#define _POSIX_C_SOURCE 200809L
#include "mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static const uint8_t no_bytes[1];

/* strerror is not thread-safe, and only these few happen to a reader. */
static const char *reason(int error) {
    switch (error) {
    case ENOENT: return "no such file";
    case ENOTDIR: return "a part of the path is no folder";
    case EACCES: return "permission denied";
    case EISDIR: return "it is a folder";
    case ENAMETOOLONG: return "the path is too long";
    case ELOOP: return "too many links";
    case EMFILE:
    case ENFILE: return "too many open files";
    case ENOMEM: return "no memory";
    default: return "the system refused it";
    }
}

vlj_status vlj_mapped_file_open(const char *path, vlj_mapped_file *file) {
    file->bytes = NULL;
    file->size = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a FIFO must not hang the caller */
    if (descriptor < 0) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "cannot open %s: %s (errno %d)", path, reason(errno), errno);
    }
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "cannot open %s: it is not a regular file", path);
    }
    if ((uint64_t)status.st_size > SIZE_MAX / 2) {
        close(descriptor);
        return vlj_fail(VLJ_E_BUNDLE, "%s has %lld bytes, more than this machine can map", path,
                        (long long)status.st_size);
    }
    if (status.st_size == 0) {
        close(descriptor);
        file->bytes = no_bytes; /* mmap refuses 0 bytes */
        return VLJ_OK;
    }
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    int error = errno;
    close(descriptor); /* the mapping stays */
    if (bytes == MAP_FAILED) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "cannot map %s: %s (errno %d)", path, reason(error), error);
    }
    file->bytes = bytes;
    file->size = (size_t)status.st_size;
    return VLJ_OK;
}

void vlj_mapped_file_close(vlj_mapped_file *file) {
    if (file->size > 0) {
        munmap((void *)file->bytes, file->size);
    }
    file->bytes = NULL;
    file->size = 0;
}
