#include "executor.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "memory.h"

namespace msl {

constexpr unsigned SIMD_WIDTH = 32;
constexpr size_t STACK_BYTES = 256 * 1024;

enum class State { ready, at_barrier, at_shuffle, done };

struct Fiber {
  ucontext_t context;
  State state;
  Index thread;
  bool orders_threadgroup, orders_device;
  uint64_t simd_calls;    // hash of the simdgroup operations called so far: equal in all lanes, or the kernel diverged
  unsigned shuffles;
  uint64_t slots[2];      // what this lane hands to others, for even and odd shuffles
};

static struct {
  const Kernel* kernel;
  const TVMFFIAny* arguments;
  Index block;
  std::vector<Fiber> fibers;
  std::vector<char*> stacks;      // of fibers, for as long as the program runs
  unsigned current = 0;
  std::map<int, Space> arrays;    // threadgroup arrays by their number in the kernel
  size_t array_bytes = 0;
  ucontext_t scheduler;
} group;
Limits limits;

static std::string triple(Index i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}
std::string described(Agent agent) {
  unsigned index = agent % AGENTS;
  if (agent == ANYBODY) return "threads of several groups";
  if (index == MANY) return "several threads";
  std::string where = agent / AGENTS == now.group ? "" : " of another group";
  if (index >= 1024) return "simdgroup " + std::to_string(index - 1024) + where;
  return "thread " + triple(group.fibers[index].thread) + where;
}
void fail(const std::string& what) {
  const char* launched = group.kernel ? group.kernel->name : "host";
  std::fprintf(stderr, "%s: %s [group %s]\n", launched, what.c_str(), triple(group.block).c_str());
  std::fflush(stderr);
  std::_Exit(3);
}

static Fiber& self() { return group.fibers[group.current]; }
unsigned lane_index() { return group.current % SIMD_WIDTH; }

static void wait_as(State state) {
  self().state = state;
  swapcontext(&self().context, &group.scheduler);
}
void barrier(bool orders_threadgroup, bool orders_device) {
  self().orders_threadgroup = orders_threadgroup;
  self().orders_device = orders_device;
  wait_as(State::at_barrier);
}

void exchange(void* value, size_t size, int source) {
  unsigned parity = self().shuffles++ % 2;  // nobody is more than one shuffle ahead: two slots are enough
  std::memcpy(&self().slots[parity], value, size);
  wait_as(State::at_shuffle);
  std::memset(value, 0xFF, size);
  unsigned other = group.current - lane_index() + source;
  if (source >= 0 && source < int(SIMD_WIDTH) && other < group.fibers.size())
    std::memcpy(value, &group.fibers[other].slots[parity], size);
}

bool begin_as_simdgroup(int64_t argument) {
  self().simd_calls = (self().simd_calls ^ static_cast<uint64_t>(argument + 2)) * 0x100000001b3u;
  if (lane_index() != 0) return false;
  now.agent = now.group * AGENTS + 1024 + group.current / SIMD_WIDTH;
  return true;
}
void end_as_simdgroup() { now.agent = now.group * AGENTS + group.current; }

Space* threadgroup_space(int number, size_t size, size_t granule, const char* name) {
  auto [slot, is_new] = group.arrays.try_emplace(number, name, size, granule, true, false);
  if (is_new) {
    group.array_bytes += size;
    if (group.array_bytes > limits.threadgroup_bytes)
      fail("limit: " + std::to_string(group.array_bytes) + " bytes of threadgroup memory, the target has " +
           std::to_string(limits.threadgroup_bytes));
  }
  return &slot->second;
}

static void enter() {
  group.kernel->call(group.arguments, group.block, self().thread);
  wait_as(State::done);
}

static void start(Fiber& fiber, char* stack) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = STACK_BYTES;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, enter, 0);
  fiber.context.uc_stack.ss_size = 0;  // else the address sanitizer forgets what it knows of this stack at each switch
  fiber.state = State::ready;
  fiber.simd_calls = fiber.shuffles = 0;
}

// Lets those go on who wait for each other; false when nobody can.
static bool release() {
  auto& fibers = group.fibers;
  bool released = false, at_barrier = true;
  for (size_t first = 0; first < fibers.size(); first += SIMD_WIDTH) {
    size_t last = std::min(first + SIMD_WIDTH, fibers.size());
    bool all = true, any = false;
    for (size_t i = first; i != last; ++i) {
      bool is_at_shuffle = fibers[i].state == State::at_shuffle;
      all &= is_at_shuffle, any |= is_at_shuffle, at_barrier &= fibers[i].state == State::at_barrier;
    }
    for (size_t i = first; i != last; ++i) {
      if (fibers[i].simd_calls != fibers[first].simd_calls && !any)
        fail("divergence: lanes of a simdgroup call different simdgroup operations");
      if (all) fibers[i].state = State::ready;
    }
    released |= all;
  }
  if (!released && at_barrier) {
    now.threadgroup_phase += fibers[0].orders_threadgroup;
    now.device_phase += fibers[0].orders_device;
    for (Fiber& fiber : fibers) fiber.state = State::ready;
    released = true;
  }
  return released;
}

// By SplitMix64 (Steele, Lea, Flood 2014) and Fisher and Yates.
static void shuffle(std::vector<unsigned>& order, uint64_t& state) {
  for (size_t left = order.size(); left > 1; --left) {
    uint64_t x = state += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    std::swap(order[left - 1], order[(x ^ (x >> 31)) % left]);
  }
}

static void run_group(uint64_t& random) {
  std::vector<unsigned> order(group.fibers.size());
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  group.arrays.clear();
  group.array_bytes = 0;
  ++now.group;
  ++now.threadgroup_phase;
  ++now.device_phase;
  for (unsigned i = 0; i < order.size(); ++i) start(group.fibers[i], group.stacks[i]);
  do {
    shuffle(order, random);
    for (unsigned index : order) {
      if (group.fibers[index].state != State::ready) continue;
      group.current = index;
      now.agent = now.group * AGENTS + index;
      swapcontext(&group.scheduler, &group.fibers[index].context);
    }
  } while (release());
  for (const Fiber& fiber : group.fibers)
    if (fiber.state != State::done)
      fail(fiber.state == State::at_barrier ? "divergence: some threads wait at a barrier that others never reach"
                                            : "divergence: some lanes wait at a shuffle that others never reach");
}

void launch(const Kernel& kernel, const TVMFFIAny* arguments, Index grid, Index size, unsigned seed) {
  group.kernel = &kernel;
  group.arguments = arguments;
  uint64_t random = seed;
  unsigned threads = size.x * size.y * size.z;
  if (threads > limits.threads)
    fail("limit: " + std::to_string(threads) + " threads in a group, the target has " + std::to_string(limits.threads));
  group.fibers.resize(threads);
  while (group.stacks.size() < threads) group.stacks.push_back(new char[STACK_BYTES]);
  for (unsigned i = 0; i < threads; ++i)
    group.fibers[i].thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
  now.first_group = now.group + 1;
  now.running = true;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        group.block = {x, y, z};
        run_group(random);
      }
  now.running = false;
}

}  // namespace msl
