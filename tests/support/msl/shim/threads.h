// What kernels see of the threads of their group (executor.cpp): barriers, shuffles, simdgroups, memory that they share.
#pragma once
#include "pointer.h"

namespace msl {

struct Index { unsigned x = 0, y = 0, z = 0; };

unsigned lane_index();
void barrier(bool orders_threadgroup, bool orders_device);

// Replaces up to eight bytes by those of another lane; of one that does not exist, by ones, which are no number.
void exchange(void* value, size_t size, int source);

// The first lane does the work for all, in the name of the simdgroup, from `begin_as_simdgroup`, which is true for it alone.
bool begin_as_simdgroup(int64_t argument);
void end_as_simdgroup();
template <class F> void as_simdgroup(int64_t argument, F act) {
  if (!begin_as_simdgroup(argument)) return;
  act();
  end_as_simdgroup();
}

Space* threadgroup_space(int number, size_t size, size_t granule, const char* name);
template <class T> pointer<T> threadgroup_array(int number, size_t count, const char* name) {
  return {threadgroup_space(number, count * sizeof(T), sizeof(T), name), 0};
}

template <class T> void poison(T& array) { __builtin_memset(&array, 0xFF, sizeof array); }

}  // namespace msl
