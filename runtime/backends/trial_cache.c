/* trial_cache.c: what backend "auto" found out about a component, kept per bundle and device in a small file.
 *
 * Its name tells the bundle, the component and a digest of what else decides the race: processor, its count, threads,
 * precision, and the libraries (whose file names carry their versions; our operators' has none, so its size and time
 * stand for one).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* _SC_NPROCESSORS_ONLN, O_CLOEXEC */
#endif
#include "trial_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "openvino_ops.h"

enum { PATH_BYTES = 4096 };

static uint64_t fnv(uint64_t hash, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    }
    return hash;
}

/* The first processor's model and instruction sets; its other lines change from read to read. */
static uint64_t hash_processor(uint64_t hash) {
    static const char *const keys[] = {"model name", "flags", "Features", "CPU implementer", "CPU part"};
    char text[8192];
    int file = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t length = file >= 0 ? read(file, text, sizeof text - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    text[length > 0 ? length : 0] = '\0';
    for (const char *line = text; *line != '\0' && *line != '\n';) { /* an empty line ends the first processor */
        size_t bytes = strcspn(line, "\n");
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            if (strncmp(line, keys[k], strlen(keys[k])) == 0) {
                hash = fnv(hash, line, bytes);
            }
        }
        line += bytes + (line[bytes] == '\n');
    }
    return hash;
}

static uint64_t hash_ops(uint64_t hash, const vlj_backend_context *context) {
    char path[PATH_BYTES], rest[64];
    struct stat file;
    if (context->own_ops == VLJ_OFF || !vlj_openvino_find_ops(context->openvino_ops, path, sizeof path) ||
        stat(path, &file) != 0) {
        return fnv(hash, "", 1);
    }
    int length = snprintf(rest, sizeof rest, "%lld %lld", (long long)file.st_size, (long long)file.st_mtime);
    return fnv(fnv(hash, path, strlen(path) + 1), rest, (size_t)length);
}

static int cache_path(const vlj_backend_context *context, const vlj_engine_spec *spec, char path[PATH_BYTES]) {
    char rest[64], bundle[17];
    if (context->cache_folder == NULL) {
        return 0;
    }
    int length = snprintf(rest, sizeof rest, "%ld %u %d", sysconf(_SC_NPROCESSORS_ONLN), spec->threads,
                          (int)spec->float_precision);
    uint64_t hash = hash_processor(fnv(0xcbf29ce484222325u, rest, (size_t)length));
    const char *const libraries[] = {context->library, context->openvino_library, context->tensorrt_library,
                                     context->engine_folder};
    for (size_t i = 0; i < sizeof libraries / sizeof libraries[0]; i++) {
        const char *library = libraries[i] != NULL ? libraries[i] : "";
        hash = fnv(hash, library, strlen(library) + 1);
    }
    hash = hash_ops(hash, context);
    const uint8_t *digest = vlj_index_digest(spec->index);
    for (int i = 0; i < 8; i++) {
        snprintf(bundle + 2 * (size_t)i, 3, "%02x", digest[i]);
    }
    length = snprintf(path, PATH_BYTES, "%s/auto-%s-%s-%016llx", context->cache_folder, bundle,
                      vlj_component_name(spec->component), (unsigned long long)hash);
    return length > 0 && length < PATH_BYTES;
}

int vlj_trial_cache_read(const vlj_backend_context *context, const vlj_engine_spec *spec,
                         char name[VLJ_TRIAL_NAME_BYTES]) {
    char path[PATH_BYTES];
    if (!cache_path(context, spec, path)) {
        return 0;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file >= 0 ? read(file, name, VLJ_TRIAL_NAME_BYTES - 1) : 0;
    if (file >= 0) {
        close(file);
    }
    name[length > 0 ? length : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    return name[0] != '\0';
}

void vlj_trial_cache_write(const vlj_backend_context *context, const vlj_engine_spec *spec, const char *name) {
    char path[PATH_BYTES], temporary[PATH_BYTES + 24];
    if (!cache_path(context, spec, path)) {
        return;
    }
    /* Written beside and renamed, so that another process never reads half of it. */
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    size_t length = strlen(name);
    int written = file >= 0 && pwrite(file, name, length, 0) == (ssize_t)length; /* pwrite: it cannot print */
    if (file >= 0) {
        written = close(file) == 0 && written;
    }
    if (!written || rename(temporary, path) != 0) {
        vlj_logf(context->host, VLJ_LOG_WARNING, "auto: cannot keep the trial's result in %s", context->cache_folder);
        unlink(temporary);
    }
}
