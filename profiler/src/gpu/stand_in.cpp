// A driver library (NVML) that tells of three GPUs and a part of one, for tests on machines without any: they compile it to
// libnvidia-ml.so.1.
//
//   0  answers; its power is limited
//   1  is split into parts; its heat slows it down
//   2  has fallen off the bus
//   3  is a part of 1, found by its identifier only

#include <cstdio>
#include <cstring>

namespace {

enum Answer { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

struct Chip {
    const char *uuid, *name;
    int major, minor;
    unsigned cores, megahertz;
    unsigned long long mebibytes, reasons;
};

const unsigned WHOLE = 3;
const Chip CHIPS[] = {
    {"GPU-aa000000-0000", "Stand-in A", 8, 0, 6912, 1410, 40960, 0x4},
    {"GPU-ab000000-0000", "Stand-in B", 9, 0, 16896, 900, 81920, 0x20},
    {"GPU-cc000000-0000", nullptr, 0, 0, 0, 0, 0, 0},
    {"MIG-ab000000-0001", "Stand-in B, a part", 9, 0, 0, 0, 10240, 0},
};

int tell(const char *text, char *to, unsigned length) {
    if (text == nullptr) return LOST;
    std::snprintf(to, length, "%s", text);
    return SUCCESS;
}

}  // namespace

struct Memory {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

extern "C" {

int nvmlInit_v2() { return SUCCESS; }
int nvmlShutdown() { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) { return tell("999.88.77", to, length); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = WHOLE;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, const Chip **chip) {
    if (index >= WHOLE) return NOT_FOUND;
    *chip = &CHIPS[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, const Chip **chip) {
    for (const Chip &known : CHIPS) {
        if (std::strcmp(uuid, known.uuid) == 0) {
            *chip = &known;
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(const Chip *chip, char *to, unsigned length) { return tell(chip->uuid, to, length); }
int nvmlDeviceGetName(const Chip *chip, char *to, unsigned length) { return tell(chip->name, to, length); }

int nvmlDeviceGetMigMode(const Chip *chip, unsigned *now, unsigned *later) {
    if (chip == &CHIPS[WHOLE]) return NOT_SUPPORTED;
    *now = *later = chip == &CHIPS[1];
    return SUCCESS;
}

int nvmlDeviceGetNumGpuCores(const Chip *chip, unsigned *cores) {
    *cores = chip->cores;
    return chip->cores ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCudaComputeCapability(const Chip *chip, int *major, int *minor) {
    *major = chip->major, *minor = chip->minor;
    return chip->name ? SUCCESS : LOST;
}

int nvmlDeviceGetMemoryInfo_v2(const Chip *chip, Memory *memory) {
    memory->total = chip->mebibytes << 20;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(const Chip *chip, int, unsigned *megahertz) {
    *megahertz = chip->megahertz;
    return chip->megahertz ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const Chip *chip, unsigned long long *reasons) {
    *reasons = chip->reasons;
    return chip->megahertz ? SUCCESS : NOT_SUPPORTED;
}

}  // extern "C"
