// How kernels are found and called with the arguments that TVM's host code packs.
#pragma once
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/runtime/c_backend_api.h>

#include "threads.h"

namespace msl {

struct Kernel {
  const char* name;
  const char* tags[7];  // what the extents behind the arguments mean: blockIdx.x, threadIdx.y, ...; null is the last
  int arguments;
  void (*call)(const TVMFFIAny* arguments, Index block, Index thread);
};

Space* device_space(const void* address);
template <class T> pointer<T> device(const TVMFFIAny& argument) { return {device_space(argument.v_ptr), 0}; }

// A scalar as Metal gets it: in the first half of an eight-byte field.
template <class T> void pack(T (&field)[2], const TVMFFIAny& argument) {
  field[0] = argument.type_index == kTVMFFIFloat ? static_cast<T>(argument.v_float64) : static_cast<T>(argument.v_int64);
}
template <class T> void pack(T& field, const TVMFFIAny& argument) { field = static_cast<T>(argument.v_int64); }

}  // namespace msl

extern "C" const msl::Kernel kernels[];  // of a library; one without a name is the last
