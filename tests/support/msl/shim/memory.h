// Device and threadgroup memory whose every access is checked: bounds, alignment, uninitialised reads, data races.
#pragma once
#include <string>
#include <vector>

#include "pointer.h"

namespace msl {

using Agent = uint64_t;  // a thread, or a simdgroup acting as one: serial number of its group * AGENTS + index in the group
constexpr Agent AGENTS = 2048, MANY = AGENTS - 1, ANYBODY = ~Agent{0};

[[noreturn]] void fail(const std::string& what);
std::string described(Agent agent);

// What is going on now; set by the executor, read by every access.
struct Now {
  Agent agent = 0;
  uint64_t group = 1;               // serial number of the threadgroup, never reused
  uint64_t first_group = 1;         // the first one of this launch
  uint32_t threadgroup_phase = 1;   // advanced by each barrier that orders threadgroup memory
  uint32_t device_phase = 1;        // the same for device memory
  bool running = false;             // false: the host reads and writes, unchecked
};
extern Now now;

struct Cell {
  Agent writer = 0, reader = 0;
  uint32_t written = 0, read = 0;  // in which phase
};

struct Space {
  std::string name;
  std::vector<unsigned char> bytes;
  size_t granule;  // bytes of one element, the unit of which races are told apart
  bool threadgroup;
  bool defined;    // filled by the host
  std::vector<Cell> cells;

  Space(std::string name, size_t size, size_t granule, bool threadgroup, bool defined)
      : name(std::move(name)), bytes(size, 0xFF), granule(granule), threadgroup(threadgroup), defined(defined),
        cells((size + granule - 1) / granule) {}

  void read(int64_t offset, void* to, size_t size, size_t alignment);
  void write(int64_t offset, const void* from, size_t size, size_t alignment);

 private:
  uint32_t phase() const { return threadgroup ? now.threadgroup_phase : now.device_phase; }
  std::string at(size_t cell) const;
  bool concurrent(Agent other, uint32_t when) const;
  void check(int64_t offset, size_t size, size_t alignment) const;
  void note_read(size_t i);
  void note_write(size_t i);
};

}  // namespace msl
