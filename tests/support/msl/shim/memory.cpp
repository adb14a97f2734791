// What is checked at each access; compiled once, not with each kernel.
#include "memory.h"

#include <cstring>

namespace msl {

Now now;

void read(Space* space, int64_t offset, void* to, size_t size, size_t alignment) {
  space->read(offset, to, size, alignment);
}
void write(Space* space, int64_t offset, const void* from, size_t size, size_t alignment) {
  space->write(offset, from, size, alignment);
}

std::string Space::at(size_t cell) const {
  return std::string(threadgroup ? "threadgroup" : "device") + " memory " + name + "[" + std::to_string(cell) + "]";
}

// Could `other`, which touched this in phase `when`, run at the same time as the present agent?
bool Space::concurrent(Agent other, uint32_t when) const {
  if (other == now.agent) return false;
  if (other == ANYBODY) return true;
  uint64_t group = other / AGENTS;
  if (group < now.first_group) return false;
  if (group != now.group) return !threadgroup;
  return when == phase();
}

void Space::check(int64_t offset, size_t size, size_t alignment) const {
  if (offset < 0 || static_cast<size_t>(offset) + size > bytes.size())
    fail("out of bounds: " + at(offset < 0 ? 0 : offset / granule) + " at byte " + std::to_string(offset) + " of " +
         std::to_string(bytes.size()));
  if (offset % alignment) fail("misaligned: " + at(offset / granule) + " as a vector of " + std::to_string(size) + " bytes");
}

void Space::read(int64_t offset, void* to, size_t size, size_t alignment) {
  check(offset, size, alignment);
  for (size_t i = offset / granule; now.running && i * granule < offset + size; ++i) note_read(i);
  std::memcpy(to, bytes.data() + offset, size);
}

void Space::write(int64_t offset, const void* from, size_t size, size_t alignment) {
  check(offset, size, alignment);
  for (size_t i = offset / granule; now.running && i * granule < offset + size; ++i) note_write(i);
  std::memcpy(bytes.data() + offset, from, size);
}

void Space::note_read(size_t i) {
  Cell& cell = cells[i];
  bool written = threadgroup ? cell.writer / AGENTS == now.group : defined || cell.writer;
  if (!written) fail("uninitialised: " + described(now.agent) + " reads " + at(i) + ", which nobody wrote");
  if (cell.writer && concurrent(cell.writer, cell.written))
    fail("race: " + described(now.agent) + " reads " + at(i) + ", written by " + described(cell.writer) +
         " with no barrier between");
  if (cell.reader == now.agent || !concurrent(cell.reader, cell.read)) cell.reader = now.agent;
  else if (cell.reader == ANYBODY || cell.reader / AGENTS != now.group) cell.reader = ANYBODY;
  else cell.reader = now.group * AGENTS + MANY;
  cell.read = phase();
}

void Space::note_write(size_t i) {
  Cell& cell = cells[i];
  if (cell.writer && concurrent(cell.writer, cell.written))
    fail("race: " + described(now.agent) + " writes " + at(i) + ", also written by " + described(cell.writer) +
         " with no barrier between");
  if (cell.reader && concurrent(cell.reader, cell.read))
    fail("race: " + described(now.agent) + " writes " + at(i) + ", read by " + described(cell.reader) +
         " with no barrier between");
  cell.writer = now.agent;
  cell.written = phase();
}

}  // namespace msl
