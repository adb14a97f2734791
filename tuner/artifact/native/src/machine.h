// The machine: can it run the kernels, and on which cores?
#ifndef TUNESMITH_MACHINE_H_
#define TUNESMITH_MACHINE_H_

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "manifest.h"

namespace tunesmith {

const char* const kThreads = "TVM_NUM_THREADS";  // TVM reads both when its first thread starts
const char* const kBind = "TVM_BIND_THREADS";

// Do so many threads fill this machine, so that each can have a core of its own and nobody else misses it?
inline bool take_all_cpus(int64_t threads, int64_t allowed) {
  const int64_t online = sysconf(_SC_NPROCESSORS_ONLN);
  if (threads < 2 || threads != online || online != allowed) return false;
  std::set<std::string> speeds;
  for (int64_t cpu = 0; cpu < online; ++cpu) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/cpuinfo_max_freq");
    std::string speed;
    if (std::getline(file, speed)) speeds.insert(speed);
  }
  return speeds.size() <= 1;
}

// Tells TVM how many threads to run, and where, unless its variables say so already. Its own guess is half the cores.
inline void settle_threads(int64_t threads) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int64_t cores =
      sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : sysconf(_SC_NPROCESSORS_ONLN);
  setenv(kThreads, std::to_string(threads > 0 ? std::min(threads, cores) : cores).c_str(), 0);
  setenv(kBind, take_all_cpus(std::atoll(std::getenv(kThreads)), cores) ? "1" : "0", 0);
}

// Where TVM's workers are bound to cores, the caller stays for a call on the one that they left.
class OwnCore {
 public:
  OwnCore() : is_bound_(std::string(std::getenv(kBind)) == "1") {
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    is_bound_ = is_bound_ && sched_getaffinity(0, sizeof(before_), &before_) == 0;
    if (is_bound_) sched_setaffinity(0, sizeof(first), &first);
  }
  ~OwnCore() {
    if (is_bound_) sched_setaffinity(0, sizeof(before_), &before_);
  }

 private:
  bool is_bound_;
  cpu_set_t before_;
};

// Instructions that the kernels are written with and this processor lacks: they would end the process.
inline void check_processor(const Object& manifest) {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> has_these;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0 && line.rfind("Features", 0) != 0) continue;
    std::istringstream words(line);
    has_these = {std::istream_iterator<std::string>(words), std::istream_iterator<std::string>()};
    break;
  }
  if (has_these.empty()) return;
  std::string missing;
  for (const ffi::Any& name : entry_or<Array>(manifest, "instructions", Array())) {
    const std::string word = name.cast<ffi::String>();
    if (has_these.count(word) == 0) missing += (missing.empty() ? "" : ", ") + word;
  }
  if (!missing.empty()) fail("This model is compiled for another processor: this one lacks " + missing + ".");
}

}  // namespace tunesmith

#endif  // TUNESMITH_MACHINE_H_
