// ./example 101 7592 102: what the model makes of one text, given as token ids.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tunesmith.h"

int main(int argc, char** argv) {
  std::vector<int32_t> ids;
  for (int i = 1; i < argc; ++i) ids.push_back(std::atoi(argv[i]));
  tunesmith_model* model = tunesmith_open(".");
  if (model == nullptr) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  std::vector<const int32_t*> inputs(tunesmith_num_inputs(model));  // the others stay NULL, which means zeros
  inputs[tunesmith_find_input(model, "input_ids")] = ids.data();
  const int64_t length = static_cast<int64_t>(ids.size());
  if (tunesmith_run_texts(model, 1, &length, inputs.data()) != 0) return std::fprintf(stderr, "%s\n", tunesmith_last_error()), 1;
  const tunesmith_tensor* output = tunesmith_output(model, 0);
  for (int64_t i = 0; i < output->shape[1]; ++i) std::printf("%.7g\n", static_cast<const float*>(output->data)[i]);
  tunesmith_close(model);
}
