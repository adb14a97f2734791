// A model of a bundle: opened once, run as often as one likes.
#ifndef TUNESMITH_MODEL_H_
#define TUNESMITH_MODEL_H_

#include <malloc.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "machine.h"
#include "manifest.h"
#include "memory.h"

namespace tunesmith {

constexpr int64_t kLarge = 512;         // tokens of a call after which memory is given back
constexpr int kNaive = 1, kPooled = 2;  // TVM's allocators; a pool keeps the most it ever was

struct Model {
  std::vector<Spec> all_inputs, inputs, outputs;  // what the module takes; what callers give; what comes out
  std::unique_ptr<Pages> pages;
  std::vector<ffi::Tensor> params;
  ffi::Optional<ffi::Module> machine;
  ffi::Optional<ffi::Function> main;
  bool takes_texts = false;
  int64_t longest = 0, most_tokens = 0, first_position = 0;

  explicit Model(const std::string& folder) {
    const auto manifest = ffi::json::Parse(ffi::String(content_of(folder + "/manifest.json"))).cast<Object>();
    check_processor(manifest);
    settle_threads(entry_or<int64_t>(manifest, "threads", 0));
    all_inputs = specs(manifest, "inputs");
    outputs = specs(manifest, "outputs");
    if ((takes_texts = has(manifest, "texts"))) {
      const auto about = entry<Object>(manifest, "texts");
      longest = entry<int64_t>(about, "longest");
      most_tokens = entry<int64_t>(about, "most_tokens");
      first_position = entry<int64_t>(about, "first_position");
    }
    for (const Spec& spec : all_inputs) {
      const bool is_own = takes_texts && (spec.name == "positions" || spec.name == "starts");
      if (!is_own) inputs.push_back(spec);
    }
    for (Spec& spec : inputs) spec.tell();
    for (Spec& spec : outputs) spec.tell();
    params = read_weights(folder + "/params.safetensors", entry<Array>(manifest, "params"), &pages);
    const auto library = folder + "/lib/" + std::string(entry<ffi::String>(manifest, "library"));
    const ffi::Module module = ffi::Module::LoadFromFile(ffi::String(library));
    machine = function(module, "vm_load_executable")().cast<ffi::Module>();
    function(*machine, "vm_initialization")(static_cast<int>(kDLCPU), 0, takes_texts ? kNaive : kPooled);
    main = function(*machine, "main");
  }

  static ffi::Function function(const ffi::Module& module, const char* name) {
    const auto found = module->GetFunction(ffi::String(name), true);
    if (!found.has_value()) fail(std::string("The library has no ") + name + ".");
    return *found;
  }

  // Runs the module on arrays in the order of `all_inputs`, and adds what comes out to the outputs' rows.
  void run_once(const std::vector<ffi::Tensor>& given) {
    std::vector<ffi::AnyView> arguments(given.begin(), given.end());
    arguments.insert(arguments.end(), params.begin(), params.end());
    ffi::Any result;
    {
      const OwnCore core;
      main.value().CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
    }
    std::vector<ffi::Tensor> made;
    if (auto one = result.as<ffi::Tensor>()) {
      made.push_back(*one);
    } else {
      for (const ffi::Tensor& tensor : result.cast<ffi::Array<ffi::Tensor>>()) made.push_back(tensor);
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const DLTensor* tensor = made.at(i).GetDLTensorPtr();
      const std::vector<int64_t> shape(tensor->shape, tensor->shape + tensor->ndim);
      const char* data = static_cast<const char*>(tensor->data) + tensor->byte_offset;
      outputs[i].rows.insert(outputs[i].rows.end(), data, data + size_of(tensor->dtype, shape));
    }
  }

  void run(const void* const* given) {
    if (takes_texts) fail("This model takes texts of any lengths: call tunesmith_run_texts.");
    std::vector<Buffer> copies;
    std::vector<ffi::Tensor> arguments;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Spec& spec = inputs[i];
      const size_t size = size_of(spec.dtype, spec.shape), width = size_of(spec.dtype, {});
      void* copy = copies.emplace_back(size).data();
      if (given[i] != nullptr) {
        std::memcpy(copy, given[i], size);
      } else {
        std::memset(copy, 0, size);
        if (spec.name == "attention_mask") {
          for (size_t at = 0; at < size; at += width) static_cast<char*>(copy)[at] = 1;  // little-endian whole numbers
        }
      }
      check_values(spec, copy, static_cast<int64_t>(size / width));
      arguments.push_back(lent(copy, spec.dtype, spec.shape));
    }
    for (Spec& spec : outputs) spec.rows.clear();
    run_once(arguments);
    for (Spec& spec : outputs) spec.tell();
  }

  // Runs of at most `most_tokens` tokens each, which bounds memory; no text is cut.
  void run_texts(int64_t texts, const int64_t* lengths, const int32_t* const* given) {
    if (!takes_texts) fail("This model takes arrays of fixed shapes: call tunesmith_run.");
    if (texts < 1) fail("There are no texts.");
    if (given[0] == nullptr) fail("There is no " + inputs[0].name + ".");
    int64_t total = 0;
    for (int64_t text = 0; text < texts; total += lengths[text++]) {
      if (lengths[text] < 1) fail("Text " + std::to_string(text) + " has no tokens.");
      if (lengths[text] > longest) {
        fail("Text " + std::to_string(text) + " has " + std::to_string(lengths[text]) + " tokens, the model takes " +
             std::to_string(longest) + ".");
      }
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (given[i] != nullptr) check_values(inputs[i], given[i], total);
    }
    for (Spec& spec : outputs) spec.rows.clear();
    for (int64_t first = 0, begin = 0; first < texts;) {
      int64_t last = first, tokens = 0;
      do tokens += lengths[last++];
      while (last < texts && tokens + lengths[last] <= most_tokens);
      run_some(last - first, lengths + first, begin, tokens, given);
      first = last;
      begin += tokens;
    }
    for (Spec& spec : outputs) {
      spec.shape[0] = spec.by_token ? total : texts;
      spec.tell();
    }
    if (total >= kLarge) malloc_trim(0);
  }

  // One run: `texts` texts, whose `tokens` tokens begin at `begin` of what was given.
  void run_some(int64_t texts, const int64_t* lengths, int64_t begin, int64_t tokens, const int32_t* const* given) {
    std::vector<Buffer> copies;
    std::vector<ffi::Tensor> arguments;
    size_t callers = 0;
    for (const Spec& spec : all_inputs) {
      const int64_t count = spec.name == "starts" ? texts : tokens;
      auto* copy = static_cast<int32_t*>(copies.emplace_back(count * sizeof(int32_t)).data());
      if (spec.name == "starts" || spec.name == "positions") {
        for (int64_t text = 0, start = 0; text < texts; start += lengths[text++]) {
          if (spec.name == "starts") copy[text] = static_cast<int32_t>(start);
          for (int64_t i = 0; spec.name == "positions" && i < lengths[text]; ++i) {
            copy[start + i] = static_cast<int32_t>(first_position + i);
          }
        }
      } else if (const int32_t* values = given[callers++]) {
        std::copy_n(values + begin, count, copy);
      } else {
        std::fill_n(copy, count, 0);
      }
      arguments.push_back(lent(copy, spec.dtype, {count}));
    }
    run_once(arguments);
  }
};

}  // namespace tunesmith

#endif  // TUNESMITH_MODEL_H_
