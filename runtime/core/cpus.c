/* cpus.c: sets of CPUs, and what Linux's sysfs tells about them. */
#include "platform.h" /* first: it asks for more than ISO C */

#include "cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

#ifdef __linux__
#include <sched.h>
#endif

static const char SYSFS[] = "/sys/devices/system/cpu";

static void add(vlj_cpus *cpus, uint32_t cpu) {
    cpus->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

uint32_t vlj_cpus_count(const vlj_cpus *cpus) {
    uint32_t count = 0;
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS; cpu++) {
        count += vlj_cpus_has(cpus, cpu);
    }
    return count;
}

/* A number below VLJ_MOST_CPUS at *text, which moves behind it; -1: there is none. */
static int number_at(const char **text) {
    int value = -1;
    while (**text >= '0' && **text <= '9' && value < VLJ_MOST_CPUS) {
        value = (value < 0 ? 0 : value * 10) + (**text - '0');
        (*text)++;
    }
    return value < VLJ_MOST_CPUS ? value : -1;
}

vlj_status vlj_cpus_parse(const char *list, const char *option, vlj_cpus *cpus) {
    const char *at = list;
    memset(cpus, 0, sizeof *cpus);
    for (;;) {
        int first = number_at(&at), last = first;
        if (first >= 0 && *at == '-') {
            at++;
            last = number_at(&at);
        }
        if (first < 0 || last < first || (*at != ',' && *at != '\0')) {
            return vlj_fail(VLJ_E_ARGUMENT, "%s is \"%.60s\", expected numbers of CPUs such as \"0-3,6\", or \"auto\"",
                            option, list);
        }
        for (int cpu = first; cpu <= last; cpu++) {
            add(cpus, (uint32_t)cpu);
        }
        if (*at++ == '\0') {
            return VLJ_OK;
        }
    }
}

#ifdef __linux__
void vlj_cpus_allowed(vlj_cpus *cpus) {
    cpu_set_t set;
    memset(cpus, 0, sizeof *cpus);
    if (sched_getaffinity(0, sizeof set, &set) != 0) { /* 0: this thread, which nobody has moved yet */
        return;
    }
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS && cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set)) {
            add(cpus, cpu);
        }
    }
}

void vlj_cpus_enter(const vlj_cpus *cpus, vlj_cpus *before) {
    cpu_set_t set;
    if (before != NULL) {
        vlj_cpus_allowed(before);
    }
    if (vlj_cpus_count(cpus) == 0) {
        return;
    }
    CPU_ZERO(&set);
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS && cpu < CPU_SETSIZE; cpu++) {
        if (vlj_cpus_has(cpus, cpu)) {
            CPU_SET(cpu, &set);
        }
    }
    sched_setaffinity(0, sizeof set, &set); /* a CPU that went offline since: the thread stays where it was */
}
#else
void vlj_cpus_allowed(vlj_cpus *cpus) {
    memset(cpus, 0, sizeof *cpus);
}

void vlj_cpus_enter(const vlj_cpus *cpus, vlj_cpus *before) {
    (void)cpus;
    if (before != NULL) {
        memset(before, 0, sizeof *before);
    }
}
#endif

/* A positive number in the one-line file root/cpuN/name; 0: unknown. */
static double read_number(const char *root, uint32_t cpu, const char *name) {
    char path[512];
    double value = 0.0;
    int length = snprintf(path, sizeof path, "%s/cpu%u/%s", root, cpu, name);
    FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "r") : NULL;
    if (file == NULL) {
        return 0.0;
    }
    if (fscanf(file, "%lf", &value) != 1 || !(value > 0.0)) {
        value = 0.0;
    }
    fclose(file);
    return value;
}

/* What each allowed CPU can do, relative to the others; 0 for all where one of them doesn't tell. */
static int read_capacities(const char *root, const vlj_cpus *allowed, const char *name, double *capacities,
                           double *largest) {
    *largest = 0.0;
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS; cpu++) {
        if (vlj_cpus_has(allowed, cpu)) {
            capacities[cpu] = read_number(root, cpu, name);
            if (capacities[cpu] <= 0.0) {
                return 0;
            }
            *largest = capacities[cpu] > *largest ? capacities[cpu] : *largest;
        }
    }
    return *largest > 0.0;
}

void vlj_cpus_split(const char *root, const vlj_cpus *allowed, vlj_cpus *encode, vlj_cpus *decode) {
    double capacities[VLJ_MOST_CPUS], largest;
    uint32_t count = vlj_cpus_count(allowed);
    memset(encode, 0, sizeof *encode);
    memset(decode, 0, sizeof *decode);
    /* The kernel's own scale on Arm; the highest clock tells cores of a hybrid x86 apart, if by less. */
    int known = read_capacities(root, allowed, "cpu_capacity", capacities, &largest) ||
                read_capacities(root, allowed, "cpufreq/cpuinfo_max_freq", capacities, &largest);
    for (uint32_t cpu = 0; cpu < VLJ_MOST_CPUS; cpu++) {
        if (vlj_cpus_has(allowed, cpu)) {
            add(known && 2.0 * capacities[cpu] <= largest ? decode : encode, cpu);
        }
    }
    if (vlj_cpus_count(decode) > 0) {
        return;
    }
    if (count < 4) { /* half of two CPUs for texts, which are rare, would cost more than sharing does */
        memset(encode, 0, sizeof *encode);
        return;
    }
    uint32_t last = VLJ_MOST_CPUS - 1;
    while (!vlj_cpus_has(allowed, last)) {
        last--;
    }
    encode->bits[last / 64] &= ~(UINT64_C(1) << last % 64);
    add(decode, last);
}

static vlj_status choose_one(const char *text, const char *option, const vlj_cpus *allowed, const vlj_cpus *automatic,
                             vlj_cpus *cpus) {
    memset(cpus, 0, sizeof *cpus);
    if (text == NULL || text[0] == '\0') {
        return VLJ_OK;
    }
    if (strcmp(text, "auto") == 0) {
        *cpus = *automatic;
        return VLJ_OK;
    }
    vlj_status status = vlj_cpus_parse(text, option, cpus);
    for (uint32_t cpu = 0; status == VLJ_OK && cpu < VLJ_MOST_CPUS; cpu++) {
        if (vlj_cpus_has(cpus, cpu) && !vlj_cpus_has(allowed, cpu) && vlj_cpus_count(allowed) > 0) {
            status =
                vlj_fail(VLJ_E_ARGUMENT, "%s is \"%.60s\", but this process may not run on CPU %u", option, text, cpu);
        }
    }
    return status;
}

vlj_status vlj_cpus_choose(const char *encode_option, const char *decode_option, vlj_cpus *encode, vlj_cpus *decode) {
    vlj_cpus allowed, for_encode, for_decode;
    vlj_cpus_allowed(&allowed);
    vlj_cpus_split(SYSFS, &allowed, &for_encode, &for_decode);
    vlj_status status = choose_one(encode_option, "options.cpus", &allowed, &for_encode, encode);
    if (decode_option == NULL && encode_option != NULL && strcmp(encode_option, "auto") == 0) {
        decode_option = encode_option;
    }
    return status == VLJ_OK ? choose_one(decode_option, "options.decode_cpus", &allowed, &for_decode, decode) : status;
}
