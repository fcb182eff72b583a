/* check.h: what the C tests assert with. A test is a plain program: it prints what failed and exits with 1. */
#ifndef VLJ_TESTS_CHECK_H
#define VLJ_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vljepa.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: CHECK(%s) failed; last error: %s\n", __FILE__, __LINE__, #condition,               \
                    vlj_last_error());                                                                                 \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Compares two integers and prints both. */
#define CHECK_EQ(found, expected)                                                                                      \
    do {                                                                                                               \
        long long check_found_ = (long long)(found), check_expected_ = (long long)(expected);                          \
        if (check_found_ != check_expected_) {                                                                         \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld; last error: %s\n", __FILE__, __LINE__, #found,          \
                    check_found_, check_expected_, vlj_last_error());                                                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_OK(call) CHECK_EQ(call, VLJ_OK)

#define CHECK_NEAR(found, expected, tolerance)                                                                         \
    do {                                                                                                               \
        double check_found_ = (double)(found), check_expected_ = (double)(expected);                                   \
        double check_difference_ = check_found_ - check_expected_;                                                     \
        if (!(check_difference_ <= (tolerance) && check_difference_ >= -(tolerance))) {                                \
            fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g +- %g\n", __FILE__, __LINE__, #found, check_found_,      \
                    check_expected_, (double)(tolerance));                                                             \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* The call must fail with `status` and its sentence must contain `words`. */
#define CHECK_FAILS(call, status, words)                                                                               \
    do {                                                                                                               \
        CHECK_EQ(call, status);                                                                                        \
        if (!strstr(vlj_last_error(), words)) {                                                                        \
            fprintf(stderr, "%s:%d: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, vlj_last_error(), words);   \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
