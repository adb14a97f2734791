// Memory where TVM's kernels want it, and the weights in it.
#ifndef TUNESMITH_MEMORY_H_
#define TUNESMITH_MEMORY_H_

#include <sys/mman.h>
#include <tvm/ffi/container/tensor.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "manifest.h"

namespace tunesmith {

constexpr size_t kAlignment = 64;              // bytes: kernels take nothing else
constexpr size_t kHugePage = size_t{2} << 20;  // bytes

// Numbers for TVM, where its kernels want them.
class Buffer {
 public:
  explicit Buffer(size_t size) : data_(std::aligned_alloc(kAlignment, (size / kAlignment + 1) * kAlignment), std::free) {
    if (!data_) fail("There is no memory left.");
  }
  void* data() const { return data_.get(); }

 private:
  std::unique_ptr<void, void (*)(void*)> data_;
};

// Memory for all weights, in huge pages: prefetchers run further there, fewer pages are looked up.
class Pages {
 public:
  explicit Pages(size_t size) : size_(size + kHugePage) {
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) fail("There is no memory left for the weights.");
    madvise(memory_, size_, MADV_HUGEPAGE);
  }
  ~Pages() { munmap(memory_, size_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  char* begin() const {
    return reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(memory_) + kHugePage - 1) / kHugePage * kHugePage);
  }

 private:
  size_t size_;
  void* memory_;
};

// Memory as TVM takes it; it stays whose it is.
inline ffi::Tensor lent(void* data, DLDataType dtype, std::vector<int64_t> shape) {
  struct Lent {
    DLManagedTensor managed;
    std::vector<int64_t> shape;
  };
  auto* own = new Lent{{}, std::move(shape)};
  own->managed.dl_tensor = {data, {kDLCPU, 0}, static_cast<int32_t>(own->shape.size()), dtype, own->shape.data(),
                            nullptr, 0};
  own->managed.manager_ctx = own;
  own->managed.deleter = [](DLManagedTensor* self) { delete static_cast<Lent*>(self->manager_ctx); };
  return ffi::Tensor::FromDLPack(&own->managed);
}

// A safetensors file: 8 bytes of its header's length, the header, the data. Arrays in the order of `names`.
inline std::vector<ffi::Tensor> read_weights(const std::string& path, const Array& names, std::unique_ptr<Pages>* pages) {
  static const std::pair<const char*, const char*> kDtypes[] = {{"F64", "float64"}, {"F32", "float32"},
                                                                {"F16", "float16"}, {"I64", "int64"},
                                                                {"I32", "int32"},   {"I16", "int16"},
                                                                {"I8", "int8"},     {"U8", "uint8"},
                                                                {"BOOL", "bool"}};
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto file_size = static_cast<uint64_t>(std::max<std::streamoff>(0, file.tellg()));
  uint64_t length = 0;
  if (!file.seekg(0).read(reinterpret_cast<char*>(&length), sizeof(length)) || length > file_size) {
    fail(path + " can't be read: unpack the bundle again.");
  }
  std::string text(length, '\0');
  file.read(text.data(), static_cast<std::streamsize>(length));
  const auto header = ffi::json::Parse(ffi::String(text)).cast<Object>();
  *pages = std::make_unique<Pages>(file_size + names.size() * kAlignment);
  char* place = (*pages)->begin();
  std::vector<ffi::Tensor> found;
  for (const ffi::Any& name : names) {
    const auto about = entry<Object>(header, name.cast<ffi::String>().c_str());
    const auto offsets = entry<Array>(about, "data_offsets");
    const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const auto& pair) {
      return entry<ffi::String>(about, "dtype") == pair.first;
    });
    if (dtype == std::end(kDtypes)) fail(path + " holds numbers of a kind that is not known here.");
    const auto begin = offsets[0].cast<int64_t>(), size = offsets[1].cast<int64_t>() - begin;
    std::vector<int64_t> shape;
    for (const ffi::Any& extent : entry<Array>(about, "shape")) shape.push_back(extent.cast<int64_t>());
    if (!file.seekg(static_cast<std::streamoff>(sizeof(length) + length) + begin).read(place, size)) {
      fail(path + " is cut short: unpack the bundle again.");
    }
    found.push_back(lent(place, ffi::StringToDLDataType(ffi::String(dtype->second)), std::move(shape)));
    place += (size + kAlignment - 1) / kAlignment * kAlignment;
  }
  return found;
}

}  // namespace tunesmith

#endif  // TUNESMITH_MEMORY_H_
