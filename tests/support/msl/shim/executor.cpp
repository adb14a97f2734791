#include "executor.h"

#include <algorithm>
#include <random>

namespace msl {

Group group;
Limits limits;
static std::string launched;  // name of the kernel

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
  std::fprintf(stderr, "%s: %s [group %s]\n", launched.c_str(), what.c_str(), triple(group.block).c_str());
  std::fflush(stderr);
  std::_Exit(3);
}

Fiber& self() { return group.fibers[group.current]; }
unsigned lane_index() { return group.current % SIMD_WIDTH; }
const Fiber* in_lane(int lane) {
  unsigned index = group.current - lane_index() + lane;
  return lane >= 0 && lane < int(SIMD_WIDTH) && index < group.fibers.size() ? &group.fibers[index] : nullptr;
}

void wait_as(State state) {
  self().state = state;
  swapcontext(&self().context, &group.scheduler);
}
void barrier(bool orders_threadgroup, bool orders_device) {
  self().orders_threadgroup = orders_threadgroup;
  self().orders_device = orders_device;
  wait_as(State::at_barrier);
}

Space* threadgroup_space(int number, size_t size, size_t granule, const char* name) {
  auto& slot = group.arrays[number];
  if (!slot) {
    slot = std::make_unique<Space>(name, size, granule, true, false);
    group.array_bytes += size;
    if (group.array_bytes > limits.threadgroup_bytes)
      fail("limit: " + std::to_string(group.array_bytes) + " bytes of threadgroup memory, the target has " +
           std::to_string(limits.threadgroup_bytes));
  }
  return slot.get();
}

static void enter() {
  group.body(group.block, self().thread);
  wait_as(State::done);
}

static void start(Fiber& fiber) {
  constexpr size_t STACK_BYTES = 256 * 1024;
  if (!fiber.stack) fiber.stack.reset(new char[STACK_BYTES]);
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
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
  auto is = [](State state) { return [state](const Fiber& f) { return f.state == state; }; };
  bool released = false;
  for (size_t first = 0; first < fibers.size(); first += SIMD_WIDTH) {
    auto begin = fibers.begin() + first, end = fibers.begin() + std::min(first + SIMD_WIDTH, fibers.size());
    for (auto f = begin; f != end; ++f)
      if (f->simd_calls != begin->simd_calls && !std::any_of(begin, end, is(State::at_shuffle)))
        fail("divergence: lanes of a simdgroup call different simdgroup operations");
    if (std::all_of(begin, end, is(State::at_shuffle))) {
      for (auto f = begin; f != end; ++f) f->state = State::ready;
      released = true;
    }
  }
  if (!released && std::all_of(fibers.begin(), fibers.end(), is(State::at_barrier))) {
    now.threadgroup_phase += fibers[0].orders_threadgroup;
    now.device_phase += fibers[0].orders_device;
    for (Fiber& fiber : fibers) fiber.state = State::ready;
    released = true;
  }
  return released;
}

static void run_group(std::mt19937& source) {
  std::vector<unsigned> order(group.fibers.size());
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  group.arrays.clear();
  group.array_bytes = 0;
  ++now.group;
  ++now.threadgroup_phase;
  ++now.device_phase;
  for (Fiber& fiber : group.fibers) start(fiber);
  do {
    std::shuffle(order.begin(), order.end(), source);
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

void launch(const std::string& name, Index grid, Index size, unsigned seed, std::function<void(Index, Index)> body) {
  launched = name;
  std::mt19937 source(seed);
  unsigned threads = size.x * size.y * size.z;
  if (threads > limits.threads)
    fail("limit: " + std::to_string(threads) + " threads in a group, the target has " + std::to_string(limits.threads));
  group.size = size;
  group.body = std::move(body);
  if (group.fibers.size() != threads) group.fibers = std::vector<Fiber>(threads);
  for (unsigned i = 0; i < threads; ++i)
    group.fibers[i].thread = {i % size.x, i / size.x % size.y, i / size.x / size.y};
  now.first_group = now.group + 1;
  now.running = true;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        group.block = {x, y, z};
        run_group(source);
      }
  now.running = false;
}

}  // namespace msl
