// What the host code that TVM generates (in C) calls, and the program around it: it loads a library of kernels, runs it
// with the arguments that a file holds, and writes them to another.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <map>

#include "executor.h"
#include "memory.h"

static char set_device;  // its address stands for TVM's function of that name
static unsigned seed;
static const msl::Kernel* loaded;  // kernels of the library

namespace msl {

static std::map<const void*, Space> buffers;  // device memory by its address

Space* device_space(const void* address) {
  auto found = buffers.find(address);
  if (found == buffers.end()) fail("a kernel's argument is no device buffer");
  return &found->second;
}

static void* allocate(const std::string& name, size_t size, size_t granule, bool defined) {
  Space space(name, size, granule, false, defined);
  void* address = space.bytes.data();
  buffers.emplace(address, std::move(space));
  return address;
}

static void launch(const Kernel& called, const TVMFFIAny* arguments, int count) {
  Index grid{1, 1, 1}, size{1, 1, 1};
  int used = called.arguments;
  for (const char* const* each = called.tags; *each; ++each) {
    std::string tag = *each;
    Index& extents = tag.starts_with("blockIdx") ? grid : size;
    (tag.back() == 'x' ? extents.x : tag.back() == 'y' ? extents.y : extents.z) = arguments[used++].v_int64;
  }
  if (count != used) fail("the host passes another number of arguments than expected");
  launch(called, arguments, grid, size, seed);
}

}  // namespace msl

extern "C" {
int TVMFFIEnvModLookupFromImports(TVMFFIObjectHandle, const char* name, TVMFFIObjectHandle* out) {
  *out = &set_device;
  for (const msl::Kernel* one = loaded; one->name; ++one)
    if (std::string(name) == one->name) *out = const_cast<msl::Kernel*>(one);
  return 0;
}
int TVMFFIFunctionCall(TVMFFIObjectHandle called, TVMFFIAny* arguments, int32_t count, TVMFFIAny*) {
  if (called != &set_device) msl::launch(*static_cast<msl::Kernel*>(called), arguments, count);
  return 0;
}
void TVMFFIErrorSetRaisedFromCStrParts(const char* kind, const char** parts, int32_t count) {
  std::string text = std::string(kind) + ": ";
  for (int i = 0; i < count; ++i) text += parts[i];
  msl::fail(text);
}
void* TVMBackendAllocWorkspace(int, int, uint64_t bytes, int, int bits) {
  return msl::allocate("workspace", bytes, bits / 8, false);
}
int TVMBackendFreeWorkspace(int, int, void* address) {
  msl::buffers.erase(address);
  return 0;
}
}

// A file of arguments: for each its dtype's code, bits, number of dimensions, the dimensions (int64 each), then its bytes.
int main(int, char** argv) {
  void* library = dlopen(argv[1], RTLD_NOW);
  if (!library) msl::fail(dlerror());
  loaded = static_cast<const msl::Kernel*>(dlsym(library, "kernels"));
  auto host = reinterpret_cast<TVMFFISafeCallType>(dlsym(library, "__tvm_ffi_main"));
  msl::limits = {unsigned(std::atoi(argv[4])), unsigned(std::atoi(argv[5]))};
  seed = std::atoi(argv[6]);
  FILE* in = std::fopen(argv[2], "rb");
  auto read = [&](void* to, size_t bytes) {
    if (std::fread(to, 1, bytes, in) != bytes) msl::fail("the file of arguments is too short");
  };
  auto number = [&] { int64_t x; read(&x, sizeof x); return x; };
  int64_t count = number();
  std::vector<DLTensor> tensors(count);
  std::vector<std::vector<int64_t>> shapes(count);
  std::vector<TVMFFIAny> arguments(count);
  for (int64_t i = 0; i < count; ++i) {
    auto code = number(), bits = number(), dimensions = number();
    size_t bytes = (bits + 7) / 8;
    for (int64_t d = 0; d < dimensions; ++d) { shapes[i].push_back(number()); bytes *= shapes[i].back(); }
    void* address = msl::allocate("argument" + std::to_string(i), bytes, (bits + 7) / 8, true);
    read(address, bytes);
    tensors[i] = {address, {kDLMetal, 0}, int(dimensions), {uint8_t(code), uint8_t(bits), 1}, shapes[i].data(), nullptr, 0};
    arguments[i] = TVMFFIAny{};
    arguments[i].type_index = kTVMFFIDLTensorPtr;
    arguments[i].v_ptr = &tensors[i];
  }
  TVMFFIAny result{};
  if (int code = host(nullptr, arguments.data(), count, &result)) return code;
  FILE* out = std::fopen(argv[3], "wb");
  for (const DLTensor& tensor : tensors) {
    const auto& bytes = msl::device_space(tensor.data)->bytes;
    std::fwrite(bytes.data(), 1, bytes.size(), out);
  }
  return std::fclose(out);
}
