/* Last error, status names, struct sizes across header versions, hooks and their counters. */
#include <pthread.h>

#include "abi.h"
#include "check.h"
#include "error.h"
#include "hooks.h"

static void *fail_elsewhere(void *unused) {
    (void)unused;
    CHECK(vlj_last_error()[0] == '\0'); /* another thread's error is not ours */
    vlj_fail(VLJ_E_STATE, "elsewhere");
    return NULL;
}

static void test_last_error(void) {
    CHECK(vlj_last_error()[0] == '\0');
    CHECK_FAILS(vlj_fail(VLJ_E_QUERY, "query %d of %s", 3, "it"), VLJ_E_QUERY, "query 3 of it");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fail_elsewhere, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(strcmp(vlj_last_error(), "query 3 of it") == 0);
    CHECK_FAILS(vlj_fail(VLJ_E_STATE, "after: %s", vlj_last_error()), VLJ_E_STATE, "after: query 3 of it");
    CHECK_FAILS(vlj_fail(VLJ_E_STATE, "query \"%s\"", "two\nlines\x7F"), VLJ_E_STATE, "query \"two lines \"");
    for (int pad = 500; pad < 520; pad++) { /* a two-byte letter across the cut is left out as a whole */
        char text[600];
        memset(text, 'x', sizeof text);
        memcpy(text + pad, "\xC3\xA9", 2);
        text[590] = '\0';
        vlj_fail(VLJ_E_STATE, "%s", text);
        size_t length = strlen(vlj_last_error());
        CHECK(length >= 510 && length <= 511);
        CHECK(pad != 510 || length == 510);
        CHECK((unsigned char)vlj_last_error()[length - 1] != 0xC3);
    }
}

static void test_names(void) {
    const int known[] = {0,   1,   2,   100, 101, 102, 103, 104, 105, 106, 200,
                         201, 202, 203, 204, 300, 301, 302, 400, 500, 600, 700};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CHECK(strncmp(vlj_status_name((vlj_status)known[i]), "VLJ_", 4) == 0);
    }
    CHECK(strcmp(vlj_status_name((vlj_status)12345), "unknown status") == 0);
    unsigned major = 0, minor = 0, patch = 0;
    CHECK(sscanf(vlj_version(), "%u.%u.%u", &major, &minor, &patch) == 3);
}

typedef struct options {
    uint32_t struct_size;
    uint32_t a, b;
} options;

static void test_struct_sizes(void) {
    const struct {
        options known;
        uint32_t newer;
    } asked = {{sizeof asked, 1, 2}, 0};
    options ours;
    CHECK_OK(vlj_struct_read(&ours, sizeof ours, &asked, "options"));
    CHECK(ours.a == 1 && ours.b == 2 && ours.struct_size == sizeof ours);
    const struct {
        options known;
        uint32_t newer;
    } too_new = {{sizeof too_new, 1, 2}, 7};
    CHECK_FAILS(vlj_struct_read(&ours, sizeof ours, &too_new, "options"), VLJ_E_VERSION, "byte 12");
    const uint32_t older[2] = {sizeof older, 9};
    CHECK_OK(vlj_struct_read(&ours, sizeof ours, older, "options"));
    CHECK(ours.a == 9 && ours.b == 0);
    CHECK_OK(vlj_struct_read(&ours, sizeof ours, NULL, "options"));
    CHECK(ours.a == 0 && ours.struct_size == sizeof ours);
    CHECK_FAILS(vlj_struct_read(&ours, sizeof ours, &(options){0}, "options"), VLJ_E_ARGUMENT,
                "options.struct_size is 0");

    uint32_t result[4] = {8, 77, 78, 79}; /* an older caller knows only two fields */
    CHECK_OK(vlj_struct_write(result, &(options){sizeof(options), 5, 6}, sizeof(options), "result"));
    CHECK(result[0] == 8 && result[1] == 5 && result[2] == 78);
    result[0] = 16; /* a newer one knows more than we do */
    CHECK_OK(vlj_struct_write(result, &(options){sizeof(options), 5, 6}, sizeof(options), "result"));
    CHECK(result[0] == 16 && result[2] == 6 && result[3] == 0);
    CHECK_FAILS(vlj_struct_write(NULL, &ours, sizeof ours, "result"), VLJ_E_ARGUMENT, "result is NULL");
}

static int64_t fixed_clock(void *user_data) {
    return *(int64_t *)user_data;
}

static void keep_log(void *user_data, vlj_log_level level, const char *message) {
    CHECK(level == VLJ_LOG_WARNING && strcmp(message, "kept 3") == 0);
    *(int64_t *)user_data += 1;
}

static void test_hooks(void) {
    vlj_host host;
    CHECK_OK(vlj_host_init(&host, NULL));
    CHECK(vlj_alloc(&host, 0, 0) == NULL);
    for (size_t align = 16; align <= 4096; align *= 2) {
        unsigned char *memory = vlj_alloc(&host, 1000, align);
        CHECK(memory != NULL && (uintptr_t)memory % align == 0);
        for (int i = 0; i < 1000; i++) {
            CHECK(memory[i] == 0);
        }
        CHECK_EQ(vlj_host_bytes(&host), 1000);
        vlj_free(&host, memory, 1000);
    }
    CHECK_EQ(vlj_host_allocations(&host), 9);
    CHECK_EQ(vlj_host_bytes(&host), 0);
    int64_t first = vlj_now(&host);
    CHECK(first > 0 && vlj_now(&host) >= first);
    vlj_logf(&host, VLJ_LOG_ERROR, "goes nowhere");

    int64_t value = 41;
    vlj_hooks hooks;
    VLJ_INIT(hooks);
    hooks.user_data = &value;
    hooks.clock_ns = fixed_clock;
    hooks.log = keep_log;
    CHECK_OK(vlj_host_init(&host, &hooks));
    CHECK_EQ(vlj_now(&host), 41);
    vlj_logf(&host, VLJ_LOG_WARNING, "kept %d", 3);
    CHECK_EQ(value, 42);
    hooks.release = (void (*)(void *, void *, size_t))(void (*)(void))free;
    CHECK_FAILS(vlj_host_init(&host, &hooks), VLJ_E_ARGUMENT, "together");
    hooks.struct_size = 0;
    CHECK_FAILS(vlj_host_init(&host, &hooks), VLJ_E_ARGUMENT, "hooks.struct_size is 0");
}

int main(void) {
    test_last_error();
    test_names();
    test_struct_sizes();
    test_hooks();
    return 0;
}
