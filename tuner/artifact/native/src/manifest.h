// What an artifact's manifest tells of its inputs and outputs.
#ifndef TUNESMITH_MANIFEST_H_
#define TUNESMITH_MANIFEST_H_

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/json.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "../include/tunesmith.h"

namespace tunesmith {

namespace ffi = tvm::ffi;
using ffi::json::Array;
using ffi::json::Object;

[[noreturn]] inline void fail(const std::string& message) { throw std::runtime_error(message); }

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(path + " can't be read: give the folder that the bundle was unpacked to.");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline bool has(const Object& object, const char* key) { return object.count(ffi::String(key)) > 0; }

template <typename T>
T entry(const Object& object, const char* key) {
  if (!has(object, key)) fail(std::string("The manifest has no ") + key + ".");
  return object.at(ffi::String(key)).cast<T>();
}

template <typename T>
T entry_or(const Object& object, const char* key, T otherwise) {
  return has(object, key) ? entry<T>(object, key) : otherwise;
}

inline size_t size_of(DLDataType dtype, const std::vector<int64_t>& shape) {
  size_t size = (dtype.bits * dtype.lanes + 7) / 8;
  for (int64_t extent : shape) size *= extent;
  return size;
}

// An input or output as the manifest tells of it.
struct Spec {
  std::string name, dtype_name;
  DLDataType dtype;
  std::vector<int64_t> shape;
  bool by_token = false;    // of a model for texts: one row for each token, not for each text
  int64_t below = 0;        // whole numbers from 0 up to it; 0: any
  bool is_right = false;    // a mask with all padding on the right
  std::vector<char> rows;   // of an output: what the last run made
  tunesmith_tensor told{};  // what a caller sees

  explicit Spec(const Object& about)
      : name(entry<ffi::String>(about, "name")),
        dtype_name(entry<ffi::String>(about, "dtype")),
        dtype(ffi::StringToDLDataType(ffi::String(dtype_name))),
        below(entry_or<int64_t>(about, "below", 0)),
        is_right(has(about, "padding")) {
    for (const ffi::Any& extent : entry<Array>(about, "shape")) {
      if (auto number = extent.as<int64_t>()) {
        shape.push_back(*number);
      } else {
        by_token = extent.cast<ffi::String>() == "tokens";
        shape.push_back(-1);
      }
    }
  }
  void tell() {
    const void* data = rows.empty() ? nullptr : rows.data();
    told = {name.c_str(), dtype_name.c_str(), static_cast<int>(shape.size()), shape.data(), data};
  }
};

inline std::vector<Spec> specs(const Object& manifest, const char* key) {
  std::vector<Spec> found;
  for (const ffi::Any& about : entry<Array>(manifest, key)) found.emplace_back(about.cast<Object>());
  return found;
}

template <typename T>
inline void check_range(const Spec& spec, const T* values, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if (values[i] < 0 || values[i] >= spec.below) {
      fail(spec.name + " holds " + std::to_string(values[i]) + "; this model knows 0 to " +
           std::to_string(spec.below - 1) + ".");
    }
  }
}

// Of families that compute padding as their library does on the right only.
inline void check_right(const Spec& spec, const int32_t* mask) {
  for (int64_t row = 0; row < spec.shape[0]; ++row, mask += spec.shape[1]) {
    if (!std::is_sorted(mask, mask + spec.shape[1], std::greater<int32_t>())) {
      fail(spec.name + " has padding before a token; this model takes it on the right.");
    }
    if (mask[0] == 0) fail(spec.name + " has no token in row " + std::to_string(row) + "; it needs one in each row.");
  }
}

inline void check_values(const Spec& spec, const void* values, int64_t count) {
  if (spec.below > 0 && spec.dtype_name == "int32") check_range(spec, static_cast<const int32_t*>(values), count);
  if (spec.below > 0 && spec.dtype_name == "int64") check_range(spec, static_cast<const int64_t*>(values), count);
  if (spec.is_right && spec.dtype_name == "int32") check_right(spec, static_cast<const int32_t*>(values));
}

}  // namespace tunesmith

#endif  // TUNESMITH_MANIFEST_H_
