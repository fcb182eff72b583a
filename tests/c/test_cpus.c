/* Sets of CPUs: lists, what a fake sysfs of known chips says, and where threads of engines and streams really run. */
#include "platform.h" /* first: it asks for more than ISO C */

#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_fixture.h"
#include "check.h"
#include "cpus.h"
#include "fixture_engines.h"
#include "model.h"

static uint64_t low(const vlj_cpus *cpus) { /* of the first 64 */
    return cpus->bits[0];
}

static void test_lists(void) {
    vlj_cpus cpus;
    CHECK_OK(vlj_cpus_parse("0-3,6", "cpus", &cpus));
    CHECK_EQ(low(&cpus), 0x4F);
    CHECK_EQ(vlj_cpus_count(&cpus), 5);
    CHECK_OK(vlj_cpus_parse("1023", "cpus", &cpus));
    CHECK(vlj_cpus_has(&cpus, 1023) && vlj_cpus_count(&cpus) == 1 && !vlj_cpus_has(&cpus, 5000));
    static const char *const wrong[] = {"",   "a", "1-", "-1", "3-1", "1,,2", "1 ", "1024", "99999999999999999999",
                                        "0x1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_FAILS(vlj_cpus_parse(wrong[i], "options.cpus", &cpus), VLJ_E_ARGUMENT, "options.cpus is \"");
    }
}

/* root/cpuN/name for each number, 0 leaves it out. */
static void write_sysfs(const char *root, const char *name, const int *numbers, int count) {
    char path[512];
    for (int cpu = 0; cpu < count; cpu++) {
        snprintf(path, sizeof path, "%s/cpu%d", root, cpu);
        mkdir(path, 0700);
        snprintf(path, sizeof path, "%s/cpu%d/cpufreq", root, cpu);
        mkdir(path, 0700);
        snprintf(path, sizeof path, "%s/cpu%d/%s", root, cpu, name);
        unlink(path);
        if (numbers[cpu] > 0) {
            FILE *file = fopen(path, "w");
            CHECK(file != NULL && fprintf(file, "%d\n", numbers[cpu]) > 0 && fclose(file) == 0);
        }
    }
}

static void test_split(void) {
    char root[] = "/tmp/vljepa-cpus-XXXXXX", command[100];
    CHECK(mkdtemp(root) != NULL);
    vlj_cpus eight = {{0xFF}}, encode, decode;
    vlj_cpus_split(root, &eight, &encode, &decode); /* nothing is told: the last one decodes */
    CHECK(low(&encode) == 0x7F && low(&decode) == 0x80);
    static const int near[] = {600, 600, 600, 600, 1024, 1024, 1024, 1024}; /* more than half: as good as alike */
    write_sysfs(root, "cpu_capacity", near, 8);
    vlj_cpus_split(root, &eight, &encode, &decode);
    CHECK(low(&encode) == 0x7F && low(&decode) == 0x80);
    static const int phone[] = {250, 250, 250, 250, 800, 800, 800, 1024};
    write_sysfs(root, "cpu_capacity", phone, 8);
    vlj_cpus_split(root, &eight, &encode, &decode);
    CHECK(low(&encode) == 0xF0 && low(&decode) == 0x0F);
    vlj_cpus some = {{0xC3}}; /* a container's share of it */
    vlj_cpus_split(root, &some, &encode, &decode);
    CHECK(low(&encode) == 0xC0 && low(&decode) == 0x03);
    static const int orin[] = {1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024};
    write_sysfs(root, "cpu_capacity", orin, 8);
    vlj_cpus_split(root, &eight, &encode, &decode);
    CHECK(low(&encode) == 0x7F && low(&decode) == 0x80);
    static const int partly[] = {250, 0, 250, 250, 800, 800, 800, 1024};
    write_sysfs(root, "cpu_capacity", partly, 8); /* one doesn't tell: clocks are asked */
    static const int clocks[] = {5000000, 5000000, 5000000, 5000000, 2400000, 2400000, 2400000, 2400000};
    write_sysfs(root, "cpufreq/cpuinfo_max_freq", clocks, 8);
    vlj_cpus_split(root, &eight, &encode, &decode);
    CHECK(low(&encode) == 0x0F && low(&decode) == 0xF0);
    vlj_cpus two = {{3}};
    vlj_cpus_split("/nowhere", &two, &encode, &decode);
    CHECK(vlj_cpus_count(&encode) == 0 && vlj_cpus_count(&decode) == 0);
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK(system(command) == 0);
}

/* ---- threads where they belong: an engine of the host's own looks at where it is called ---- */

static atomic_int where_opened = -1, where_run = -1;
static vlj_engine_callbacks inner;

static int only_cpu(void) { /* -1: more than one is allowed */
    vlj_cpus cpus;
    vlj_cpus_allowed(&cpus);
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS; cpu++) {
        if (vlj_cpus_has(&cpus, cpu)) {
            return vlj_cpus_count(&cpus) == 1 ? (int)cpu : -1;
        }
    }
    return -1;
}

static vlj_status look_open(void *user_data, vlj_component component) {
    if (component == VLJ_X_ENCODER) {
        atomic_store(&where_opened, only_cpu());
    }
    return inner.open != NULL ? inner.open(user_data, component) : VLJ_OK;
}

static vlj_status look_run(void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                           vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes) {
    if (component == VLJ_X_ENCODER) {
        atomic_store(&where_run, only_cpu());
    }
    return inner.run(user_data, component, inputs, input_count, outputs, output_count, message, message_bytes);
}

static void test_threads(void) {
    vlj_cpus allowed;
    char list[16];
    int last = VLJ_MOST_CPUS - 1;
    vlj_cpus_allowed(&allowed);
    while (!vlj_cpus_has(&allowed, (uint32_t)last)) {
        last--;
    }
    snprintf(list, sizeof list, "%d", last);
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    inner = engines.callbacks;
    vlj_engine_callbacks looking = inner;
    looking.open = look_open;
    looking.run = look_run;
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &looking;
    options.cpus = list;
    vlj_model *model = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    vlj_cpus now;
    vlj_cpus_allowed(&now);
    CHECK_EQ(atomic_load(&where_opened), last);
    CHECK(memcmp(&now, &allowed, sizeof now) == 0); /* the caller is where it was */

    vlj_stream_options stream_options;
    VLJ_INIT(stream_options);
    stream_options.mode = VLJ_REALTIME;
    vlj_stream *stream = NULL;
    CHECK_OK(vlj_stream_open(model, &stream_options, &stream));
    static uint8_t pixels[48 * 48 * 3];
    vlj_frame frame;
    VLJ_INIT(frame);
    frame.width = frame.height = 48;
    frame.planes[0] = pixels;
    for (int i = 0; i < 8; i++) {
        frame.timestamp_ns = i * INT64_C(1000000000);
        CHECK_OK(vlj_stream_push(stream, &frame));
    }
    CHECK_OK(vlj_stream_finish(stream));
    vlj_event event;
    VLJ_INIT(event);
    while (vlj_stream_poll(stream, &event, -1) == VLJ_OK) {
    }
    CHECK_EQ(atomic_load(&where_run), last);
    vlj_stream_close(stream);
    vlj_model_close(model);

    options.cpus = "1000";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "may not run on CPU 1000");
    options.cpus = "some";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "options.cpus is \"some\"");
    options.cpus = NULL, options.decode_cpus = "4-";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "options.decode_cpus");
    options.cpus = "auto", options.decode_cpus = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

int main(void) {
    test_lists();
    test_split();
    test_threads();
    return 0;
}
