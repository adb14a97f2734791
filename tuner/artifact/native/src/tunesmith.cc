// What tunesmith.h promises, by TVM's runtime. C++17, Linux.
#include "../include/tunesmith.h"

#include <exception>
#include <string>
#include <vector>

#include "model.h"

struct tunesmith_model : tunesmith::Model {
  using Model::Model;
};

namespace {

thread_local std::string last_error;

// What `work` returns, or `otherwise` and the reason kept.
template <typename R, typename Work>
R guarded(R otherwise, Work work) {
  try {
    return work();
  } catch (const tvm::ffi::Error& error) {
    last_error = error.message();
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return otherwise;
}

const tunesmith_tensor* told(const std::vector<tunesmith::Spec>& specs, int index) {
  return index >= 0 && index < static_cast<int>(specs.size()) ? &specs[index].told : nullptr;
}

}  // namespace

tunesmith_model* tunesmith_open(const char* folder) {
  return guarded<tunesmith_model*>(nullptr, [&] { return new tunesmith_model(folder); });
}

void tunesmith_close(tunesmith_model* model) { delete model; }

const char* tunesmith_last_error(void) { return last_error.c_str(); }

int tunesmith_takes_texts(const tunesmith_model* model) { return model->takes_texts; }

int tunesmith_num_inputs(const tunesmith_model* model) { return static_cast<int>(model->inputs.size()); }

int tunesmith_num_outputs(const tunesmith_model* model) { return static_cast<int>(model->outputs.size()); }

const tunesmith_tensor* tunesmith_input(const tunesmith_model* model, int index) { return told(model->inputs, index); }

const tunesmith_tensor* tunesmith_output(const tunesmith_model* model, int index) { return told(model->outputs, index); }

int tunesmith_find_input(const tunesmith_model* model, const char* name) {
  for (size_t i = 0; i < model->inputs.size(); ++i) {
    if (model->inputs[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

int tunesmith_run(tunesmith_model* model, const void* const* inputs) {
  return guarded(-1, [&] { return model->run(inputs), 0; });
}

int tunesmith_run_texts(tunesmith_model* model, int64_t texts, const int64_t* lengths, const int32_t* const* inputs) {
  return guarded(-1, [&] { return model->run_texts(texts, lengths, inputs), 0; });
}
