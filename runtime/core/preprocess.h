/* preprocess.h: one picture into planar RGB uint8 [3, height, width] by the bundle's recipe, with tables made once.
 *
 * Recipe: the shorter side is resized to `short_side`, the longer to floor(short_side * longer / shorter), bilinear and
 * antialiased; then height x width are cut from the centre, offsets rounded half to even as torchvision's CenterCrop
 * does.
 */
#ifndef VLJ_CORE_PREPROCESS_H
#define VLJ_CORE_PREPROCESS_H

#include "hooks.h"
#include "vljepa.h"

#define VLJ_MAX_FRAME_SIDE 16384u /* pixels */

typedef struct vlj_preprocessor vlj_preprocessor;

/* Bytes that vlj_preprocessor_open takes from the host: one allocation, enough for every picture up to the maximum. */
size_t vlj_preprocessor_bytes(uint32_t max_frame_width, uint32_t max_frame_height, uint32_t short_side, uint32_t height,
                              uint32_t width);
/* VLJ_E_ARGUMENT where the recipe cannot work: a crop that is larger than the resized picture, a size of 0. */
vlj_status vlj_preprocessor_open(const vlj_host *host, uint32_t max_frame_width, uint32_t max_frame_height,
                                 uint32_t short_side, uint32_t height, uint32_t width, vlj_preprocessor **preprocessor);
/* `planar` takes 3 * height * width bytes. Plans anew, without allocating, when the picture's size or format is not the
 * last one's. VLJ_E_FRAME_FORMAT, VLJ_E_FRAME_SIZE (beyond the maximum) and VLJ_E_ARGUMENT (no plane, stride too
 * small). */
vlj_status vlj_preprocessor_run(vlj_preprocessor *preprocessor, const vlj_frame *frame, uint8_t *planar);
void vlj_preprocessor_close(vlj_preprocessor *preprocessor);

#endif
