// Runs one threadgroup after the other; the threads of a group are fibers that switch at barriers, in a shuffled order.
#pragma once
#include "kernel.h"

namespace msl {

struct Limits { unsigned threads, threadgroup_bytes; };
extern Limits limits;

// Launch a kernel over a grid of threadgroups; `seed` chooses the order in which threads run.
void launch(const Kernel& kernel, const TVMFFIAny* arguments, Index grid, Index size, unsigned seed);

}  // namespace msl
