/* preprocess_floats.c: vlj_prepare_frame_floats: a picture as normalised float or half planes, for engines that have
 * not folded the normalisation into their first layer, as ours have. */
#include <string.h>

#include "error.h"
#include "vljepa.h"

/* The nearest half, ties to even; above 65504 infinity. NaN never gets here: it is refused. */
static uint16_t half_of(float value) {
    uint32_t bits, sign;
    memcpy(&bits, &value, sizeof bits);
    sign = bits >> 16 & 0x8000u;
    bits &= 0x7FFFFFFFu;
    if (bits >= 0x477FF000u) {
        return (uint16_t)(sign | 0x7C00u);
    }
    if (bits < 0x38800000u) { /* subnormal: let a float addition at the right magnitude do the rounding */
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        magnitude += 0.5f; /* the unit in the last place of 0.5 is 2^-24, a half's smallest step */
        memcpy(&bits, &magnitude, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3F000000u));
    }
    bits += 0x0FFFu + (bits >> 13 & 1u);
    return (uint16_t)(sign | (bits - 0x38000000u) >> 13);
}

/* Bytes in the tail of the buffer become wider values from its head on: each is read before it is written over. */
static void widen_floats(const float (*values)[256], size_t plane, uint8_t *buffer) {
    const uint8_t *bytes = buffer + 3 * plane * (sizeof(float) - 1);
    float *out = (float *)(void *)buffer;
    for (size_t channel = 0; channel < 3; channel++) {
        for (size_t i = 0; i < plane; i++) {
            out[channel * plane + i] = values[channel][bytes[channel * plane + i]];
        }
    }
}

static void widen_halves(const float (*values)[256], size_t plane, uint8_t *buffer) {
    uint16_t halves[3][256], *out = (uint16_t *)(void *)buffer;
    const uint8_t *bytes = buffer + 3 * plane;
    for (size_t i = 0; i < 3 * 256; i++) {
        halves[i / 256][i % 256] = half_of(values[i / 256][i % 256]);
    }
    for (size_t channel = 0; channel < 3; channel++) {
        for (size_t i = 0; i < plane; i++) {
            out[channel * plane + i] = halves[channel][bytes[channel * plane + i]];
        }
    }
}

vlj_status vlj_prepare_frame_floats(const vlj_frame *frame, uint32_t resize_short_side, uint32_t height, uint32_t width,
                                    vlj_dtype dtype, const float mean[3], const float deviation[3], void *planar,
                                    size_t planar_bytes) {
    float values[3][256];
    if (planar == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "planar is NULL");
    }
    if (dtype != VLJ_FLOAT32 && dtype != VLJ_FLOAT16) {
        return vlj_fail(VLJ_E_ARGUMENT, "dtype is %d, expected VLJ_FLOAT32 or VLJ_FLOAT16", (int)dtype);
    }
    for (size_t channel = 0; channel < 3; channel++) {
        float m = mean != NULL ? mean[channel] : 0.0f, d = deviation != NULL ? deviation[channel] : 1.0f;
        if (!(d > 0.0f) || !(m - m == 0.0f) || !(d - d == 0.0f)) {
            return vlj_fail(VLJ_E_ARGUMENT,
                            "mean[%zu] is %g and deviation[%zu] %g, expected finite ones, the latter > 0", channel,
                            (double)m, channel, (double)d);
        }
        for (size_t i = 0; i < 256; i++) {
            values[channel][i] = (float)(((double)i / 255.0 - (double)m) / (double)d);
        }
    }
    size_t wide = dtype == VLJ_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
    uint64_t plane = (uint64_t)height * width, bytes = 3 * plane; /* sides are checked to be small by what is called */
    if ((uintptr_t)planar % wide != 0 || planar_bytes / wide < bytes) {
        return vlj_fail(VLJ_E_BUFFER, "planar has %zu bytes%s, expected %llu for 3 x %u x %u", planar_bytes,
                        (uintptr_t)planar % wide != 0 ? " and is not aligned" : "", (unsigned long long)(bytes * wide),
                        height, width);
    }
    vlj_status status = vlj_prepare_frame(frame, resize_short_side, height, width,
                                          (uint8_t *)planar + bytes * (wide - 1), (size_t)bytes);
    if (status == VLJ_OK && dtype == VLJ_FLOAT32) {
        widen_floats(values, (size_t)plane, planar);
    } else if (status == VLJ_OK) {
        widen_halves(values, (size_t)plane, planar);
    }
    return status;
}
