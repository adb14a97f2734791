// Runs one threadgroup after the other; the threads of a group are fibers that switch at barriers, in a shuffled order.
#pragma once
#include <ucontext.h>

#include <functional>
#include <memory>

#include "memory.h"

namespace msl {

constexpr unsigned SIMD_WIDTH = 32;

struct Index { unsigned x = 0, y = 0, z = 0; };

struct Limits { unsigned threads, threadgroup_bytes; };

enum class State { ready, at_barrier, at_shuffle, done };

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  State state;
  Index thread;
  bool orders_threadgroup, orders_device;
  uint64_t simd_calls;    // hash of the simdgroup operations called so far: equal in all lanes, or the kernel diverged
  unsigned shuffles;
  uint64_t slots[2];      // what this lane hands to others, for even and odd shuffles
};

struct Group {
  Index size, block;
  std::vector<Fiber> fibers;
  unsigned current = 0;
  std::map<int, std::unique_ptr<Space>> arrays;  // threadgroup arrays by their number in the kernel
  size_t array_bytes = 0;
  ucontext_t scheduler;
  std::function<void(Index, Index)> body;
};
// Defined in executor.cpp, as whatever needs the standard library's templates is: each kernel would compile them anew.
extern Group group;
extern Limits limits;

Fiber& self();
unsigned lane_index();
const Fiber* in_lane(int lane);  // who runs in a lane of this simdgroup; null is nobody
void wait_as(State state);       // lets other threads run until those waited for are there
void barrier(bool orders_threadgroup, bool orders_device);

template <class T> T exchange(T mine, int source) {
  unsigned parity = self().shuffles++ % 2;  // nobody is more than one shuffle ahead: two slots are enough
  std::memcpy(&self().slots[parity], &mine, sizeof mine);
  wait_as(State::at_shuffle);
  T theirs;
  std::memset(&theirs, 0xFF, sizeof theirs);
  if (const Fiber* other = in_lane(source)) std::memcpy(&theirs, &other->slots[parity], sizeof theirs);
  return theirs;
}

template <class F> void as_simdgroup(int64_t argument, F act) {
  self().simd_calls = (self().simd_calls ^ static_cast<uint64_t>(argument + 2)) * 0x100000001b3u;
  if (lane_index() != 0) return;
  Agent me = now.agent;
  now.agent = now.group * AGENTS + 1024 + group.current / SIMD_WIDTH;
  act();
  now.agent = me;
}

Space* threadgroup_space(int number, size_t size, size_t granule, const char* name);
template <class T> pointer<T> threadgroup_array(int number, size_t count, const char* name) {
  return {threadgroup_space(number, count * sizeof(T), sizeof(T), name), 0};
}

template <class T> void poison(T& array) { std::memset(static_cast<void*>(&array), 0xFF, sizeof array); }

// Launch a kernel over a grid of threadgroups; `seed` chooses the order in which threads run.
void launch(const std::string& name, Index grid, Index size, unsigned seed, std::function<void(Index, Index)> body);

}  // namespace msl
