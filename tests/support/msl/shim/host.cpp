// What the host code that TVM generates (in C) calls, and the program around it: arguments from a file, results to a file.
#include <fstream>

#include "host.h"
#undef thread

static char set_device;  // its address stands for TVM's function of that name
static unsigned seed;

namespace msl {

static std::map<const void*, std::unique_ptr<Space>> buffers;  // device memory by its address

Space* device_space(const void* address) {
  auto found = buffers.find(address);
  if (found == buffers.end()) fail("a kernel's argument is no device buffer");
  return found->second.get();
}

static void* allocate(const std::string& name, size_t size, size_t granule, bool defined) {
  auto space = std::make_unique<Space>(name, size, granule, false, defined);
  void* address = space->bytes.data();
  buffers[address] = std::move(space);
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
  launch(called.name, grid, size, seed, [&](Index block, Index thread) { called.call(arguments, block, thread); });
}

}  // namespace msl

extern "C" {
int32_t __tvm_ffi_main(void* self, void* arguments, int32_t count, void* result);

int TVMFFIEnvModLookupFromImports(TVMFFIObjectHandle, const char* name, TVMFFIObjectHandle* out) {
  *out = &set_device;
  for (const msl::Kernel* one = kernels; one->name; ++one)
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
  msl::limits = {unsigned(std::atoi(argv[3])), unsigned(std::atoi(argv[4]))};
  seed = std::atoi(argv[5]);
  std::ifstream in(argv[1], std::ios::binary);
  auto number = [&] { int64_t x = 0; in.read(reinterpret_cast<char*>(&x), sizeof x); return x; };
  int64_t count = number();
  std::vector<DLTensor> tensors(count);
  std::vector<std::vector<int64_t>> shapes(count);
  std::vector<TVMFFIAny> arguments(count);
  for (int64_t i = 0; i < count; ++i) {
    auto code = number(), bits = number(), dimensions = number();
    size_t bytes = (bits + 7) / 8;
    for (int64_t d = 0; d < dimensions; ++d) { shapes[i].push_back(number()); bytes *= shapes[i].back(); }
    void* address = msl::allocate("argument" + std::to_string(i), bytes, (bits + 7) / 8, true);
    in.read(static_cast<char*>(address), bytes);
    tensors[i] = {address, {kDLMetal, 0}, int(dimensions), {uint8_t(code), uint8_t(bits), 1}, shapes[i].data(), nullptr, 0};
    arguments[i] = TVMFFIAny{};
    arguments[i].type_index = kTVMFFIDLTensorPtr;
    arguments[i].v_ptr = &tensors[i];
  }
  TVMFFIAny result{};
  if (int code = __tvm_ffi_main(nullptr, arguments.data(), count, &result)) return code;
  std::ofstream out(argv[2], std::ios::binary);
  for (const DLTensor& tensor : tensors) {
    auto& bytes = msl::buffers[tensor.data]->bytes;
    out.write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}
