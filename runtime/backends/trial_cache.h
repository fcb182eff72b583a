/* trial_cache.h: what backend "auto" found out about a component, kept per bundle and device in a small file. */
#ifndef VLJ_BACKENDS_TRIAL_CACHE_H
#define VLJ_BACKENDS_TRIAL_CACHE_H

#include "engine.h"

#define VLJ_TRIAL_NAME_BYTES 32

/* 1 and the winner's name, or 0: no cache folder, no file, or not one of ours. */
int vlj_trial_cache_read(const vlj_backend_context *context, const vlj_engine_spec *spec,
                         char name[VLJ_TRIAL_NAME_BYTES]);
/* A folder that cannot be written is no error: the trial happens again next time, and the log says why. */
void vlj_trial_cache_write(const vlj_backend_context *context, const vlj_engine_spec *spec, const char *name);

#endif
